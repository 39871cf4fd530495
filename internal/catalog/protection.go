package catalog

import (
	"context"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
)

// PutProtection stores whether a group could fail over; never over what a newer epoch has found.
func (c *Catalog) PutProtection(_ context.Context, group string, _ topology.Protection) error {
	return fault.Newf(fault.Invalid, "write protection of group "+group, "not there yet")
}

// Protection returns what was last found; fault.Missing when nothing was.
func (c *Catalog) Protection(_ context.Context, group string) (topology.Protection, error) {
	return topology.Protection{}, fault.Newf(fault.Missing, "read protection of group "+group, "nothing was found yet")
}
