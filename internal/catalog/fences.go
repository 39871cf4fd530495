package catalog

import (
	"context"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
)

// PutFence records how a fence stands, and returns what stands then. A committed fence never goes back, and one that was lifted
// is not held or committed again by the same operation: fault.Conflict.
func (c *Catalog) PutFence(_ context.Context, f topology.Fence) (topology.Fence, error) {
	return f, fault.Newf(fault.Invalid, "record fence", "not there yet")
}

// Fence returns the fence of a lineage's server; fault.Missing when there was none.
func (c *Catalog) Fence(_ context.Context, _, _, _ string) (topology.Fence, error) {
	return topology.Fence{}, fault.Newf(fault.Missing, "read fence", "not there yet")
}

// Fences returns the fences of a group's newest lineages, newest first.
func (c *Catalog) Fences(_ context.Context, _ string) ([]topology.Fence, error) {
	return nil, nil
}
