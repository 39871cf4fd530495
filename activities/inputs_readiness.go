package activities

import (
	"time"

	"github.com/smartdr/smartdr/internal/topology"
)

// CheckReadinessResult sums up a check; all of it is in the catalog.
type CheckReadinessResult struct {
	State     topology.ReadinessState  `json:"state"`
	CheckedAt time.Time                `json:"checkedAt"`
	Items     []topology.ReadinessItem `json:"items,omitempty"` // that are not ok, the blocking first; at most a dozen
	More      int                      `json:"more,omitempty"`  // how many were left out
}
