package api

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/workflows"
)

// Resumable returns the group's last failover, or the switchover or failback that has claimed the epoch since, and what it has to
// bring up still.
func (s *Service) Resumable(ctx context.Context, group string) (topology.Operation, error) {
	ops, err := s.Operations(ctx, group)
	if err != nil {
		return topology.Operation{}, err
	}
	at := lastClaim(ops)
	if at < 0 {
		return topology.Operation{}, fault.Newf(fault.Invalid, opFailover, "group %s has never been failed over: there is nothing to resume", group)
	}
	if ops[at].State == topology.OperationCompleted {
		return ops[at], fault.Newf(fault.Invalid, opFailover, "the last %s of group %s (%s) brought everything up: there is nothing to resume", strings.ToLower(ops[at].Kind), group, ops[at].ID)
	}
	return ops[at], nil
}

// lastClaim finds, of operations that are newest first, the one that can be gone on with: the newest that has claimed an epoch or
// may have, else the newest failover; -1 if there is none.
func lastClaim(ops []topology.Operation) int {
	at := slices.IndexFunc(ops, func(op topology.Operation) bool {
		abandoned := op.Kind == workflows.FailoverType && op.State == topology.OperationActive
		return abandoned || op.Epoch > 0 && (op.Kind == workflows.FailoverType || isMove(op))
	})
	if at < 0 {
		at = slices.IndexFunc(ops, func(op topology.Operation) bool { return op.Kind == workflows.FailoverType })
	}
	return at
}

func isMove(op topology.Operation) bool {
	return op.Kind == workflows.SwitchoverType || op.Kind == workflows.FailbackType
}

// resume goes on with what Resumable returns, by the workflow that began it: so the command that began it cannot go on as well.
func (s *Service) resume(ctx context.Context, req FailoverRequest) (Started, error) {
	op, err := s.Resumable(ctx, req.Group)
	if err == nil && req.To != "" && req.To != op.To {
		err = fault.Newf(fault.Invalid, opFailover, "the last %s of group %s led to %s", strings.ToLower(op.Kind), req.Group, op.To).WithHint("Leave the region out.")
	}
	if err != nil {
		return Started{}, err
	}
	return s.goOn(ctx, op)
}

// goOn starts the workflow that goes on with an operation.
func (s *Service) goOn(ctx context.Context, op topology.Operation) (Started, error) {
	var in any = workflows.FailoverInput{Group: op.Group, To: op.To, Resume: true}
	switch op.Kind {
	case workflows.SwitchoverType:
		in = workflows.SwitchoverInput{Group: op.Group, To: op.To}
	case workflows.FailbackType:
		in = workflows.FailbackInput{Group: op.Group}
	}
	summary := fmt.Sprintf("%s of %s to %s, resumed", strings.ToLower(op.Kind), op.Group, op.To)
	run, err := s.start(ctx, workflowOf(op), op.Kind, summary, in)
	if err != nil {
		return Started{}, err
	}
	return Started{Group: op.Group, Operation: op.ID, Workflow: run.GetID(), Run: run.GetRunID()}, nil
}

// unfinished returns the move of the kind that is asked for that has claimed the group's epoch and has not brought up everything;
// nil when there is none. The same command goes on with it.
func (s *Service) unfinished(ctx context.Context, g topology.Group, req SwitchoverRequest) (*topology.Operation, error) {
	c := g.Claimed
	if g.Operation != nil || c == nil || c.Epoch <= g.Epoch && cameBack(g) == nil {
		return nil, nil
	}
	op, err := s.catalog.Operation(ctx, g.Name, c.Operation)
	if fault.Is(err, fault.Missing) {
		return nil, nil
	}
	if err != nil || op.Kind != req.kind() || op.State == topology.OperationCompleted {
		return nil, err
	}
	if req.To != "" && req.To != op.To {
		return nil, fault.Newf(fault.Invalid, req.op(), "the last %s of group %s led to %s, and has not brought everything up there", req.op(), g.Name, op.To).
			WithHint("Go on with it first: smartdr failover --group %s --resume", g.Name)
	}
	return &op, nil
}
