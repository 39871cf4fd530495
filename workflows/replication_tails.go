package workflows

import (
	"go.temporal.io/sdk/workflow"

	"github.com/smartdr/smartdr/internal/topology"
)

// bringTails lets what lineages that were left still have be brought home.
func (e *entity) bringTails(_ workflow.Context, _ topology.GroupStatus) {}
