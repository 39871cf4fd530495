package api

import (
	"context"
	"errors"
	"reflect"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"

	"github.com/smartdr/smartdr/activities"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/workflows"
)

// MissingProgress is what a comparison is doing.
type MissingProgress struct {
	Doing string `json:"doing"` // in a sentence
	activities.MissingProgress
}

// missingEvery is how often a comparison is asked what it does.
const missingEvery = 500 * time.Millisecond

// compare starts the workflow, or joins the one that does the same already, and waits for its result.
func (s *Service) compare(ctx context.Context, in workflows.MissingRowsInput, say func(MissingProgress), out *workflows.MissingRowsResult) error {
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
	done := make(chan error, 1)
	go func() { done <- run.Get(ctx, out) }()
	tick := time.NewTicker(missingEvery)
	defer tick.Stop()
	for last := (MissingProgress{}); ; {
		select {
		case err := <-done:
			return failure(ctx, err)
		case <-tick.C:
			if now := s.missingNow(ctx, run); now != last && now.Doing != "" {
				last = now
				say(now)
			}
		}
	}
}

// missingNow is what a comparison does now; nothing while that is not known.
func (s *Service) missingNow(ctx context.Context, run client.WorkflowRun) (p MissingProgress) {
	c, err := s.dial(ctx)
	if err != nil {
		return p
	}
	ctx, cancel := context.WithTimeout(ctx, liveTimeout)
	defer cancel()
	v, err := c.QueryWorkflow(ctx, run.GetID(), run.GetRunID(), workflows.ProgressQuery)
	var all workflows.MissingRowsProgress
	if err != nil || v.Get(&all) != nil || len(all.Steps) == 0 {
		return p
	}
	p.Doing = all.Steps[len(all.Steps)-1].What
	d, err := c.DescribeWorkflowExecution(ctx, run.GetID(), run.GetRunID())
	if err != nil {
		return p
	}
	for _, a := range d.GetPendingActivities() {
		p.MissingProgress = detail[activities.MissingProgress](a.GetHeartbeatDetails())
	}
	return p
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
