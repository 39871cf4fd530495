package activities

import (
	"context"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
)

// ListTails says which tails of a group are not complete, and where each one's server is.
func (c *Control) ListTails(ctx context.Context, _ ListTailsInput) (ListTailsResult, error) {
	p := beat(ctx)
	defer p.end()
	return ListTailsResult{}, judge(ctx, fault.Newf(fault.Invalid, "list tails", "not there yet"))
}

// CopyTail copies what one bucket has of a left lineage's WAL to the other.
func (c *Control) CopyTail(ctx context.Context, _ TailInput) (topology.Tail, error) {
	p := beat(ctx)
	defer p.end()
	return topology.Tail{}, judge(ctx, fault.Newf(fault.Invalid, "copy tail", "not there yet"))
}

// ShipTail ships what the server of a left lineage wrote after it was left, under that lineage's own keys.
func (s *Source) ShipTail(ctx context.Context, _ TailInput) (topology.Tail, error) {
	p := beat(ctx)
	defer p.end()
	return topology.Tail{}, judge(ctx, fault.Newf(fault.Invalid, "ship tail", "not there yet"))
}
