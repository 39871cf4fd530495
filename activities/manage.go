package activities

import (
	"context"
	"slices"
	"strings"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
)

// change changes a group that nothing holds and that is not over.
func (c *Control) change(ctx context.Context, group, op string, change func(*topology.Group) error) (topology.Group, error) {
	updated, err := c.Catalog.Update(ctx, group, func(g *topology.Group) error {
		if err := g.Changeable(op); err != nil {
			return err
		}
		return change(g)
	})
	return updated.Group, err
}

// AddWorkspace records a workspace of a group that is there already.
func (c *Control) AddWorkspace(ctx context.Context, in AddWorkspaceInput) (topology.Group, error) {
	p := beat(ctx)
	defer p.end()
	g, err := c.change(ctx, in.Group, "create workspace", func(g *topology.Group) error {
		w := g.Workspace(in.Workspace.Name)
		switch {
		case w == nil:
			g.Workspaces = append(g.Workspaces, in.Workspace)
			return nil
		case w.State == topology.WorkspacePending, sameAdopted(*w, in.Workspace):
			*w = in.Workspace
			return nil
		}
		return taken(*g, *w)
	})
	return g, judge(ctx, err)
}

// sameAdopted reports whether a workspace is the one that is to be recorded, as when the answer to an attempt was lost.
func sameAdopted(there, in topology.Workspace) bool {
	if there.State != topology.WorkspaceActive || in.State != topology.WorkspaceActive || len(there.Lineages) > 0 || len(there.Sites) != 1 {
		return false
	}
	for region, site := range there.Sites {
		if site.Kind != topology.Adopted || in.Sites[region].Source != site.Source {
			return false
		}
	}
	return true
}

func taken(g topology.Group, w topology.Workspace) error {
	if w.State == topology.WorkspaceTerminated || w.State == topology.WorkspaceTerminating {
		return fault.Newf(fault.Invalid, "create workspace", "group %s had a workspace %q, which was terminated: what the buckets hold of it bears that name", g.Name, w.Name).
			WithHint("Choose a name that was never used in this group.")
	}
	return fault.Newf(fault.Taken, "create workspace", "group %s has a workspace %q already", g.Name, w.Name).WithHint("Choose another name.")
}

// RecordServer records where the server of a workspace runs that was made, and that it serves.
func (c *Control) RecordServer(ctx context.Context, in RecordServerInput) (topology.Group, error) {
	p := beat(ctx)
	defer p.end()
	g, err := c.change(ctx, in.Group, "record server", func(g *topology.Group) error {
		w := g.Workspace(in.Workspace)
		switch {
		case w == nil:
			return noWorkspace(*g, in.Workspace)
		case g.Epoch != in.Epoch || g.Active != in.Region:
			return fault.Newf(fault.Invalid, "record server", "region %s serves under epoch %d now, and the server of workspace %s was made in %s under epoch %d",
				g.Active, g.Epoch, w.Name, in.Region, in.Epoch).WithHint("Create the workspace again: it is made where the group serves.")
		case w.State == topology.WorkspaceActive && w.Sites[in.Region].Instance == in.Site.Instance:
			return nil // recorded by an attempt whose answer was lost
		case w.State != topology.WorkspacePending:
			return wrongState(*w, "made")
		}
		w.State, w.Reason, w.Sites = topology.WorkspaceActive, "", map[string]topology.Site{in.Region: in.Site}
		return nil
	})
	return g, judge(ctx, err)
}

// RecordState moves a workspace from one state to the next. One that is there already is left as it is.
func (c *Control) RecordState(ctx context.Context, in RecordStateInput) (topology.Group, error) {
	p := beat(ctx)
	defer p.end()
	g, err := c.change(ctx, in.Group, "change state", func(g *topology.Group) error {
		w := g.Workspace(in.Workspace)
		switch {
		case w == nil:
			return noWorkspace(*g, in.Workspace)
		case w.State != in.To && !slices.Contains(in.From, w.State):
			return wrongState(*w, "made "+stateName(in.To))
		}
		w.State, w.Reason = in.To, in.Reason
		return nil
	})
	return g, judge(ctx, err)
}

// RecordChange records what a workspace is to be like.
func (c *Control) RecordChange(ctx context.Context, in RecordChangeInput) (topology.Group, error) {
	p := beat(ctx)
	defer p.end()
	g, err := c.change(ctx, in.Group, "change workspace", func(g *topology.Group) error {
		w := g.Workspace(in.Workspace)
		if w == nil {
			return noWorkspace(*g, in.Workspace)
		}
		if w.State != topology.WorkspaceActive && w.State != topology.WorkspaceSuspended {
			return wrongState(*w, "changed")
		}
		w.Size, w.Settings, w.HBA, w.Ident = in.Size, in.Settings, in.HBA, in.Ident
		if site, ok := w.Sites[g.Active]; ok && in.Source != nil {
			site.Source = *in.Source
			if in.Endpoint != nil {
				site.Endpoint = *in.Endpoint
			}
			w.Sites[g.Active] = site
		}
		return nil
	})
	return g, judge(ctx, err)
}

// RecordGroupChange records a group's firewall, whether it has the option, when its regions fence themselves, and how far a failover moves
// sequences.
func (c *Control) RecordGroupChange(ctx context.Context, in RecordGroupChangeInput) (topology.Group, error) {
	p := beat(ctx)
	defer p.end()
	g, err := c.change(ctx, in.Group, "change group", func(g *topology.Group) error {
		if in.SmartDR != nil {
			if !*in.SmartDR && g.Replication != nil {
				return fault.Newf(fault.Invalid, "change group", "group %s is replicated to %s, and SmartDR cannot be turned off meanwhile", g.Name, g.Secondary).
					WithHint("Replication ends with the group: smartdr group terminate --group %s.", g.Name)
			}
			g.SmartDR = *in.SmartDR
		}
		if in.Firewall != nil {
			g.Firewall = *in.Firewall
		}
		if in.SelfFenceAfterSeconds != nil {
			g.SelfFenceAfter = *in.SelfFenceAfterSeconds
		}
		if in.SequenceGap != nil {
			g.SequenceGap = in.SequenceGap
		}
		return nil
	})
	return g, judge(ctx, err)
}

// EndGroup records that a group is over, once all of its workspaces are.
func (c *Control) EndGroup(ctx context.Context, in ReadGroupInput) (topology.Group, error) {
	p := beat(ctx)
	defer p.end()
	updated, err := c.Catalog.Update(ctx, in.Group, func(g *topology.Group) error {
		if g.State == topology.GroupTerminated {
			return nil
		}
		if err := g.Changeable("terminate group"); err != nil {
			return err
		}
		var left []string
		for _, w := range g.Workspaces {
			if w.State != topology.WorkspaceTerminated {
				left = append(left, w.Name)
			}
		}
		if len(left) > 0 {
			return fault.Newf(fault.Invalid, "terminate group", "workspaces of group %s are still there: %s", g.Name, strings.Join(left, ", ")).
				WithHint("They were created meanwhile: terminate the group again.")
		}
		g.State = topology.GroupTerminated
		return nil
	})
	return updated.Group, judge(ctx, err)
}

func noWorkspace(g topology.Group, name string) error {
	return fault.Newf(fault.Missing, "look for workspace", "group %s has no workspace %q", g.Name, name)
}

func wrongState(w topology.Workspace, what string) error {
	return fault.Newf(fault.Invalid, "change workspace", "workspace %s is %s and cannot be %s", w.Name, stateName(w.State), what)
}

func stateName(s topology.WorkspaceState) string {
	if s == topology.WorkspaceActive {
		return "active"
	}
	return string(s)
}
