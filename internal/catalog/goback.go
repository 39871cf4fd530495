package catalog

import (
	"context"
	"slices"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
)

// GoBack decides that an operation that holds a group never claims an epoch for it. It is decided where claims are, by one
// conditional write of the group's document: an operation either claims or goes back, whoever else goes on with it. It returns
// the epoch that the operation has claimed already, if it has: then it does not go back. It is fault.Fenced where the operation does
// not hold the group any more.
func (c *Catalog) GoBack(ctx context.Context, group, operation string) (topology.Epoch, error) {
	var claimed topology.Epoch
	_, err := c.Update(ctx, group, func(g *topology.Group) error {
		claimed = 0
		switch {
		case g.Claimed != nil && g.Claimed.Operation == operation:
			claimed = g.Claimed.Epoch
		case g.Operation == nil || g.Operation.ID != operation:
			return fault.Newf(fault.Fenced, "go back", "operation %s does not hold group %s any more", operation, g.Name)
		case !g.Operation.GoesBack:
			held := *g.Operation
			held.GoesBack = true
			g.Operation = &held
		}
		return nil
	})
	return claimed, err
}

// LiftCommitted lifts the fence of an operation that has decided to go back, whether it is committed or holds. It is fault.Conflict
// where the operation has not decided so, as far as the bucket that decides says, and where the fence is another one's.
func (c *Catalog) LiftCommitted(ctx context.Context, f topology.Fence) (topology.Fence, error) {
	l, err := c.Load(ctx, f.Group)
	if err != nil {
		return f, err
	}
	g := l.Group
	if !slices.Contains(l.From, g.Authority) {
		return f, fault.Newf(fault.Transient, "lift fence", "the bucket of %s, which decides over group %s, does not answer", g.Authority, g.Name)
	}
	if g.Operation == nil || g.Operation.ID != f.Operation || !g.Operation.GoesBack {
		return f, fault.Newf(fault.Conflict, "lift fence", "operation %s has not gone back", f.Operation)
	}
	f.State = topology.FenceLifted
	return c.changeFence(ctx, f, true, func(there *topology.Fence, f topology.Fence) (topology.Fence, error) {
		if there != nil && there.State == topology.FenceCommitted && there.Operation == f.Operation {
			return f.Following(*there), nil
		}
		return nextFence(there, f)
	})
}
