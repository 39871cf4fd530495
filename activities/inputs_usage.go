package activities

import "github.com/smartdr/smartdr/internal/topology"

// MeasureStoredResult is what the buckets hold of a group.
type MeasureStoredResult struct {
	Stored []topology.Stored `json:"stored"`
}
