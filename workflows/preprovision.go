package workflows

import "go.temporal.io/sdk/workflow"

// Preprovision chooses whether standbys are kept in the region that does not serve.
func Preprovision(_ workflow.Context, _ PreprovisionInput) (GroupResult, error) {
	return GroupResult{}, invalid("", "not there yet")
}
