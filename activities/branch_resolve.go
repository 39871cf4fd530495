package activities

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/history"
	"github.com/smartdr/smartdr/internal/restore"
	"github.com/smartdr/smartdr/internal/snapshot"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

const opResolve = "create branch"

// resolve finds the point that a request for a branch means, in the bucket of its region. The branch that it returns is not recorded.
func (t *Target) resolve(ctx context.Context, g topology.Group, in ResolveBranchInput) (topology.Branch, error) {
	if err := branchable(&g, in); err != nil {
		return topology.Branch{}, err
	}
	of, err := t.original(ctx, &g, in)
	if err != nil {
		return topology.Branch{}, err
	}
	p, err := t.branchPlanner(ctx, g, of.workspace, in.Region)
	if err != nil {
		return topology.Branch{}, err
	}
	p.goal = in.At
	if of.settled {
		p.settled = now()
	}
	plan, err := p.find(ctx, of)
	if err != nil {
		return topology.Branch{}, t.nearest(ctx, g, of, in, err)
	}
	if err := of.in(plan); err != nil {
		return topology.Branch{}, err
	}
	b := p.begun(of, plan)
	if !g.Referable(b.Workspace, b.Region, b.Base) {
		return b, t.nearest(ctx, g, of, in, g.GivenUp(b))
	}
	b.Name, b.Reason = cmp.Or(in.Name, freeName(&g, b, in.At)), in.Reason
	return b, nil
}

// branchable refuses what needs no look into a bucket.
func branchable(g *topology.Group, in ResolveBranchInput) error {
	if err := in.At.Check(); err != nil {
		return err
	}
	if err := g.Branchable(opResolve); err != nil {
		return err
	}
	if in.Region != g.Primary && in.Region != g.Secondary {
		return fault.Newf(fault.Invalid, opResolve, "group %s has no region %q", g.Name, in.Region).
			WithHint("Its regions are %s.", strings.TrimSuffix(g.Primary+" and "+g.Secondary, " and "))
	}
	if in.At.Time.After(now()) {
		return fault.Newf(fault.Invalid, opResolve, "%s is in the future", moment(in.At.Time)).WithHint("Leave the time out for the newest point.")
	}
	if in.Name == "" {
		return nil
	}
	return g.CheckBranchName(in.Name)
}

// find plans to the point that was asked for, or to the newest one.
func (p *planner) find(ctx context.Context, of original) (WorkspacePlan, error) {
	if of.branch != nil && p.goal.Latest() {
		return p.newestOf(ctx, *p.of, *of.branch)
	}
	snapshots, err := snapshot.List(ctx, p.store, p.group, p.workspace.Name)
	if err != nil && !fault.Is(err, fault.Corrupt) {
		return WorkspacePlan{}, err
	}
	p.left = of.left
	last := error(p.nothing(of.lineage))
	for l := p.lineage(of.lineage); l != nil; {
		way := p.of.Ancestry(p.workspace.Name, l.ID)
		plan, found, err := p.along(ctx, way, snapshots)
		switch {
		case found && p.goal.Latest():
			return plan, p.announcedThere(l.ID)
		case found, err != nil && !errors.Is(err, restore.ErrTooEarly):
			return plan, err
		case p.goal.Latest(), of.pinned && err == nil: // an older one is not what was asked for
			return plan, last
		case err != nil:
			l, last = p.older(way[0]), err // all that it comes from was tried
		default:
			l = p.older(*l)
		}
	}
	return WorkspacePlan{}, last
}

func (p *planner) nothing(lineage string) *fault.Error {
	return fault.Newf(fault.Missing, opResolve, "the bucket of %q has no complete snapshot, with the WAL behind it, that leads to the end of lineage %s", p.region, lineage).
		WithHint("`smartdr timeline --group %s` shows what can be restored, and from which region.", p.group)
}

// nearest says of a point that was refused which ones there are.
func (t *Target) nearest(ctx context.Context, g topology.Group, of original, in ResolveBranchInput, err error) error {
	store, storeErr := t.store(in.Region)
	if in.At.Latest() || !fault.Is(err, fault.Invalid) || storeErr != nil {
		return err
	}
	all, readErr := history.Read(ctx, store, in.Region, g, of.workspace)
	if readErr != nil {
		t.Log.WarnContext(ctx, "the nearest restorable points are not known", "group", g.Name, "error", readErr)
		return err
	}
	return cmp.Or(history.Check(all.Along(of.lineage), in.At), err)
}

// begun is a branch that begins where a plan ends.
func (p *planner) begun(of original, plan WorkspacePlan) topology.Branch {
	base := topology.Fork{Lineage: plan.Point.Lineage, At: plan.Point.At}
	if end := plan.Point.RecordEnd; end < base.At.LSN { // the head of a record is of no use
		base.At = wal.Position{Timeline: p.tip.Line.At(end - min(end, 1)), LSN: end}
	}
	if l := p.lineage(base.Lineage); l != nil && l.Parent != nil && base.At.LSN <= l.Parent.At.LSN {
		base = *l.Parent
	}
	return topology.Branch{
		Workspace: of.workspace, Database: of.database, From: of.from, Region: p.region,
		Line: p.of.BranchLine(of.workspace, base.Lineage), Base: base, Moment: plan.Point.LastCommit, CreatedAt: now().UTC(),
	}
}

// freeName is what a branch is called when nobody says so: what it is of, with the moment.
func freeName(g *topology.Group, b topology.Branch, at topology.Target) string {
	when := b.Moment
	if !at.Time.IsZero() {
		when = at.Time
	}
	if when.IsZero() {
		when = b.CreatedAt
	}
	return g.FreeBranchName(cmp.Or(b.Database, b.From, b.Workspace), when)
}

// in refuses a database that is not there at the point.
func (of original) in(plan WorkspacePlan) error {
	omitted := slices.ContainsFunc(plan.Omitted, func(d OmittedDatabase) bool { return d.Name == of.database })
	switch {
	case of.database == "" || slices.Contains(plan.Databases, of.database):
		return nil
	case omitted:
		return fault.Newf(fault.Invalid, opResolve, "database %s of workspace %s was left out of replication there: nothing of it is stored", of.database, of.workspace).
			WithHint("Choose it with `smartdr databases`, and branch it at a point after the snapshot that follows.")
	case slices.Contains(of.known, of.database):
		return nil // it is younger than the snapshot
	}
	return fault.Newf(fault.Missing, opResolve, "workspace %s has no database %q", of.workspace, of.database).
		WithHint("There are %s.", strings.Join(plan.Databases, ", "))
}
