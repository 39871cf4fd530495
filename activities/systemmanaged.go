package activities

import (
	"context"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
)

// failoverKind is the operation that leaves databases behind: after a planned move the other side has everything.
const failoverKind = "Failover"

// leftBehind says of the workspaces that a failover is about to publish for the first time which databases go on in the region that is left.
func (t *Target) leftBehind(ctx context.Context, in PublishEndpointInput) (all []topology.Continued, err error) {
	loaded, err := t.Catalog.Load(ctx, in.Group)
	if err != nil {
		return nil, err
	}
	op := loaded.Group.Operation
	if op == nil || op.ID != in.Operation || op.Kind != failoverKind {
		return nil, nil
	}
	plan, _, err := t.standing(ctx, in.Group, in.To, in.Operation)
	if err != nil {
		return nil, err
	}
	for _, a := range in.Workspaces {
		w := loaded.Group.Workspace(a.Workspace)
		if w == nil || w.Lineage == "" || w.FindLineage(a.Lineage.ID) != nil {
			continue // what it left behind was recorded with its lineage
		}
		c := topology.Continued{Workspace: w.Name, Lineage: w.Lineage, Operation: op.ID, At: op.StartedAt}
		c.Databases = t.activeBefore(ctx, in.Group, w.Name, plan)
		if c.Fenced, err = t.Catalog.Fence(ctx, in.Group, w.Name, w.Lineage); err != nil && !fault.Is(err, fault.Missing) {
			return nil, err
		}
		all = append(all, c)
	}
	return all, nil
}

// activeBefore returns the databases that were there when the server that is left was last looked at, else those that its copy was planned
// with. Somebody waits for the workspace: that nobody knows more now must not hold it up.
func (t *Target) activeBefore(ctx context.Context, group, workspace string, plan FailoverPlan) (names []string) {
	m, err := t.metadata(ctx, group, workspace)
	if err == nil {
		for _, d := range m.Databases {
			if d.AllowConnections && !d.Template && !d.Invalid {
				names = append(names, d.Name)
			}
		}
		return names
	}
	if !fault.Is(err, fault.Missing) {
		t.Log.WarnContext(ctx, "which databases were active is taken from the last snapshot", "workspace", workspace, "error", err)
	}
	for _, w := range plan.Workspaces {
		if w.Workspace == workspace {
			return w.Databases
		}
	}
	return nil
}
