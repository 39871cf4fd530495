package activities

import (
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

// StandbyInput names the standby of a workspace in a region that does not serve.
type StandbyInput struct {
	Group     string         `json:"group"`
	Workspace string         `json:"workspace"`
	Region    string         `json:"region"`              // where the standby is, or is to be
	Epoch     topology.Epoch `json:"epoch"`               // that it follows
	Host      string         `json:"host,omitempty"`      // where it is to be, if that is decided
	Operation string         `json:"operation,omitempty"` // that it is made for; empty for one that is kept
	ID        string         `json:"id,omitempty"`        // of the one that is meant; empty for whichever there is
}

// PlanStandbyResult says how a standby is made, or gone on with: the group's document names it.
type PlanStandbyResult struct {
	Restore RestoreInput     `json:"restore"` // for the activities on its host
	Standby topology.Standby `json:"standby"`
	Kept    bool             `json:"kept"` // it was there already
}

// FollowInput is one turn of a standby's following.
type FollowInput struct {
	RestoreInput
	TurnSeconds int           `json:"turnSeconds,omitempty"` // when to end at the latest; 0: never
	Target      *wal.Position `json:"target,omitempty"`      // where to stop
	LagSeconds  float64       `json:"lagSeconds,omitempty"`  // ends when it is nearer than that to its primary; 0: never
}

// FollowResult says how far a standby is.
type FollowResult struct {
	PhaseResult
	Reached  bool         `json:"reached"` // Target, or LagSeconds
	Received wal.Position `json:"received"`
	Replayed wal.LSN      `json:"replayed"`
}

// RetireInput names a server that served before an operation, and does no more.
type RetireInput struct {
	Group     string         `json:"group"`
	Workspace string         `json:"workspace"`
	Region    string         `json:"region"` // that it served in
	Epoch     topology.Epoch `json:"epoch"`  // that is over
	Instance  string         `json:"instance"`
}

// AdoptStandbyResult is a standby that is the operation's, with all WAL up to the plan's point.
type AdoptStandbyResult struct {
	PhaseResult
	Place Place         `json:"place"`
	Plan  WorkspacePlan `json:"plan"` // with the snapshot that it was made of
}

// FindClaimResult is the epoch that an operation has claimed, 0 when it has none, and how its fences stand then.
type FindClaimResult struct {
	Epoch  topology.Epoch   `json:"epoch"`
	Fences []topology.Fence `json:"fences,omitempty"`
}

// FindClaimInput asks which epoch an operation has claimed.
type FindClaimInput struct {
	Group     string `json:"group"`
	Operation string `json:"operation"`
}

// FindOperationInput names an operation.
type FindOperationInput struct {
	Group     string `json:"group"`
	Operation string `json:"operation"`
}

// RecordPreprovisionInput says whether standbys are kept.
type RecordPreprovisionInput struct {
	Group string `json:"group"`
	Stop  bool   `json:"stop,omitempty"`
}
