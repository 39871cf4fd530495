package workflows

import (
	"maps"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/smartdr/smartdr/activities"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
)

// ChangeWorkspace changes a workspace: of a managed one its size, settings and rules, of an adopted one how it is reached.
func ChangeWorkspace(ctx workflow.Context, in ChangeWorkspaceInput) (WorkspaceResult, error) {
	group, err := begin(ctx, in.Group)
	if err != nil {
		return WorkspaceResult{}, err
	}
	w, err := find(group, in.Workspace)
	if err != nil {
		return WorkspaceResult{}, err
	}
	if err := in.check(group, *w); err != nil {
		return WorkspaceResult{}, err
	}
	site := w.Sites[group.Active]
	if site.Kind != topology.Managed {
		result, err := changeAdopted(ctx, in, group, *w)
		return result, refuseAt(group.Active, err)
	}
	result, err := changeManaged(ctx, in, group, *w)
	return result, refuseOn(group.Active, site.Host, err)
}

// find returns the workspace, with a sentence for what it cannot be when somebody wants to change it.
func find(g topology.Group, name string) (*topology.Workspace, error) {
	if name == "" {
		return nil, invalid(`give one, as in {"workspace":"orders"}`, "it is not said which workspace of group %q", g.Name)
	}
	w := g.Workspace(name)
	if w == nil {
		return nil, temporal.NewNonRetryableApplicationError("group "+g.Name+" has no workspace "+name, string(fault.Missing), nil, "smartdr workspaces lists them")
	}
	return w, nil
}

func (in ChangeWorkspaceInput) check(g topology.Group, w topology.Workspace) error {
	if err := steady(w, "changed"); err != nil {
		return err
	}
	if in.Size != "" {
		if _, err := topology.ParseSize(in.Size); err != nil {
			return refuseInvalid(err)
		}
	}
	if w.Sites[g.Active].Kind != topology.Managed {
		return in.checkAdopted(w)
	}
	if in.Source != nil {
		return invalid("leave out source", "workspace %q is managed: SmartDR knows how to reach its server", w.Name)
	}
	for _, name := range in.Reset {
		if err := topology.CheckSettingName(name); err != nil {
			return refuseInvalid(err)
		}
		if _, both := in.Set[name]; both {
			return invalid("choose one", "%s is to be set and to be reset", name)
		}
	}
	return refuseInvalid(topology.CheckSettings(in.Set))
}

func (in ChangeWorkspaceInput) checkAdopted(w topology.Workspace) error {
	if len(in.Set) > 0 || len(in.Reset) > 0 || in.HBA != nil || in.Ident != nil || in.Restart {
		return invalid("change them on the server itself; after a failover SmartDR runs the copy",
			"workspace %q is adopted: SmartDR changes neither settings nor access rules of its server, and does not restart it", w.Name)
	}
	return nil
}

// steady refuses what cannot be done to a workspace on its way to another state.
func steady(w topology.Workspace, what string) error {
	switch w.State {
	case topology.WorkspaceActive, topology.WorkspaceSuspended:
		return nil
	case topology.WorkspacePending:
		return invalid("create it again by the same name, or terminate it", "workspace %q was not made yet and cannot be %s: %s", w.Name, what, w.Reason)
	case topology.WorkspaceSuspending:
		return invalid("suspend it again, or resume it", "workspace %q is being suspended and cannot be %s", w.Name, what)
	}
	return invalid("what is in the buckets stays until its retention ends; a new workspace needs another name",
		"workspace %q was terminated and cannot be %s", w.Name, what)
}

// changeAdopted records another way to the same server. A size is what a failover needs for it.
func changeAdopted(ctx workflow.Context, in ChangeWorkspaceInput, group topology.Group, w topology.Workspace) (result WorkspaceResult, err error) {
	change, err := in.change(group, w)
	if err != nil {
		return result, err
	}
	if in.Source != nil {
		look := asked(ctx, RegionQueue(group.Active), "server of "+w.Name)
		same := activities.CheckSourceInput{Group: in.Group, Workspace: w.Name, Source: *in.Source}
		var found activities.CheckSourceResult
		if err := workflow.ExecuteActivity(look, source.CheckSource, same).Get(ctx, &found); err != nil {
			return result, err
		}
		change.Source, change.Endpoint, result.Warnings = in.Source, &found.Endpoint, found.Warnings
	}
	err = workflow.ExecuteActivity(asked(ctx, RegionQueue(group.Active), "record the change"), control.RecordChange, change).Get(ctx, &group)
	if err != nil {
		return result, err
	}
	result.Workspace = *group.Workspace(w.Name)
	if in.Source != nil && group.Replication != nil {
		result.Notes = append(result.Notes, "shipping goes over to the new connection string with its next turn, within half an hour, or when the old one fails")
	}
	return result, nil
}

