package activities

import (
	"context"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
)

// PublishInPlace puts a restored server in the place of the one that serves, in the same epoch, and keeps the state that is left as a branch: in
// one write, which is the point of no return.
func (t *Target) PublishInPlace(ctx context.Context, in ReplaceInput) (topology.Group, error) {
	p := beat(ctx)
	defer p.end()
	g, err := t.publishInPlace(ctx, in)
	return g, judge(ctx, describe(err, "workspace %s", in.Plan.Workspace))
}

func (t *Target) publishInPlace(ctx context.Context, in ReplaceInput) (topology.Group, error) {
	if _, err := t.running(ctx, in.Group, in.Place.Instance, in.Epoch); err != nil {
		return topology.Group{}, err
	}
	updated, err := t.Catalog.Update(ctx, in.Group, func(g *topology.Group) error { return replace(g, in, t.Host) })
	if err == nil {
		err = t.markPublished(PublishEndpointInput{Workspaces: []Attached{in.Attached}})
	}
	if err == nil {
		t.tell(ctx)
	}
	return updated.Group, err
}

// replace is the change of the group's document. It does nothing when it was made before.
func replace(g *topology.Group, in ReplaceInput, host string) error {
	w := g.Workspace(in.Plan.Workspace)
	switch {
	case w == nil:
		return noWorkspace(*g, in.Plan.Workspace)
	case w.FindLineage(in.Attached.Lineage.ID) != nil:
		return nil
	case g.NewestEpoch() != in.Epoch || g.Active != in.To || !replacing(g) || g.Operation.ID != in.Operation || g.Operation.GoesBack:
		return fault.Newf(fault.Fenced, opInPlace, "operation %s may not replace anything in group %s any more", in.Operation, g.Name)
	case w.Lineage != in.Left || w.Standbys[in.To].ID != in.Standby:
		return fault.Newf(fault.Fenced, opInPlace, "lineage %s is written now, and not %s", w.Lineage, in.Left)
	}
	if err := g.AddBranch(in.Before); err != nil {
		return err
	}
	w = g.Workspace(in.Plan.Workspace)
	a := in.Attached
	w.Sites[in.To] = topology.Site{Kind: topology.Managed, Source: a.Source, Endpoint: a.Place.Endpoint, Host: host, Instance: a.Place.Instance}
	w.Lineage, w.Lineages = a.Lineage.ID, append(w.Lineages, a.Lineage)
	clear(w.Standbys) // the one that is published, and what follows in the other region: that is made anew
	return nil
}

// GoBackInPlace decides that an operation replaces nothing any more, or finds out that it has.
func (c *Control) GoBackInPlace(ctx context.Context, in GoBackInPlaceInput) (GoBackInPlaceResult, error) {
	p := beat(ctx)
	defer p.end()
	var r GoBackInPlaceResult
	_, err := c.Catalog.Update(ctx, in.Group, func(g *topology.Group) error {
		w := g.Workspace(in.Workspace)
		r.Replaced = w != nil && in.Lineage != "" && w.FindLineage(in.Lineage) != nil
		switch {
		case r.Replaced:
		case g.Operation == nil || g.Operation.ID != in.Operation:
			return fault.Newf(fault.Fenced, "go back", "operation %s does not hold group %s any more", in.Operation, g.Name)
		case !g.Operation.GoesBack:
			held := *g.Operation
			held.GoesBack = true
			g.Operation = &held
		}
		return nil
	})
	return r, judge(ctx, err)
}

// RetireReplaced stops a managed server that an earlier state of its workspace has replaced, once the last of its WAL is on its way. Its files
// are kept: what is found in them by content is not fetched again.
func (t *Target) RetireReplaced(ctx context.Context, in RetireReplacedInput) (PhaseResult, error) {
	p := beat(ctx)
	defer p.end()
	err := t.retireReplaced(ctx, in)
	return PhaseResult{Note: "stopped; its files are kept on " + t.Host}, judge(ctx, describe(err, "the server of workspace %s that was replaced", in.Workspace))
}

func (t *Target) retireReplaced(ctx context.Context, in RetireReplacedInput) error {
	var o owner
	found, err := readState(in.Instance, ownerFile, &o)
	switch {
	case err != nil || !found:
		return errorsOr(err, fault.Newf(fault.Missing, "retire server", "%s is not there", in.Instance))
	case o.Group != in.Group || o.Workspace != in.Workspace:
		return fault.Newf(fault.Diverged, "retire server", "%s belongs to workspace %s of %s", in.Instance, o.Workspace, o.Group)
	}
	loaded, err := t.Catalog.Load(ctx, in.Group)
	if err != nil {
		return err
	}
	w := loaded.Group.Workspace(in.Workspace)
	if w == nil || !w.Replaced(in.Lineage) || w.Sites[in.Region].Instance == in.Instance && w.Sites[in.Region].Host == t.Host {
		return fault.Newf(fault.Invalid, "retire server", "%s serves workspace %s", in.Instance, in.Workspace)
	}
	t.awaitTail(ctx, in.RetireInput, tailWithin)
	if err := stopInstance(ctx, in.Instance); err != nil {
		return err
	}
	o.Retired = true
	return writeState(in.Instance, ownerFile, o)
}
