package workflows

import "go.temporal.io/sdk/workflow"

// BranchReplication brings what is written to an attached branch to the bucket of its region, until the branch has another attachment, or none.
func BranchReplication(ctx workflow.Context, in BranchReplicationInput) error {
	return invalid("wait for it", "branches are not replicated yet")
}
