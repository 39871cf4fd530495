package activities

import (
	"context"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
)

// planBranch says how a branch's newest point is restored from the bucket of its region.
func (t *Target) planBranch(ctx context.Context, g topology.Group, b topology.Branch) (WorkspacePlan, error) {
	return WorkspacePlan{}, fault.Newf(fault.Invalid, "plan branch", "branches cannot be planned yet")
}

// resolve finds the point that a request for a branch means, in the bucket of its region. The branch that it returns is not recorded.
func (t *Target) resolve(ctx context.Context, g topology.Group, in ResolveBranchInput) (topology.Branch, error) {
	return topology.Branch{}, fault.Newf(fault.Invalid, "create branch", "branches cannot be created yet")
}
