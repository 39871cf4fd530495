package activities

import (
	"context"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
)

// PublishEndpoint makes restored servers of this host the serving ones: from here on the catalog names them. It sees to it
// that they run. The first one makes the region active; the group's other workspaces then have no server there until they
// are published too.
func (t *Target) PublishEndpoint(ctx context.Context, in PublishEndpointInput) (topology.Group, error) {
	p := beat(ctx)
	defer p.end()
	g, err := t.publish(ctx, in)
	return g, judge(ctx, err)
}

func (t *Target) publish(ctx context.Context, in PublishEndpointInput) (topology.Group, error) {
	if err := t.checkPlanned(ctx, in); err != nil {
		return topology.Group{}, err
	}
	for _, a := range in.Workspaces {
		if _, err := t.running(ctx, in.Group, a.Place.Instance, in.Epoch); err != nil {
			return topology.Group{}, describe(err, "workspace %s", a.Workspace)
		}
	}
	behind, err := t.leftBehind(ctx, in)
	if err != nil {
		return topology.Group{}, err
	}
	updated, err := t.Catalog.Update(ctx, in.Group, func(g *topology.Group) error {
		if g.Epoch > in.Epoch {
			return fault.Newf(fault.Fenced, "publish endpoint", "group %s is at epoch %d already, and this is epoch %d", g.Name, g.Epoch, in.Epoch)
		}
		if g.Epoch < in.Epoch {
			g.Active, g.Epoch = in.To, in.Epoch
			for i := range g.Workspaces {
				delete(g.Workspaces[i].Sites, in.To) // of an epoch long past
			}
		}
		if err := publishAll(g, in, t.Host); err != nil {
			return err
		}
		for _, c := range behind {
			g.Continue(c)
		}
		return nil
	})
	if err == nil {
		err = t.markPublished(in)
	}
	return updated.Group, err
}

// checkPlanned refuses what was placed anew since: its host was taken for lost and comes too late.
func (t *Target) checkPlanned(ctx context.Context, in PublishEndpointInput) error {
	plan, stands, err := t.standing(ctx, in.Group, in.To, in.Operation)
	if err != nil || !stands {
		return err
	}
	for _, a := range in.Workspaces {
		for _, w := range plan.Workspaces {
			if w.Workspace == a.Workspace && w.Lineage != a.Lineage.ID {
				return late(a, w.Host)
			}
		}
	}
	return nil
}

func late(a Attached, host string) error {
	return fault.Newf(fault.Fenced, "publish endpoint", "workspace %s is brought up on host %q instead", a.Workspace, host)
}

func publishAll(g *topology.Group, in PublishEndpointInput, host string) error {
	for _, a := range in.Workspaces {
		w := g.Workspace(a.Workspace)
		if w == nil {
			return fault.Newf(fault.Missing, "publish endpoint", "group %s has no workspace %q", g.Name, a.Workspace)
		}
		if l := w.CurrentLineage(); l != nil && l.Epoch == in.Epoch && l.ID != a.Lineage.ID && w.FindLineage(a.Lineage.ID) == nil {
			return late(a, w.Sites[in.To].Host)
		}
		if w.Sites == nil {
			w.Sites = map[string]topology.Site{}
		}
		w.Sites[in.To] = topology.Site{Kind: topology.Managed, Source: a.Source, Endpoint: a.Place.Endpoint, Host: host, Instance: a.Place.Instance}
		delete(w.Standbys, in.To)               // it serves now, or was not needed
		if w.FindLineage(a.Lineage.ID) == nil { // else it was published before, and may have a newer lineage since
			w.Lineage, w.Lineages = a.Lineage.ID, append(w.Lineages, a.Lineage)
		}
	}
	return nil
}

// markPublished says in the instances' folders that they have served: nothing of them is ever thrown away.
func (t *Target) markPublished(in PublishEndpointInput) error {
	for _, a := range in.Workspaces {
		var o owner
		if _, err := readState(a.Place.Instance, ownerFile, &o); err != nil {
			return err
		}
		o.Published = true
		if err := writeState(a.Place.Instance, ownerFile, o); err != nil {
			return err
		}
	}
	return nil
}
