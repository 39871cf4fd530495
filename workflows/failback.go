package workflows

import "go.temporal.io/sdk/workflow"

// Failback brings a group home to its primary region without losing anything, and takes down what served it elsewhere. It is a
// switchover in which older data directories of the primary side are used as far as they still match.
func Failback(ctx workflow.Context, in FailbackInput) (FailoverResult, error) {
	if in.Group == "" {
		return FailoverResult{}, invalid(`give one, as in {"group":"prod"}`, "failback needs a group")
	}
	return newSwitchover(ctx, FailbackType, in.Group, in.Force).execute(ctx, in.MaxGap)
}
