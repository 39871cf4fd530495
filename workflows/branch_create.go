package workflows

import "go.temporal.io/sdk/workflow"

// CreateBranch makes a branch of a workspace, a database, a system-managed database or another branch, and gives it compute if asked to.
func CreateBranch(ctx workflow.Context, in CreateBranchInput) (BranchResult, error) {
	result, err := createBranch(ctx, in)
	return result, refuse(err)
}

// createBranch is CreateBranch as a part of another workflow.
func createBranch(_ workflow.Context, _ CreateBranchInput) (BranchResult, error) {
	return BranchResult{}, invalid("wait for it", "branches cannot be created yet")
}
