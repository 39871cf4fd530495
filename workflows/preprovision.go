package workflows

import (
	"go.temporal.io/sdk/workflow"

	"github.com/smartdr/smartdr/activities"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
)

// Preprovision chooses whether servers of all workspaces are kept in the region that does not serve, where they follow: a failover
// then takes seconds, and what they take of the hosts is paid for. The group's Replication makes them, and takes them away.
func Preprovision(ctx workflow.Context, in PreprovisionInput) (GroupResult, error) {
	if in.Group == "" {
		return GroupResult{}, invalid(`give one, as in {"group":"prod"}`, "preprovisioning needs a group")
	}
	var g topology.Group
	read := asked(ctx, TaskQueue, "read the group")
	if err := workflow.ExecuteActivity(read, control.ReadGroup, activities.ReadGroupInput{Group: in.Group}).Get(ctx, &g); err != nil {
		return GroupResult{}, refuse(err)
	}
	if err := label(ctx, groupKey.ValueSet(in.Group), regionKey.ValueSet(g.Other(g.Active))); err != nil {
		return GroupResult{}, err
	}
	result, err := preprovision(ctx, in, g)
	return result, refuseAt(g.Other(g.Active), err)
}

func preprovision(ctx workflow.Context, in PreprovisionInput, g topology.Group) (result GroupResult, err error) {
	if g.Replication == nil || g.Secondary == "" {
		return result, invalid("configure replication first", "group %q was never configured to replicate anywhere", g.Name)
	}
	if !in.Stop {
		if result.Warnings, err = roomFor(ctx, g); err != nil {
			return result, err
		}
	}
	record := asked(ctx, TaskQueue, "record the choice")
	choice := activities.RecordPreprovisionInput{Group: in.Group, Stop: in.Stop}
	if err := workflow.ExecuteActivity(record, control.RecordPreprovision, choice).Get(ctx, &result.Group); err != nil {
		return result, err
	}
	return result, ensureReplication(asked(ctx, TaskQueue, "tell Replication"), result.Group)
}

// roomFor refuses standbys for which no host has room. Where a workspace has no snapshot yet nobody can say: its standby is made
// when there is one.
func roomFor(ctx workflow.Context, g topology.Group) (warnings []string, err error) {
	to := g.Other(g.Active)
	look := asked(ctx, RegionQueue(to), "whether there is room")
	in := activities.PlanFailoverInput{Group: g.Name, To: to, Planned: true, Force: true}
	err = workflow.ExecuteActivity(look, target.PlanFailover, in).Get(ctx, nil)
	if err != nil && FailureOf(err).Type == string(fault.Missing) {
		return []string{"not every workspace can be brought up there yet, and follows when it can: " + FailureOf(err).Message}, nil
	}
	return nil, err
}
