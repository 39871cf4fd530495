package workflows

import (
	"go.temporal.io/sdk/workflow"

	"github.com/smartdr/smartdr/activities"
	"github.com/smartdr/smartdr/internal/topology"
)

// Recover makes the control plane that runs it the only one that acts for a group, and keeps the group replicated from then on. It
// needs a worker in that region and its bucket, and nothing of any other Temporal. Nothing is served elsewhere by it: a
// failover is started next, if that is wanted.
func Recover(ctx workflow.Context, in RecoverInput) (GroupResult, error) {
	if in.Group == "" || in.Region == "" {
		return GroupResult{}, invalid(`give both, as in {"group":"prod","region":"west"}`, "taking a group over needs its name and the region whose bucket knows it")
	}
	if err := label(ctx, groupKey.ValueSet(in.Group), regionKey.ValueSet(in.Region)); err != nil {
		return GroupResult{}, err
	}
	if in.By == "" {
		in.By = "workflow " + workflow.GetInfo(ctx).WorkflowExecution.ID
	}
	var g topology.Group
	take := activities.TakeControlInput{Group: in.Group, By: in.By, Force: in.Force}
	queue := RegionQueue(in.Region)
	err := workflow.ExecuteActivity(asked(ctx, queue, "be the only one that acts for "+in.Group), target.TakeControl, take).Get(ctx, &g)
	if err != nil {
		return GroupResult{}, refuseAt(in.Region, err)
	}
	result := GroupResult{Group: g}
	if g.Replication == nil || g.State == topology.GroupTerminated {
		return result, nil
	}
	return result, refuseAt(in.Region, ensureReplication(asked(ctx, queue, "start Replication"), g))
}
