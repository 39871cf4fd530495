package topology_test

import (
	"context"
	"os"
	"testing"

	"github.com/smartdr/smartdr/internal/devenv"
	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/workflows"
)

// TestTopologySurvivesWithTheWorkerKilledInEachStep kills the worker that brings everything up whenever a kind of activity of the
// failover begins for the first time. It runs on the oldest major, and kills in a third of the steps, which depends on the major;
// SMARTDR_TEST_FULL=1 lets it run on all, and kill in all steps.
func TestTopologySurvivesWithTheWorkerKilledInEachStep(t *testing.T) {
	t.Parallel()
	majors, err := devenv.Majors()
	if err != nil {
		t.Fatal(err)
	}
	if !full() {
		majors = majors[:1]
	}
	for _, major := range majors {
		w := newWorld(t, major)
		w.fill(themes)
		w.waitCaptured()
		w.remember()
		w.lose()
		w.checkAll(themes, w.failOverUnderFire(major))
	}
}

func full() bool { return os.Getenv("SMARTDR_TEST_FULL") == "1" }

// failOverUnderFire kills the worker in each step, or in each third one, until the failover has ended.
func (w *world) failOverUnderFire(major int) topology.Operation {
	w.t.Helper()
	var seen, struck []string
	var op topology.Operation
	devtest.During(w.t, w.env.Temporal, workflows.FailoverID(group), func(ctx context.Context, activity string, k int) {
		if k > 1 {
			return
		}
		seen = append(seen, activity)
		if !full() && len(seen)%3 != major%3 {
			return
		}
		struck = append(struck, activity)
		if err := w.env.Regions[devenv.Secondary].Worker.Restart(ctx); err != nil {
			w.t.Errorf("while %s: %v", activity, err)
		}
	}, func() { op = w.failOver() })
	w.t.Logf("killed while %v", struck)
	if len(seen) < 8 || len(struck) < len(seen)/3 {
		w.t.Errorf("of %v only %v were struck: the test shows little", seen, struck)
	}
	return op
}
