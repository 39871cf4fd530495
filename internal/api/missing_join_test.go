package api

import (
	"context"
	"sync"
	"testing"

	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/workflows"
)

// held is a comparison that ends when it is told to.
func held(ctx workflow.Context, in workflows.MissingRowsInput) (workflows.MissingRowsResult, error) {
	steps := []workflows.MissingRowsStep{{What: "Waiting"}}
	err := workflow.SetQueryHandler(ctx, workflows.ProgressQuery, func() (workflows.MissingRowsProgress, error) {
		return workflows.MissingRowsProgress{Steps: steps}, nil
	})
	if err != nil {
		return workflows.MissingRowsResult{}, err
	}
	workflow.GetSignalChannel(ctx, "go").Receive(ctx, nil)
	return workflows.MissingRowsResult{Notes: []string{workflow.GetInfo(ctx).WorkflowExecution.RunID}}, nil
}

// TestASecondComparisonOfTheSameJoinsTheFirst: the same command again waits for what is under way, and another one is refused.
func TestASecondComparisonOfTheSameJoinsTheFirst(t *testing.T) {
	p := newPlace(t)
	p.work(t, func(w worker.Worker) { w.RegisterWorkflowWithOptions(held, named(workflows.MissingRowsType)) })
	in := workflows.MissingRowsInput{Group: "prod", Of: "app"}
	var asked sync.WaitGroup
	asked.Add(2)
	results := make(chan workflows.MissingRowsResult, 2)
	compare := func() {
		var once sync.Once
		var out workflows.MissingRowsResult
		if err := p.compare(t.Context(), in, func(MissingProgress) { once.Do(asked.Done) }, &out); err != nil {
			t.Error(err)
			once.Do(asked.Done)
		}
		results <- out
	}
	go compare()
	go compare()
	asked.Wait() // both say what is being done: both wait for it
	other := in
	other.Apply = true
	err := p.compare(t.Context(), other, func(MissingProgress) {}, new(workflows.MissingRowsResult))
	if !fault.Is(err, fault.Conflict) || ClassOf(err) != Conflict || fault.HintOf(err) == "" {
		t.Errorf("a merge while a comparison runs: %v", err)
	}
	c, err := p.dial(t.Context())
	if err == nil {
		err = c.SignalWorkflow(context.WithoutCancel(t.Context()), workflows.MissingRowsID("prod"), "", "go", nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	if a, b := <-results, <-results; len(a.Notes) != 1 || len(b.Notes) != 1 || a.Notes[0] != b.Notes[0] {
		t.Errorf("two runs were made: %v and %v", a.Notes, b.Notes)
	}
}
