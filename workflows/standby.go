package workflows

import "go.temporal.io/sdk/workflow"

// Standby keeps a workspace's server in the region that does not serve replaying what the bucket there receives.
func Standby(_ workflow.Context, _ StandbyInput) error {
	return invalid("", "not there yet")
}
