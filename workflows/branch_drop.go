package workflows

import (
	"go.temporal.io/sdk/workflow"

	"github.com/smartdr/smartdr/activities"
	"github.com/smartdr/smartdr/internal/topology"
)

// DropBranch forgets a branch or a system-managed database. What nothing else needs of it leaves the bucket by retention.
func DropBranch(ctx workflow.Context, in DropBranchInput) (GroupResult, error) {
	result, err := dropBranch(ctx, in)
	return result, refuse(err)
}

// dropBranch is DropBranch as a part of another workflow.
func dropBranch(ctx workflow.Context, in DropBranchInput) (GroupResult, error) {
	if in.Group == "" || in.Name == "" {
		return GroupResult{}, invalid(`give both, as in {"group":"prod","name":"test"}`, "dropping a branch needs a group and the branch's name")
	}
	if err := label(ctx, groupKey.ValueSet(in.Group)); err != nil {
		return GroupResult{}, err
	}
	var group topology.Group
	err := workflow.ExecuteActivity(asked(ctx, TaskQueue, "read the group"), control.ReadGroup, activities.ReadGroupInput{Group: in.Group}).Get(ctx, &group)
	if err != nil {
		return GroupResult{}, err
	}
	if err := refuseInvalid(group.CheckDrop(in.Name, in.Force)); err != nil {
		return GroupResult{}, err
	}
	var notes []string
	if b := group.Branch(in.Name); b != nil && b.Attached != nil {
		detached, err := detachBranch(ctx, DetachBranchInput{Group: in.Group, Branch: in.Name, Discard: true})
		if err != nil {
			return GroupResult{}, err
		}
		notes = detached.Notes
	}
	forget := activities.ForgetBranchInput{Group: in.Group, Name: in.Name, Force: in.Force}
	err = workflow.ExecuteActivity(asked(ctx, TaskQueue, "forget "+in.Name), control.ForgetBranch, forget).Get(ctx, &group)
	return GroupResult{Group: group, Warnings: notes}, err
}
