package workflows

import (
	"go.temporal.io/sdk/workflow"

	"github.com/smartdr/smartdr/activities"
	"github.com/smartdr/smartdr/internal/topology"
)

// ChangeRetentionType is the workflow type that changes what a region keeps: ChangeRetentionInput -> GroupResult.
const ChangeRetentionType = "ChangeRetention"

// ChangeRetentionID is its workflow id.
func ChangeRetentionID(group, region string) string { return id(group, "retention/"+region+"/change") }

// ChangeRetentionInput asks to keep another window in a region's bucket, or to take snapshots at other times.
type ChangeRetentionInput struct {
	Group     string             `json:"group"`
	Region    string             `json:"region"`
	Retention topology.Retention `json:"retention"`
}

// Retention removes from a region's bucket what nothing needs of a group, once. The group's Replication starts it every hour.
func Retention(ctx workflow.Context, in RetentionInput) (topology.Swept, error) {
	if in.Group == "" || in.Region == "" {
		return topology.Swept{}, invalid(`give both, as in {"group":"prod","region":"west"}`, "retention needs a group and a region")
	}
	grace := graceByDefault
	if in.GraceMinutes != nil {
		grace = *in.GraceMinutes
	}
	if grace < 0 {
		return topology.Swept{}, invalid("0 keeps nothing that nothing refers to, which is for tests", "a grace of %d minutes", grace)
	}
	if err := label(ctx, groupKey.ValueSet(in.Group), regionKey.ValueSet(in.Region)); err != nil {
		return topology.Swept{}, err
	}
	var swept topology.Swept
	sweep := activities.SweepBucketInput{Group: in.Group, Region: in.Region, DryRun: in.DryRun, GraceMinutes: grace}
	err := workflow.ExecuteActivity(sweeping(ctx, in.Region), control.SweepBucket, sweep).Get(ctx, &swept)
	return swept, refuse(err)
}

// ChangeRetention changes what a region's bucket keeps. What is not needed any more goes with the next round, which begins at once.
func ChangeRetention(ctx workflow.Context, in ChangeRetentionInput) (result GroupResult, err error) {
	if in.Group == "" || in.Region == "" {
		return result, invalid(`give both, as in {"group":"prod","region":"west"}`, "retention needs a group and a region")
	}
	if err := label(ctx, groupKey.ValueSet(in.Group), regionKey.ValueSet(in.Region)); err != nil {
		return result, err
	}
	record := activities.RecordRetentionInput(in)
	if err := workflow.ExecuteActivity(asked(ctx, TaskQueue, "record what the region keeps"), control.RecordRetention, record).Get(ctx, &result.Group); err != nil {
		return result, refuse(err)
	}
	for _, w := range result.Group.Workspaces { // whoever does not run has nothing to look at
		signal := workflow.SignalExternalWorkflow(ctx, WorkspaceReplicationID(in.Group, w.Name, result.Group.Epoch), "", LookSignal, nil)
		if err := signal.Get(ctx, nil); err != nil {
			workflow.GetLogger(ctx).Debug("nobody takes snapshots of the workspace now", "workspace", w.Name, "error", err)
		}
	}
	_ = startRetention(ctx, in.Group, in.Region)
	return result, nil
}
