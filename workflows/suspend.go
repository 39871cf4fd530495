package workflows

import (
	"fmt"
	"slices"

	"go.temporal.io/sdk/workflow"

	"github.com/smartdr/smartdr/activities"
	"github.com/smartdr/smartdr/internal/topology"
)

// Suspend ends the servers of managed workspaces once everything is shipped. Their files and what is in the buckets stay.
func Suspend(ctx workflow.Context, in SuspendInput) (GroupResult, error) {
	return onChosen(ctx, in.Group, in.chosen, suspend)
}

// onChosen does the same with each of the chosen workspaces, side by side.
func onChosen(ctx workflow.Context, name string, choose func(topology.Group) ([]topology.Workspace, error),
	do func(workflow.Context, topology.Group, topology.Workspace) error) (GroupResult, error) {
	group, err := begin(ctx, name)
	if err != nil {
		return GroupResult{}, err
	}
	chosen, err := choose(group)
	if err != nil {
		return GroupResult{}, err
	}
	err = each(ctx, chosen, func(ctx workflow.Context, w topology.Workspace) error {
		return refuseOn(group.Active, w.Sites[group.Active].Host, do(ctx, group, w))
	})
	return ended(ctx, group, err)
}

// ended tells Replication what has changed, also where a part failed, and returns the group as it is.
func ended(ctx workflow.Context, group topology.Group, failed error) (GroupResult, error) {
	if err := workflow.ExecuteActivity(asked(ctx, TaskQueue, "read the group"), control.ReadGroup, activities.ReadGroupInput{Group: group.Name}).Get(ctx, &group); err != nil {
		return GroupResult{}, joined([]error{failed, err})
	}
	if err := joined([]error{failed, poke(ctx, group)}); err != nil {
		return GroupResult{}, err
	}
	return GroupResult{Group: group}, nil
}

// chosen are the workspaces to suspend: the one that is named, or all managed ones that run.
func (in SuspendInput) chosen(g topology.Group) (all []topology.Workspace, err error) {
	if in.Workspace == "" {
		for _, w := range g.Workspaces {
			if w.Managed(g.Active) && (w.State == topology.WorkspaceActive || w.State == topology.WorkspaceSuspending) {
				all = append(all, w)
			}
		}
		return all, nil
	}
	w, err := find(g, in.Workspace)
	switch {
	case err != nil:
		return nil, err
	case w.State == topology.WorkspaceSuspended:
		return nil, nil
	case w.State == topology.WorkspaceSuspending:
		return []topology.Workspace{*w}, nil
	}
	if err := steady(*w, "suspended"); err != nil {
		return nil, err
	}
	if !w.Managed(g.Active) {
		return nil, invalid("stop it on its host; SmartDR waits for it",
			"workspace %q is adopted: its server is not SmartDR's to stop", w.Name)
	}
	return []topology.Workspace{*w}, nil
}

// suspend waits until the buckets have what the server wrote so far, before anything is changed; then the server ends, and
// its shipper takes the rest.
func suspend(ctx workflow.Context, group topology.Group, w topology.Workspace) error {
	server, queue := serverOf(group, w), siteQueue(group.Active, w.Sites[group.Active].Host)
	if w.State == topology.WorkspaceActive {
		workflow.SetCurrentDetails(ctx, "Waiting until the buckets have what **"+w.Name+"** wrote")
		if err := workflow.ExecuteActivity(trying(ctx, queue, "ship what "+w.Name+" wrote"), target.DrainServer, server).Get(ctx, nil); err != nil {
			return err
		}
	}
	if err := state(ctx, group, w.Name, topology.WorkspaceSuspending, topology.WorkspaceActive); err != nil {
		return err
	}
	workflow.SetCurrentDetails(ctx, "Ending the server of **"+w.Name+"**")
	err := workflow.ExecuteActivity(managing(ctx, queue, "end the server of "+w.Name), target.StopServer, activities.StopServerInput{ServerInput: server}).Get(ctx, nil)
	if err != nil {
		return summary(fmt.Sprintf("workspace %s is on its way to be suspended", w.Name), "Suspend it again, or resume it.", refuseOn(group.Active, w.Sites[group.Active].Host, err))
	}
	return state(ctx, group, w.Name, topology.WorkspaceSuspended, topology.WorkspaceSuspending)
}

// state records the next state of a workspace.
func state(ctx workflow.Context, group topology.Group, workspace string, to topology.WorkspaceState, from ...topology.WorkspaceState) error {
	in := activities.RecordStateInput{Group: group.Name, Workspace: workspace, From: from, To: to}
	name := string(to)
	if to == topology.WorkspaceActive {
		name = "active"
	}
	return workflow.ExecuteActivity(asked(ctx, TaskQueue, "record that "+workspace+" is "+name), control.RecordState, in).Get(ctx, nil)
}

// Resume starts the servers of suspended workspaces again. They are replicated as before.
func Resume(ctx workflow.Context, in ResumeInput) (GroupResult, error) {
	return onChosen(ctx, in.Group, in.chosen, resume)
}

// chosen are the workspaces to resume: the one that is named, or all that are suspended.
func (in ResumeInput) chosen(g topology.Group) (all []topology.Workspace, err error) {
	off := []topology.WorkspaceState{topology.WorkspaceSuspended, topology.WorkspaceSuspending}
	if in.Workspace == "" {
		for _, w := range g.Workspaces {
			if slices.Contains(off, w.State) {
				all = append(all, w)
			}
		}
		return all, nil
	}
	w, err := find(g, in.Workspace)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(off, w.State) && w.State != topology.WorkspaceActive {
		return nil, steady(*w, "resumed")
	}
	if !w.Managed(g.Active) {
		return nil, nil // it was never ours to stop
	}
	return []topology.Workspace{*w}, nil
}

func resume(ctx workflow.Context, group topology.Group, w topology.Workspace) error {
	site := w.Sites[group.Active]
	if site.Instance == "" {
		return invalid("it comes back with the failover that is resumed: smartdr failover --resume",
			"workspace %q has no server in region %s", w.Name, group.Active)
	}
	if err := state(ctx, group, w.Name, topology.WorkspaceActive, topology.WorkspaceSuspended, topology.WorkspaceSuspending); err != nil {
		return err
	}
	workflow.SetCurrentDetails(ctx, "Starting the server of **"+w.Name+"**")
	return workflow.ExecuteActivity(managing(ctx, siteQueue(group.Active, site.Host), "start "+w.Name), target.StartServer, serverOf(group, w)).Get(ctx, nil)
}
