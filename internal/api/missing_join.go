package api

import (
	"context"
	"errors"
	"reflect"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/workflows"
)

// compare starts the workflow, or joins the one that does the same already, and waits for its result.
func (s *Service) compare(ctx context.Context, in workflows.MissingRowsInput, say func(string), out *workflows.MissingRowsResult) error {
	id, what := workflows.MissingRowsID(in.Group), "find missing rows of group "+in.Group
	if in.Apply {
		what = "merge missing rows of group " + in.Group
	}
	run, err := s.start(ctx, id, workflows.MissingRowsType, what, in)
	if fault.Is(err, fault.Conflict) {
		run, err = s.join(ctx, id, in, err)
	}
	if err != nil {
		return err
	}
	telling, stop := context.WithCancel(ctx)
	told := s.tellDetails(telling, id, say)
	err = failure(ctx, run.Get(ctx, out))
	stop()
	<-told
	return err
}

// join returns the run of a workflow that is under way if it was asked for the same; else otherwise, with what can be done about it.
func (s *Service) join(ctx context.Context, id string, in workflows.MissingRowsInput, otherwise error) (client.WorkflowRun, error) {
	c, err := s.dial(ctx)
	if err != nil {
		return nil, err
	}
	run := c.GetWorkflow(ctx, id, "")
	var asked workflows.MissingRowsInput
	if err := startedWith(ctx, c, run, &asked); err != nil || !reflect.DeepEqual(asked, in) {
		return nil, fault.Newf(fault.Conflict, opMissing, "another comparison of group %s, or a merge, is under way", in.Group).
			WithHint("%s", fault.HintOf(otherwise))
	}
	return run, nil
}

// startedWith reads what a workflow was started with.
func startedWith(ctx context.Context, c client.Client, run client.WorkflowRun, in any) error {
	events := c.GetWorkflowHistory(ctx, run.GetID(), run.GetRunID(), false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	if !events.HasNext() {
		return errors.New("its history is empty")
	}
	first, err := events.Next()
	if err != nil {
		return err
	}
	return converter.GetDefaultDataConverter().FromPayloads(first.GetWorkflowExecutionStartedEventAttributes().GetInput(), in)
}
