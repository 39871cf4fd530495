package restore_test

import (
	"context"
	"os"
	"testing"

	"github.com/smartdr/smartdr/internal/devenv"
	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/internal/devenv/estate"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/workflows"
)

// TestInPlaceWithSomethingKilled kills the worker or Temporal when steps of a restore in place begin: in every third one, and with
// SMARTDR_TEST_FULL=1 in all. It ends like one that nobody disturbed.
func TestInPlaceWithSomethingKilled(t *testing.T) {
	w := newWorld(t, false)
	load := w.write()
	w.record(9)
	w.shipped()
	wanted := w.marks[4]
	op := w.restoreUnderFire(wanted)
	if op.State != topology.OperationCompleted {
		t.Fatalf("the restore is %s: %s (%s)", op.State, op.Error, op.Hint)
	}
	w.checkServes(wanted)
	w.checkBefore(load, op)
	w.more(load, 40)
	w.marks = w.marks[:wanted.n]
	w.record(2)
	w.failOver(load, op)
}

// restoreUnderFire orders the restore once, and strikes while it runs.
func (w *world) restoreUnderFire(m mark) topology.Operation {
	w.Helper()
	var seen, struck []string
	var op topology.Operation
	devtest.During(w, w.env.Temporal, workflows.RestoreID(estate.Group), func(ctx context.Context, activity string, k int) {
		if k > 1 || activity == "RecordOperation" {
			return
		}
		seen = append(seen, activity)
		if os.Getenv("SMARTDR_TEST_FULL") != "1" && len(seen)%3 != 0 {
			return
		}
		struck = append(struck, activity)
		if err := w.kill(ctx, len(struck)); err != nil {
			w.Errorf("while %s: %v", activity, err)
		}
	}, func() {
		w.ok("restore", "--group", estate.Group, "--to-lsn", m.end.String(), "--in-place", "--yes", "--wait=false", "--max-gap", "4m")
		op = w.awaitRestore(w.Context())
	})
	w.Logf("killed while %v, of %v", struck, seen)
	if len(seen) < 8 || len(struck) < len(seen)/3 {
		w.Errorf("of %v only %v were struck: the test shows little", seen, struck)
	}
	return op
}

// awaitRestore returns the account of the group's restore once it has ended, whatever does not answer meanwhile.
func (w *world) awaitRestore(ctx context.Context) (op topology.Operation) {
	w.Helper()
	devtest.UntilOver(w, "the restore to end", func() bool {
		var all []topology.Operation
		if err := w.env.SmartDRJSON(ctx, &all, "operations", "--group", estate.Group); err != nil || len(all) == 0 {
			return false
		}
		op = all[0]
		return op.Kind == workflows.RestoreType && op.State != topology.OperationActive
	})
	return op
}

func (w *world) kill(ctx context.Context, n int) error {
	if n%2 == 1 {
		return w.env.Regions[devenv.Primary].RestartWorkers(ctx, w.env.Temporal)
	}
	return w.env.Temporal.Restart(ctx)
}
