package activities

import (
	"context"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
)

// Fence keeps everybody from writing to the server that writes a lineage, and records what that is worth. It is idempotent;
// with Before it is fault.Conflict where the operation's fence was lifted already.
func (s *Source) Fence(ctx context.Context, in FenceInput) (topology.Fence, error) {
	p := beat(ctx)
	defer p.end()
	return topology.Fence{}, judge(ctx, fault.Newf(fault.Invalid, "fence", "not there yet: %s", in.Lineage))
}

// CommitFence makes a fence that holds one that stays. It is fault.Conflict when the fence was lifted: the server may have
// taken writes since, so that the epoch must not be claimed.
func (s *Source) CommitFence(ctx context.Context, in FenceInput) (topology.Fence, error) {
	p := beat(ctx)
	defer p.end()
	return topology.Fence{}, judge(ctx, fault.Newf(fault.Invalid, "commit fence", "not there yet: %s", in.Lineage))
}

// LiftFence lets the server take writes again, as it did before. It is fault.Conflict when the fence is committed.
func (s *Source) LiftFence(ctx context.Context, in FenceInput) (topology.Fence, error) {
	p := beat(ctx)
	defer p.end()
	return topology.Fence{}, judge(ctx, fault.Newf(fault.Invalid, "lift fence", "not there yet: %s", in.Lineage))
}
