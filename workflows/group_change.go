package workflows

import (
	"go.temporal.io/sdk/workflow"

	"github.com/smartdr/smartdr/activities"
	"github.com/smartdr/smartdr/internal/topology"
)

// ChangeGroup changes a group's firewall, on all servers that SmartDR runs for it, the option "SmartDR and database branching",
// after how long without an answer from anybody a region fences its own servers, and how far a failover moves sequences ahead.
func ChangeGroup(ctx workflow.Context, in ChangeGroupInput) (GroupResult, error) {
	if in.SmartDR == nil && in.Firewall == nil && in.SelfFenceAfter == nil && in.SequenceGap == nil {
		return GroupResult{}, invalid("give smartDR, firewall, selfFenceAfter or sequenceGap", "it is not said what to change of group %q", in.Group)
	}
	if err := topology.CheckSequenceGap(in.SequenceGap); err != nil {
		return GroupResult{}, refuseInvalid(err)
	}
	change := activities.RecordGroupChangeInput{Group: in.Group, SmartDR: in.SmartDR, SequenceGap: in.SequenceGap}
	if in.Firewall != nil {
		f, err := in.Firewall.Canonical()
		if err != nil {
			return GroupResult{}, refuseInvalid(err)
		}
		change.Firewall = &f
	}
	if in.SelfFenceAfter != nil {
		seconds, err := topology.ParseSelfFence(*in.SelfFenceAfter)
		if err != nil {
			return GroupResult{}, refuseInvalid(err)
		}
		change.SelfFenceAfterSeconds = &seconds
	}
	group, err := begin(ctx, in.Group)
	if err != nil {
		return GroupResult{}, err
	}
	result, err := changeGroup(ctx, change, group)
	return result, refuseAt(group.Active, err)
}

func changeGroup(ctx workflow.Context, change activities.RecordGroupChangeInput, group topology.Group) (result GroupResult, err error) {
	record := asked(ctx, RegionQueue(group.Active), "record the change")
	if err := workflow.ExecuteActivity(record, control.RecordGroupChange, change).Get(ctx, &group); err != nil {
		return result, err
	}
	if change.Firewall != nil {
		err = each(ctx, running(group), func(ctx workflow.Context, w topology.Workspace) error {
			_, err := apply(ctx, group, w, nil, false)
			return refuseOn(group.Active, w.Sites[group.Active].Host, err)
		})
		if err != nil {
			return result, summary("the change is recorded, and not in force everywhere", "Change the group again, in the same way, when that is put right.", err)
		}
	}
	return GroupResult{Group: group}, poke(ctx, group)
}

// running returns the workspaces whose servers SmartDR runs now.
func running(g topology.Group) (all []topology.Workspace) {
	for _, w := range g.Workspaces {
		if w.State == topology.WorkspaceActive && w.Managed(g.Active) {
			all = append(all, w)
		}
	}
	return all
}
