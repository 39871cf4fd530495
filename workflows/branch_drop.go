package workflows

import "go.temporal.io/sdk/workflow"

// DropBranch forgets a branch or a system-managed database. What nothing else needs of it leaves the bucket by retention.
func DropBranch(ctx workflow.Context, in DropBranchInput) (GroupResult, error) {
	result, err := dropBranch(ctx, in)
	return result, refuse(err)
}

// dropBranch is DropBranch as a part of another workflow.
func dropBranch(_ workflow.Context, _ DropBranchInput) (GroupResult, error) {
	return GroupResult{}, invalid("wait for it", "branches cannot be dropped yet")
}
