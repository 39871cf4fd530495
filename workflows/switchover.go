package workflows

import "go.temporal.io/sdk/workflow"

// Switchover moves a group to its other region, while both are there, without losing anything.
func Switchover(_ workflow.Context, _ SwitchoverInput) (FailoverResult, error) {
	return FailoverResult{}, invalid("", "not there yet")
}
