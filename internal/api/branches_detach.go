package api

import (
	"context"

	"go.temporal.io/sdk/client"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/workflows"
)

// DetachBranch takes a branch's server away, once all that was written to it is in the bucket. With Discard it also tells one that waits
// for that already to wait no longer.
func (s *Service) DetachBranch(ctx context.Context, in workflows.DetachBranchInput) (Branch, error) {
	g, err := s.Group(ctx, in.Group)
	if err != nil {
		return Branch{}, err
	}
	b, err := findBranch(g, "detach branch", in.Branch)
	if err != nil {
		return Branch{}, err
	}
	if b.Attached == nil {
		return s.branch(ctx, g, *b), nil
	}
	id := workflows.BranchID(in.Group, in.Branch)
	if !in.Discard {
		return s.changeBranch(ctx, in.Group, id, workflows.DetachBranchType, "detach branch "+in.Branch, in)
	}
	return s.discard(ctx, id, in)
}

func (s *Service) discard(ctx context.Context, id string, in workflows.DetachBranchInput) (Branch, error) {
	c, err := s.dial(ctx)
	if err == nil {
		err = s.someWorker(ctx, c)
	}
	if err != nil {
		return Branch{}, err
	}
	options := client.StartWorkflowOptions{ID: id, TaskQueue: workflows.TaskQueue, StaticSummary: "detach branch " + in.Branch + ", and discard"}
	run, err := c.SignalWithStartWorkflow(ctx, id, workflows.DiscardSignal, nil, options, workflows.DetachBranchType, in)
	if err != nil {
		return Branch{}, As(Unreachable, fault.New(fault.Transient, "detach branch", err))
	}
	var out workflows.BranchResult
	if err := failure(ctx, run.Get(ctx, &out)); err != nil {
		return Branch{}, err
	}
	return s.after(ctx, in.Group, out), nil
}
