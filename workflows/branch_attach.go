package workflows

import (
	"go.temporal.io/sdk/workflow"
)

// AttachBranch gives a branch compute: one server on a host of the branch's region, with an endpoint of its own.
func AttachBranch(ctx workflow.Context, in AttachBranchInput) (BranchResult, error) {
	result, err := attachBranch(ctx, in)
	return result, refuse(err)
}

// attachBranch is AttachBranch as a part of another workflow that holds the branch's id.
func attachBranch(ctx workflow.Context, in AttachBranchInput) (BranchResult, error) {
	return BranchResult{}, invalid("wait for it", "branches cannot be attached yet")
}
