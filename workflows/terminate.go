package workflows

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.temporal.io/sdk/workflow"

	"github.com/smartdr/smartdr/activities"
	"github.com/smartdr/smartdr/internal/topology"
)

// Terminate takes down a workspace, or a group with all of its workspaces. What is in the buckets stays. Asked again, it
// goes on with what is left to clean up.
func Terminate(ctx workflow.Context, in TerminateInput) (GroupResult, error) {
	if in.Group == "" {
		return GroupResult{}, invalid(`give one, as in {"group":"prod"}`, "it is not said which group")
	}
	var group topology.Group
	err := workflow.ExecuteActivity(asked(ctx, TaskQueue, "read the group"), control.ReadGroup, activities.ReadGroupInput{Group: in.Group}).Get(ctx, &group)
	if err != nil {
		return GroupResult{}, refuse(err)
	}
	if err := label(ctx, groupKey.ValueSet(in.Group)); err != nil {
		return GroupResult{}, err
	}
	if group.State != topology.GroupTerminated {
		if err := refuseInvalid(group.Changeable("terminate")); err != nil {
			return GroupResult{}, err
		}
	}
	chosen, err := in.chosen(group)
	if err != nil {
		return GroupResult{}, err
	}
	return in.terminate(ctx, group, chosen)
}

func (in TerminateInput) chosen(g topology.Group) ([]topology.Workspace, error) {
	if in.Workspace == "" {
		return g.Workspaces, noneAttached(g, g.Workspaces)
	}
	w, err := find(g, in.Workspace)
	if err != nil {
		return nil, err
	}
	one := []topology.Workspace{*w}
	return one, noneAttached(g, one)
}

// noneAttached refuses to terminate what has branches that somebody may be writing to.
func noneAttached(g topology.Group, chosen []topology.Workspace) error {
	var names []string
	for _, b := range g.Branches {
		if b.Attached != nil && slices.ContainsFunc(chosen, func(w topology.Workspace) bool { return w.Name == b.Workspace }) {
			names = append(names, b.Name)
		}
	}
	if len(names) == 0 {
		return nil
	}
	return invalid("Detach them first: smartdr branch detach --group "+g.Name+" NAME; with --discard where what was written to one need not reach the bucket.",
		"branches are attached: %s", strings.Join(names, ", "))
}

func (in TerminateInput) terminate(ctx workflow.Context, group topology.Group, chosen []topology.Workspace) (GroupResult, error) {
	end := &termination{group: group, force: in.Force}
	if err := each(ctx, chosen, end.check); err != nil {
		return GroupResult{}, err
	}
	if err := each(ctx, chosen, end.end); err != nil {
		return GroupResult{}, joined([]error{summary("terminating is under way", "Terminate again to go on.", err), pokeCurrent(ctx, group.Name)})
	}
	if in.Workspace == "" {
		over := asked(ctx, TaskQueue, "record that the group is over")
		if err := workflow.ExecuteActivity(over, control.EndGroup, activities.ReadGroupInput{Group: group.Name}).Get(ctx, nil); err != nil {
			return GroupResult{}, refuse(err)
		}
	}
	if err := pokeCurrent(ctx, group.Name); err != nil {
		return GroupResult{}, refuse(err)
	}
	if err := each(ctx, chosen, end.cleanUp); err != nil {
		return GroupResult{}, summary("terminated, and not all is cleaned up", "Terminate again when that is put right.", err)
	}
	result, err := ended(ctx, group, nil)
	result.Warnings = end.left
	return result, err
}

// pokeCurrent pokes by the group as it is now.
func pokeCurrent(ctx workflow.Context, name string) error {
	var group topology.Group
	err := workflow.ExecuteActivity(asked(ctx, TaskQueue, "read the group"), control.ReadGroup, activities.ReadGroupInput{Group: name}).Get(ctx, &group)
	if err != nil {
		return err
	}
	return poke(ctx, group)
}

// termination is one run of Terminate.
type termination struct {
	group topology.Group
	force bool
	left  []string // what somebody has to clean up by hand
}

func (t *termination) server(w topology.Workspace, region string) activities.ServerInput {
	return activities.ServerInput{Group: t.group.Name, Workspace: w.Name, Region: region}
}

// check refuses, before anything is changed, what is not shipped and what could not be cleaned up.
func (t *termination) check(ctx workflow.Context, w topology.Workspace) error {
	if t.force || w.State == topology.WorkspaceTerminated {
		return nil
	}
	//workflowcheck:ignore the keys are sorted
	for _, region := range slices.Sorted(maps.Keys(w.Sites)) {
		if err := t.checkSite(ctx, w, region); err != nil {
			return summary(fmt.Sprintf("workspace %s is not terminated", w.Name), "With force it is terminated all the same.", err)
		}
	}
	return nil
}

