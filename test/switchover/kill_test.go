package switchover_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/smartdr/smartdr/internal/devenv"
	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/internal/devenv/estate"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/workflows"
)

// thirds is how many runs it takes to kill something in every step.
const thirds = 3

// TestAMoveWithSomethingKilledInEachPhase kills a worker, or Temporal, whenever a kind of activity of a switchover or of the failback
// that follows begins for the first time: in a third of the steps, which depends on the PostgreSQL major; SMARTDR_TEST_FULL=1 runs
// it on all majors, and kills in all steps.
func TestAMoveWithSomethingKilledInEachPhase(t *testing.T) {
	t.Parallel()
	majors, err := devenv.Majors()
	check(t, err)
	if !full() {
		majors = majors[:1]
	}
	for _, major := range majors {
		t.Run(fmt.Sprintf("PostgreSQL %d", major), func(t *testing.T) {
			w := newWorld(t, major, 5)
			w.moveUnderFire(estate.Switchover, workflows.SwitchoverID(estate.Group), major)
			check(t, w.WaitMovable(t.Context()))
			w.moveUnderFire(estate.Failback, workflows.FailbackID(estate.Group), major+1)
			check(t, w.WaitProtected(t.Context()))
		})
	}
}

// moveUnderFire strikes at those steps of a move whose turn it is.
func (w *world) moveUnderFire(kind, workflowID string, turn int) topology.Operation {
	w.t.Helper()
	var seen, struck []string
	var op topology.Operation
	var err error
	check(w.t, w.Written(w.t.Context(), 20))
	devtest.During(w.t, w.env.Temporal, workflowID, func(ctx context.Context, activity string, k int) {
		if k > 1 {
			return
		}
		seen = append(seen, activity)
		if !full() && len(seen)%thirds != turn%thirds {
			return
		}
		struck = append(struck, activity)
		if err := w.kill(ctx, len(struck)); err != nil {
			w.t.Errorf("while %s: %v", activity, err)
		}
	}, func() { op, err = w.Operate(w.t.Context(), kind, "--max-gap", gapCap.String()) })
	w.t.Logf("%s: killed while %v, of %v", kind, struck, seen)
	check(w.t, err)
	check(w.t, w.Written(w.t.Context(), 20))
	_, err = w.Verify(w.t.Context())
	check(w.t, err)
	if len(seen) < 8 || len(struck) < len(seen)/thirds {
		w.t.Errorf("of %v only %v were struck: the test shows little", seen, struck)
	}
	return op
}

// kill takes turns: the worker of the one region, Temporal, the worker of the other.
func (w *world) kill(ctx context.Context, n int) error {
	switch n % thirds {
	case 0:
		return w.env.Regions[devenv.Primary].RestartWorkers(ctx, w.env.Temporal)
	case 1:
		return w.env.Temporal.Restart(ctx)
	}
	return w.env.Regions[devenv.Secondary].RestartWorkers(ctx, w.env.Temporal)
}
