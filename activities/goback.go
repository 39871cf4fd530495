package activities

import (
	"context"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
)

// GoBackInput names an operation that is to claim no epoch any more.
type GoBackInput struct {
	Group     string `json:"group"`
	Operation string `json:"operation"`
}

// GoBackResult is the epoch that the operation has claimed already; 0: it goes back.
type GoBackResult struct {
	Claimed topology.Epoch `json:"claimed,omitempty"`
}

// GoBack decides that an operation claims no epoch any more, or finds the one that it has claimed: then it goes forward.
func (c *Control) GoBack(ctx context.Context, in GoBackInput) (GoBackResult, error) {
	p := beat(ctx)
	defer p.end()
	claimed, err := c.Catalog.GoBack(ctx, in.Group, in.Operation)
	return GoBackResult{Claimed: claimed}, judge(ctx, err)
}

// LiftCommitted lets a server take writes again whose fence may be committed: its operation has decided, by GoBack, that it
// claims nothing. A fence that was never set, or is lifted, is fine.
func (s *Source) LiftCommitted(ctx context.Context, in FenceInput) (topology.Fence, error) {
	p := beat(ctx)
	defer p.end()
	f, err := s.liftCommitted(ctx, in)
	return f, decided(ctx, describe(err, "workspace %s", in.Workspace))
}

func (s *Source) liftCommitted(ctx context.Context, in FenceInput) (topology.Fence, error) {
	epoch, err := topology.ParseLineageID(in.Lineage)
	if err != nil {
		return topology.Fence{}, fault.New(fault.Invalid, "lift fence", err)
	}
	f, err := s.Catalog.LiftCommitted(ctx, topology.Fence{Group: in.Group, Workspace: in.Workspace, Lineage: in.Lineage, Region: s.Region, Epoch: epoch,
		Operation: in.Operation, At: now(), LiftedAt: now()})
	if err != nil || f.Site.Kind == "" {
		return f, err
	}
	b := barred{group: in.Group, workspace: in.Workspace, lineage: topology.Lineage{ID: in.Lineage}, source: f.Site.Source, operation: f.Operation}
	return f, s.lift(ctx, b)
}
