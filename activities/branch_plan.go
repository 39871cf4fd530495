package activities

import (
	"context"

	"github.com/smartdr/smartdr/internal/catalog"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/snapshot"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

// planBranch says how a branch's newest point is restored from the bucket of its region.
func (t *Target) planBranch(ctx context.Context, g topology.Group, b topology.Branch) (WorkspacePlan, error) {
	p, err := t.branchPlanner(ctx, g, b.Workspace, b.Region)
	if err != nil {
		return WorkspacePlan{}, err
	}
	plan, err := p.newestOf(ctx, g, b)
	if err != nil {
		return WorkspacePlan{}, fault.New(fault.KindOf(err), "branch "+b.Name, err).WithHint("%s", fault.HintOf(err))
	}
	plan.Need = Need{Size: p.workspace.Size, DiskBytes: plan.diskBytes()}
	return plan, nil
}

// branchPlanner is a planner for what branches of a workspace stand on. All databases of the snapshot are of interest, also those that are not
// chosen any more.
func (t *Target) branchPlanner(ctx context.Context, g topology.Group, workspace, region string) (*planner, error) {
	w := g.Workspace(workspace)
	if w == nil {
		return nil, fault.Newf(fault.Missing, "plan branch", "group %s has no workspace %q", g.Name, workspace)
	}
	p, err := t.planner(ctx, catalog.Loaded{Group: g}, *w, region, topology.Choice{})
	if err == nil {
		p.branch, p.chosen = true, nil
	}
	return p, err
}

// newestOf plans to a branch's newest point: the end of what the bucket has of the last lineage that it wrote, or where that one
// began if the bucket has nothing of it.
func (p *planner) newestOf(ctx context.Context, g topology.Group, b topology.Branch) (WorkspacePlan, error) {
	snapshots, err := snapshot.List(ctx, p.store, p.group, p.workspace.Name)
	if err != nil && !fault.Is(err, fault.Corrupt) {
		return WorkspacePlan{}, err
	}
	for own := b.Own; ; own-- {
		way, left := branchWay(&g, b, own)
		p.left = left
		plan, found, err := p.along(ctx, way, snapshots)
		switch {
		case err != nil:
			return plan, err
		case found:
			return plan, p.whole(plan, b, own)
		case own == 0:
			return plan, fault.Newf(fault.Missing, p.op(), "no complete snapshot in the bucket of %q leads to %s of lineage %s", p.region, left.LSN, b.Base.Lineage).
				WithHint("`smartdr timeline --group %s` shows what can be restored.", p.group)
		}
	}
}

// whole refuses a plan to the end of the n-th of the lineages that a branch wrote when it ends before the branch does.
func (p *planner) whole(plan WorkspacePlan, b topology.Branch, n int) error {
	own := b.OwnLine()
	switch {
	case n < len(own) && own[n].End != nil: // of which the bucket had something
		return p.gap(own[n].ID, own[n].Parent.At.LSN, own[n].End.At.LSN)
	case n > 0 && p.left.LSN == 0 && p.tip.Beyond != 0:
		return p.gap(plan.Point.Lineage, plan.Point.At.LSN, p.tip.Beyond)
	}
	return nil
}

// branchWay is the way to the end of the n-th of the lineages that a branch wrote, or for 0 to where it begins. left is where that was left, or
// ends for ever; zero for one that ends where the bucket has no more.
func branchWay(g *topology.Group, b topology.Branch, n int) (way []topology.Lineage, left wal.Position) {
	own := b.OwnLine()
	switch {
	case n == 0:
		return g.Ancestry(b.Workspace, b.Base.Lineage), b.Base.At
	case n < len(own):
		left = own[n].Parent.At
	default:
		left = own[n-1].Ends()
	}
	return g.Ancestry(b.Workspace, own[n-1].ID), left
}