// change is what the workspace is to be like.
func (in ChangeWorkspaceInput) change(g topology.Group, w topology.Workspace) (activities.RecordChangeInput, error) {
	c := activities.RecordChangeInput{Group: g.Name, Workspace: w.Name, Size: w.Size, HBA: w.HBA, Ident: w.Ident, Settings: maps.Clone(w.Settings)}
	if in.Size != "" {
		size, err := topology.ParseSize(in.Size)
		if err != nil {
			return c, refuseInvalid(err)
		}
		c.Size = size
	}
	if c.Settings == nil {
		c.Settings = map[string]string{}
	}
	maps.Copy(c.Settings, in.Set)
	for _, name := range in.Reset {
		delete(c.Settings, name)
	}
	if in.HBA != nil {
		c.HBA = *in.HBA
	}
	if in.Ident != nil {
		c.Ident = *in.Ident
	}
	return c, nil
}

// changeManaged lets PostgreSQL judge the change, then records it, then applies it: what was recorded can be applied again
// by whoever finds that it was not.
func changeManaged(ctx workflow.Context, in ChangeWorkspaceInput, group topology.Group, w topology.Workspace) (result WorkspaceResult, err error) {
	change, err := in.change(group, w)
	if err != nil {
		return result, err
	}
	if err := checkRoom(ctx, group, w, change.Size); err != nil {
		return result, err
	}
	server := serverOf(group, w)
	queue := siteQueue(group.Active, w.Sites[group.Active].Host)
	check := activities.CheckChangeInput{ServerInput: server, Size: change.Size, Settings: change.Settings, HBA: change.HBA, Ident: change.Ident, Firewall: group.Firewall}
	if err := workflow.ExecuteActivity(trying(ctx, queue, "try the change"), target.CheckChange, check).Get(ctx, nil); err != nil {
		return result, err
	}
	err = workflow.ExecuteActivity(asked(ctx, RegionQueue(group.Active), "record the change"), control.RecordChange, change).Get(ctx, &group)
	if err != nil {
		return result, err
	}
	result.Workspace = *group.Workspace(w.Name)
	if result.Workspace.State != topology.WorkspaceActive {
		result.Notes = []string{"it takes effect when the workspace is resumed"}
		return result, nil
	}
	result.Notes, err = apply(ctx, group, w, in.Reset, in.Restart)
	return result, err
}

// checkRoom refuses a size that the server's own host has no room for.
func checkRoom(ctx workflow.Context, group topology.Group, w topology.Workspace, size topology.Size) error {
	if size.MemoryBytes <= w.Size.MemoryBytes && size.CPUs <= w.Size.CPUs {
		return nil
	}
	site := w.Sites[group.Active]
	need := activities.NewServer{Group: group.Name, Workspace: w.Name, Epoch: group.Epoch, Region: group.Active, Host: site.Host, Size: size}
	in := activities.PlaceServersInput{Region: group.Active, Servers: []activities.NewServer{need}}
	return workflow.ExecuteActivity(asked(ctx, RegionQueue(group.Active), "room on "+site.Host), target.PlaceServers, in).Get(ctx, nil)
}

func serverOf(group topology.Group, w topology.Workspace) activities.ServerInput {
	return activities.ServerInput{Group: group.Name, Workspace: w.Name, Region: group.Active}
}

func apply(ctx workflow.Context, group topology.Group, w topology.Workspace, reset []string, restart bool) ([]string, error) {
	in := activities.ApplyServerInput{ServerInput: serverOf(group, w), Reset: reset, Restart: restart}
	var done activities.ApplyServerResult
	queue := siteQueue(group.Active, w.Sites[group.Active].Host)
	err := workflow.ExecuteActivity(managing(ctx, queue, "apply to "+w.Name), target.ApplyServer, in).Get(ctx, &done)
	return done.Notes, err
}