func (t *termination) checkSite(ctx workflow.Context, w topology.Workspace, region string) error {
	site, serves := w.Sites[region], region == t.group.Active && w.State != topology.WorkspacePending && w.State != topology.WorkspaceSuspended
	queue := siteQueue(region, site.Host)
	var err error
	switch {
	case site.Kind == topology.Managed && serves && w.State != topology.WorkspaceTerminating:
		err = workflow.ExecuteActivity(trying(ctx, queue, "ship what "+w.Name+" wrote"), target.DrainServer, t.server(w, region)).Get(ctx, nil)
	case site.Kind == topology.Managed:
		err = workflow.ExecuteActivity(asked(ctx, queue, "is the host of "+w.Name+" there"), target.Answer).Get(ctx, nil)
	case serves:
		err = workflow.ExecuteActivity(trying(ctx, RegionQueue(region), "ship what "+w.Name+" wrote"), source.DrainSource, t.server(w, region)).Get(ctx, nil)
	default:
		err = workflow.ExecuteActivity(asked(ctx, RegionQueue(region), "is the server of "+w.Name+" there"), source.ReachSource, t.server(w, region)).Get(ctx, nil)
	}
	return refuseOn(region, site.Host, err)
}

// end ends the workspace's server, with all of its WAL shipped, and records that it is over.
func (t *termination) end(ctx workflow.Context, w topology.Workspace) error {
	if w.State == topology.WorkspaceTerminated {
		return nil
	}
	if err := state(ctx, t.group, w.Name, topology.WorkspaceTerminating, topology.WorkspaceActive, topology.WorkspacePending, topology.WorkspaceSuspending, topology.WorkspaceSuspended); err != nil {
		return err
	}
	if err := t.stop(ctx, w); err != nil && !t.force {
		return err
	}
	return state(ctx, t.group, w.Name, topology.WorkspaceTerminated, topology.WorkspaceTerminating)
}

// stop ends a server that runs. What is suspended has ended and was shipped; what is pending was never told to anybody.
func (t *termination) stop(ctx workflow.Context, w topology.Workspace) error {
	site := w.Sites[t.group.Active]
	if site.Kind != topology.Managed || site.Instance == "" || w.State == topology.WorkspaceSuspended {
		return nil
	}
	in := activities.StopServerInput{ServerInput: t.server(w, t.group.Active), Force: t.force}
	stop := managing
	if t.force {
		stop = trying
	}
	sctx := stop(ctx, siteQueue(t.group.Active, site.Host), "end the server of "+w.Name)
	return refuseOn(t.group.Active, site.Host, workflow.ExecuteActivity(sctx, target.StopServer, in).Get(ctx, nil))
}

// cleanUp removes the files of servers that SmartDR ran, and its slot from those that it adopted. With force, what does not
// answer is left to somebody, with a sentence.
func (t *termination) cleanUp(ctx workflow.Context, w topology.Workspace) error {
	//workflowcheck:ignore the keys are sorted
	for _, region := range slices.Sorted(maps.Keys(w.Sites)) {
		err := t.cleanSite(ctx, w, region)
		if err != nil && !t.force {
			return err
		}
		if err != nil {
			t.left = append(t.left, t.byHand(w, region, err))
		}
	}
	return nil
}

func (t *termination) cleanSite(ctx workflow.Context, w topology.Workspace, region string) error {
	site, in := w.Sites[region], t.server(w, region)
	var err error
	if site.Kind == topology.Managed {
		err = workflow.ExecuteActivity(trying(ctx, siteQueue(region, site.Host), "remove the server of "+w.Name), target.RemoveServer, in).Get(ctx, nil)
	} else {
		err = workflow.ExecuteActivity(trying(ctx, RegionQueue(region), "take our slot off "+w.Name), source.DropSlot, in).Get(ctx, nil)
	}
	return refuseOn(region, site.Host, err)
}

func (t *termination) byHand(w topology.Workspace, region string, err error) string {
	site := w.Sites[region]
	if site.Kind == topology.Managed {
		return fmt.Sprintf("the server of %s in region %s was not removed (%s): terminate again when its host %s is back, or remove %s there by hand",
			w.Name, region, FailureOf(err).Message, site.Host, site.Instance)
	}
	return fmt.Sprintf("our slot is still on the adopted server of %s (%s), where it keeps WAL until the disk is full: drop it there by hand: select pg_drop_replication_slot('%s')",
		w.Name, FailureOf(err).Message, activities.SlotName(t.group.Name, w.Name))
}
