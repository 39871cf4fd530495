package activities

import "github.com/smartdr/smartdr/internal/topology"

// SweepBucketInput asks to remove from a region's bucket what nothing needs of a group.
type SweepBucketInput struct {
	Group        string `json:"group"`
	Region       string `json:"region"`
	DryRun       bool   `json:"dryRun,omitempty"` // only say what would go
	GraceMinutes int    `json:"graceMinutes"`     // how long something stays that nothing refers to
}

// RecordRetentionInput asks to keep another window, or to take snapshots at other times.
type RecordRetentionInput struct {
	Group     string             `json:"group"`
	Region    string             `json:"region"`
	Retention topology.Retention `json:"retention"`
}
