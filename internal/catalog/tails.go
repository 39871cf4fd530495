package catalog

import (
	"context"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
)

// PutTail says how far the tail of a lineage that was left is.
func (c *Catalog) PutTail(_ context.Context, _ string, _ topology.Tail) error {
	return fault.Newf(fault.Invalid, "write tail", "not there yet")
}

// Tail returns what was said last of a lineage's tail, among the buckets that answer; fault.Missing when nothing was.
func (c *Catalog) Tail(_ context.Context, _, _, _ string) (topology.Tail, error) {
	return topology.Tail{}, fault.Newf(fault.Missing, "read tail", "not there yet")
}

// Tails returns what is known of the tails of all lineages of a workspace that were left, newest first. One of which nothing was
// said yet is there too, with its fork alone.
func (c *Catalog) Tails(_ context.Context, _ *topology.Group, _ string) ([]topology.Tail, error) {
	return nil, nil
}
