package activities

import (
	"context"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
)

// ResolveBranch finds the point that a request for a branch means, in the bucket of one region. Nothing is recorded.
func (t *Target) ResolveBranch(ctx context.Context, in ResolveBranchInput) (topology.Branch, error) {
	p := beat(ctx)
	defer p.end()
	return topology.Branch{}, judge(ctx, fault.Newf(fault.Invalid, "create branch", "branches cannot be created yet"))
}

// RecordBranch records a branch in the group's document, which is all that there is of one until it is written.
func (t *Target) RecordBranch(ctx context.Context, in RecordBranchInput) (RecordBranchResult, error) {
	p := beat(ctx)
	defer p.end()
	return RecordBranchResult{}, judge(ctx, fault.Newf(fault.Invalid, "create branch", "branches cannot be created yet"))
}

// ForgetBranch forgets a branch or a system-managed database.
func (t *Target) ForgetBranch(ctx context.Context, in ForgetBranchInput) (topology.Group, error) {
	p := beat(ctx)
	defer p.end()
	return topology.Group{}, judge(ctx, fault.Newf(fault.Invalid, "drop branch", "branches cannot be dropped yet"))
}
