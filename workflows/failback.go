package workflows

import "go.temporal.io/sdk/workflow"

// Failback brings a group home to its primary region without losing anything, and takes down what served it elsewhere.
func Failback(_ workflow.Context, _ FailbackInput) (FailoverResult, error) {
	return FailoverResult{}, invalid("", "not there yet")
}
