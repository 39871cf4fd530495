package workflows

import (
	"strings"

	"go.temporal.io/sdk/workflow"

	"github.com/smartdr/smartdr/activities"
	"github.com/smartdr/smartdr/internal/topology"
)

// SnapshotNowID is the workflow id of a snapshot that somebody asked for.
func SnapshotNowID(group string) string { return id(group, "snapshot") }

// Snapshot takes a snapshot of a workspace, or of all that serve, and waits until it is in all buckets that answer.
func Snapshot(ctx workflow.Context, in SnapshotInput) (result GroupResult, err error) {
	if in.Group == "" {
		return result, invalid(`give one, as in {"group":"prod"}`, "a snapshot needs a group")
	}
	read := asked(ctx, TaskQueue, "read the group")
	if err := workflow.ExecuteActivity(read, control.ReadGroup, activities.ReadGroupInput{Group: in.Group}).Get(ctx, &result.Group); err != nil {
		return result, refuse(err)
	}
	g := result.Group
	if err := label(ctx, groupKey.ValueSet(in.Group), regionKey.ValueSet(g.Active)); err != nil {
		return result, err
	}
	chosen, err := in.chosen(g)
	if err != nil {
		return result, err
	}
	notes := make([]string, len(chosen))
	places := map[string]int{}
	for i, w := range chosen {
		places[w.Name] = i
	}
	err = each(ctx, chosen, func(ctx workflow.Context, w topology.Workspace) error {
		note, err := snapshotNow(ctx, g, w)
		notes[places[w.Name]] = note
		return refuseOn(g.Active, w.Sites[g.Active].Host, err)
	})
	for _, note := range notes {
		if note != "" {
			result.Warnings = append(result.Warnings, note)
		}
	}
	return result, err
}

// chosen are the workspaces of which a snapshot is wanted.
func (in SnapshotInput) chosen(g topology.Group) (all []topology.Workspace, err error) {
	if g.Replication == nil {
		return nil, invalid("configure replication first", "group %q was never configured to replicate anywhere, and has no snapshots", g.Name)
	}
	if in.Workspace != "" && g.Workspace(in.Workspace) == nil {
		return nil, invalid("`smartdr workspace list` shows them", "group %q has no workspace %q", g.Name, in.Workspace)
	}
	for _, w := range g.Workspaces {
		if (in.Workspace == "" || w.Name == in.Workspace) && w.State == topology.WorkspaceActive && w.Lineage != "" {
			all = append(all, w)
		}
	}
	if len(all) == 0 {
		return nil, invalid("a snapshot is taken of a server that runs and is replicated", "nothing of group %q serves that a snapshot could be taken of", g.Name)
	}
	return all, nil
}

// snapshotNow takes one. The note says which bucket has to wait for it.
func snapshotNow(ctx workflow.Context, g topology.Group, w topology.Workspace) (note string, err error) {
	queue := siteQueue(g.Active, w.Sites[g.Active].Host)
	in := activities.TakeSnapshotInput{SourceInput: activities.SourceInput{Group: g.Name, Workspace: w.Name, Epoch: g.Epoch}}
	var taken activities.TakeSnapshotResult
	if err := workflow.ExecuteActivity(takingNow(ctx, queue, "base backup of "+w.Name+" to both buckets"), source.TakeSnapshot, in).Get(ctx, &taken); err != nil {
		return "", err
	}
	look := workflow.SignalExternalWorkflow(ctx, WorkspaceReplicationID(g.Name, w.Name, g.Epoch), "", LookSignal, nil)
	if err := look.Get(ctx, nil); err != nil {
		workflow.GetLogger(ctx).Debug("nobody waits for the workspace's next snapshot", "workspace", w.Name, "error", err)
	}
	if len(taken.Lacking) > 0 {
		note = "workspace " + w.Name + ": the snapshot is in " + strings.Join(taken.Complete, " and ") + ", and follows to " + strings.Join(taken.Lacking, " and ") + " when that answers"
	}
	return note, nil
}
