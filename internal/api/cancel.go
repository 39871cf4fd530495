package api

import (
	"context"
	"errors"

	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/workflows"
)

const opCancel = "cancel"

// CancelRequest asks to stop an operation before its point of no return.
type CancelRequest struct {
	Group     string `json:"group"`
	Operation string `json:"operation,omitempty"` // default: the one that runs
	By        string `json:"by,omitempty"`        // for people
}

// cancelable are the workflows that can be stopped.
var cancelable = []string{workflows.FailoverType, workflows.SwitchoverType, workflows.FailbackType, workflows.RestoreType}

// Cancel stops the operation that runs, and returns it as it stood when it was stopped: it puts everything back by itself, which can
// be watched. After the point of no return it is refused.
func (s *Service) Cancel(ctx context.Context, req CancelRequest) (topology.Operation, Started, error) {
	if _, err := s.Group(ctx, req.Group); err != nil {
		return topology.Operation{}, Started{}, err
	}
	op, started, err := s.running(ctx, req)
	if err != nil {
		return op, started, err
	}
	c, err := s.dial(ctx)
	if err != nil {
		return op, started, err
	}
	h, err := c.UpdateWorkflow(ctx, client.UpdateWorkflowOptions{
		WorkflowID: started.Workflow, RunID: started.Run, UpdateName: workflows.CancelUpdate,
		Args: []any{workflows.CancelInput{By: req.By}}, WaitForStage: client.WorkflowUpdateStageCompleted,
	})
	if err == nil {
		err = h.Get(ctx, nil)
	}
	var gone *serviceerror.NotFound
	if errors.As(err, &gone) {
		return op, started, nothingRuns(req)
	}
	return op, started, failure(ctx, err)
}

// running finds the operation that is under way: Temporal knows of one before the catalog does.
func (s *Service) running(ctx context.Context, req CancelRequest) (topology.Operation, Started, error) {
	c, err := s.dial(ctx)
	if err != nil {
		return topology.Operation{}, Started{}, err
	}
	for _, kind := range cancelable {
		at := Started{Group: req.Group, Workflow: workflowOf(topology.Operation{Group: req.Group, Kind: kind})}
		d, err := c.DescribeWorkflowExecution(ctx, at.Workflow, "")
		var gone *serviceerror.NotFound
		switch {
		case errors.As(err, &gone):
			continue
		case err != nil:
			return topology.Operation{}, at, As(Unreachable, fault.New(fault.Transient, "ask Temporal", err))
		case d.GetWorkflowExecutionInfo().GetCloseTime() != nil:
			continue
		}
		at.Run = d.GetWorkflowExecutionInfo().GetExecution().GetRunId()
		op, ok := s.operationNow(ctx, at)
		if !ok {
			op = topology.Operation{ID: at.Run, Kind: kind, Group: req.Group, State: topology.OperationActive}
		}
		if at.Operation = op.ID; req.Operation != "" && req.Operation != op.ID && req.Operation != at.Run {
			return op, at, fault.Newf(fault.Conflict, opCancel, "the operation that runs is %s %s", op.Kind, op.ID).
				WithHint("To stop that one: smartdr cancel %s %s", req.Group, op.ID)
		}
		return op, at, nil
	}
	return topology.Operation{}, Started{}, nothingRuns(req)
}

func nothingRuns(req CancelRequest) error {
	return fault.Newf(fault.Missing, opCancel, "no operation of group %s runs that could be canceled", req.Group).
		WithHint("See: smartdr operations --group %s", req.Group)
}
