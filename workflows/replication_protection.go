package workflows

import (
	"go.temporal.io/sdk/workflow"

	"github.com/smartdr/smartdr/internal/topology"
)

// followProtection acts on a change of whether the group could fail over now.
func (e *entity) followProtection(_ workflow.Context, _ topology.GroupStatus) {}
