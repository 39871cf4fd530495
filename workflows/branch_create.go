package workflows

import (
	"go.temporal.io/sdk/workflow"

	"github.com/smartdr/smartdr/activities"
	"github.com/smartdr/smartdr/internal/topology"
)

// CreateBranch makes a branch of a workspace, a database, a system-managed database or another branch, and gives it compute if asked to.
func CreateBranch(ctx workflow.Context, in CreateBranchInput) (BranchResult, error) {
	result, err := createBranch(ctx, in)
	return result, refuse(err)
}

// createBranch is CreateBranch as a part of another workflow.
func createBranch(ctx workflow.Context, in CreateBranchInput) (BranchResult, error) {
	if in.Group == "" {
		return BranchResult{}, invalid(`give one, as in {"group":"prod","of":"app"}`, "a branch needs a group")
	}
	if err := refuseInvalid(in.At.Check()); err != nil {
		return BranchResult{}, err
	}
	if in.ReadOnly && !in.Attach {
		return BranchResult{}, invalid(`add "attach": true, or leave it out`, "read-only is how a branch is attached, and this one is not to be")
	}
	if err := label(ctx, groupKey.ValueSet(in.Group)); err != nil {
		return BranchResult{}, err
	}
	var group topology.Group
	err := workflow.ExecuteActivity(asked(ctx, TaskQueue, "read the group"), control.ReadGroup, activities.ReadGroupInput{Group: in.Group}).Get(ctx, &group)
	if err != nil {
		return BranchResult{}, err
	}
	found, err := in.find(ctx, group)
	if err != nil {
		return BranchResult{}, err
	}
	var made activities.RecordBranchResult
	record := activities.RecordBranchInput{Group: in.Group, Branch: found}
	rctx := asked(ctx, RegionQueue(found.Region), "record "+found.Name)
	if err := workflow.ExecuteActivity(rctx, target.RecordBranch, record).Get(ctx, &made); err != nil {
		return BranchResult{}, refuseAt(found.Region, err)
	}
	if in.Attach {
		return in.attach(ctx, made)
	}
	return BranchResult{Branch: made.Branch, Bytes: made.Bytes}, nil
}

// find asks the regions whose bucket may hold what is wanted, in turn, and says what the first one said if none has it.
func (in CreateBranchInput) find(ctx workflow.Context, group topology.Group) (b topology.Branch, err error) {
	for _, region := range in.regions(group) {
		ask := activities.ResolveBranchInput{Group: in.Group, Name: in.Name, Of: in.Of, Workspace: in.Workspace, Region: region, At: in.At}
		rctx := locating(ctx, RegionQueue(region), "find the point in the bucket of "+region)
		next := refuseAt(region, workflow.ExecuteActivity(rctx, target.ResolveBranch, ask).Get(ctx, &b))
		if next == nil {
			return b, nil
		}
		if err == nil {
			err = next
		}
	}
	return b, err
}

// regions are those whose bucket may hold what is wanted: a branch of a branch lies beside it.
func (in CreateBranchInput) regions(group topology.Group) []string {
	of := group.Branch(in.Of)
	switch {
	case in.Region != "":
		return []string{in.Region}
	case of != nil:
		return []string{of.Region}
	case group.Secondary == "":
		return []string{group.Active}
	}
	return []string{group.Active, group.Other(group.Active)}
}

// attach gives the new branch compute, under the workflow id that all that changes a branch has.
func (in CreateBranchInput) attach(ctx workflow.Context, made activities.RecordBranchResult) (BranchResult, error) {
	ask := AttachBranchInput{Group: in.Group, Branch: made.Branch.Name, ReadOnly: in.ReadOnly}
	own := BranchID(in.Group, made.Branch.Name)
	if workflow.GetInfo(ctx).WorkflowExecution.ID == own {
		return attachBranch(ctx, ask)
	}
	var result BranchResult
	child := workflow.WithChildOptions(ctx, workflow.ChildWorkflowOptions{WorkflowID: own, TaskQueue: TaskQueue, StaticSummary: "attach " + ask.Branch})
	err := workflow.ExecuteChildWorkflow(child, AttachBranchType, ask).Get(ctx, &result)
	return result, err
}
