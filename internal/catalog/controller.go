package catalog

import (
	"context"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
)

// Takeover is how a control plane takes a group over.
type Takeover struct {
	Controller string // its ID
	By         string // for people
	// Region is where it works: the one whose bucket must decide, or be made to.
	Region string
	// Force makes Region's bucket the one that decides although another one does and cannot be asked.
	Force bool
}

// TakeControl makes a control plane the only one that acts for a group, in the bucket that decides: from then on every
// change that another one tries there is fault.Fenced. It is idempotent by the controller's ID. Errors: fault.Taken while
// an operation runs that still gives signs of life.
func (c *Catalog) TakeControl(_ context.Context, group string, _ Takeover) (Updated, error) {
	return Updated{}, fault.Newf(fault.Invalid, "take control of group "+group, "not there yet")
}

// EnsureController names this catalog's control plane the group's if none is named yet.
func (c *Catalog) EnsureController(_ context.Context, _ topology.Group) error { return nil }

// Controls returns fault.Fenced if a control plane other than id acts for the group. A group that names none, and an empty
// id, are anybody's.
func Controls(_ *topology.Group, _ string) error { return nil }
