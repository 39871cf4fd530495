package topology_test

import (
	"context"
	"os"
	"sync"
	"testing"

	"github.com/smartdr/smartdr/internal/devenv"
	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/workflows"
)

// TestTopologySurvivesWithTheWorkerKilledInEachStep kills the worker that brings everything up whenever a kind of activity of the
// failover begins for the first time. It runs on the oldest major; SMARTDR_TEST_FULL=1 lets it run on all.
func TestTopologySurvivesWithTheWorkerKilledInEachStep(t *testing.T) {
	t.Parallel()
	majors, err := devenv.Majors()
	if err != nil {
		t.Fatal(err)
	}
	if os.Getenv("SMARTDR_TEST_FULL") != "1" {
		majors = majors[:1]
	}
	for _, major := range majors {
		w := newWorld(t, major)
		w.fill(themes)
		w.waitCaptured()
		w.remember()
		w.lose()
		w.checkAll(themes, w.failOverUnderFire())
	}
}

// failOverUnderFire kills the worker in each step until the failover has ended.
func (w *world) failOverUnderFire() topology.Operation {
	w.t.Helper()
	ctx, cancel := context.WithCancel(w.t.Context())
	var fire sync.WaitGroup
	var struck []string
	fire.Go(func() {
		devtest.EachActivity(ctx, w.env.Temporal, workflows.FailoverID(group), func(activity string) {
			struck = append(struck, activity)
			if err := w.env.Regions[devenv.Secondary].Worker.Restart(ctx); err != nil && ctx.Err() == nil {
				w.t.Errorf("while %s: %v", activity, err)
			}
		})
	})
	op := w.failOver()
	cancel()
	fire.Wait()
	w.t.Logf("killed while %v", struck)
	if len(struck) < 8 {
		w.t.Errorf("only %v were struck: the test shows little", struck)
	}
	return op
}
