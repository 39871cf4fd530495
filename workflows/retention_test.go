package workflows

import (
	"testing"
	"time"

	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/workflow"

	"github.com/smartdr/smartdr/internal/topology"
)

// noRetention lets Replication start Retention, which does nothing.
func noRetention(env *testsuite.TestWorkflowEnvironment) {
	env.RegisterWorkflowWithOptions(func(workflow.Context, RetentionInput) (topology.Swept, error) { return topology.Swept{}, nil },
		workflow.RegisterOptions{Name: RetentionType})
	env.RegisterWorkflow(Expire)
}

func TestEachRegionHasAMinuteOfItsOwn(t *testing.T) {
	start := time.Date(2026, 11, 23, 10, 17, 0, 0, time.UTC)
	first := nextSweep(start, "prod", "west")
	if wait := first.Sub(start); wait < 0 || wait >= sweepEvery {
		t.Fatalf("after %s comes %s", start, first)
	}
	// A run that begins anew at any moment before comes to the same one: none is passed over.
	for at := start; !at.After(first); at = at.Add(time.Minute) {
		if again := nextSweep(at, "prod", "west"); !again.Equal(first) {
			t.Fatalf("from %s on it is %s, not %s", at, again, first)
		}
	}
	if next := nextSweep(first.Add(time.Minute), "prod", "west"); next.Sub(first) != sweepEvery {
		t.Errorf("after %s comes %s", first, next)
	}
}
