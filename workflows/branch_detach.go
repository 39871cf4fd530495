package workflows

import (
	"go.temporal.io/sdk/workflow"
)

// DiscardSignal tells a DetachBranch that waits for the bucket, or for the host, to give up what has not arrived. Who asks to detach with
// Discard starts the workflow by signal-with-start, so that one that waits already hears it.
const DiscardSignal = "discard"

// DetachBranch takes a branch's compute away, once all that was written to it is in the bucket.
func DetachBranch(ctx workflow.Context, in DetachBranchInput) (BranchResult, error) {
	result, err := detachBranch(ctx, in)
	return result, refuse(err)
}

// detachBranch is DetachBranch as a part of another workflow that holds the branch's id.
func detachBranch(ctx workflow.Context, in DetachBranchInput) (BranchResult, error) {
	return BranchResult{}, invalid("wait for it", "branches cannot be detached yet")
}
