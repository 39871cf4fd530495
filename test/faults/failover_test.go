package faults_test

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/smartdr/smartdr/internal/devenv"
	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/workflows"
)

// TestFailoverWithSomethingKilledInEachPhase kills one kind of process whenever an activity of the failover begins. Each kind
// meets one of the PostgreSQL majors, in turn, and what takes long to come back is killed at every third activity, another third
// for each kind; SMARTDR_TEST_FULL=1 lets each kind meet all of both.
func TestFailoverWithSomethingKilledInEachPhase(t *testing.T) {
	for i, c := range []struct {
		name   string
		strike func(*world) error // kills, and starts again what nobody else starts
		nth    int                // of the activities
	}{
		{"the worker", (*world).killWorker, 3},
		{"Temporal", func(w *world) error { return w.env.Temporal.Restart(w.t.Context()) }, 3},
		{"the object store", func(w *world) error { return w.env.Regions[devenv.Secondary].Gateway.Restart(w.t.Context()) }, 3},
		{"PostgreSQL", (*world).killServers, 1},
	} {
		if full() {
			c.nth = 1
		}
		for _, major := range majorsInTurn(t, i) {
			t.Run(fmt.Sprintf("%s, PostgreSQL %d", c.name, major), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t, major, 40)
				w.startLoad(5 * time.Millisecond)
				w.replicate()
				w.waitSynced()
				w.waitShipped(devenv.Secondary)
				announced := w.announced()
				w.lose()
				w.failOverUnderFire(c.strike, i, c.nth)
				w.checkPromises(announced)
			})
		}
	}
}

// majorsInTurn returns the i-th of the majors that tests run on, round and round; or all.
func majorsInTurn(t *testing.T, i int) []int {
	t.Helper()
	majors, err := devenv.Majors()
	if err != nil {
		t.Fatal(err)
	}
	if full() {
		return majors
	}
	return majors[i%len(majors):][:1]
}

// full says whether everything is tried with everything.
func full() bool { return os.Getenv("SMARTDR_TEST_FULL") == "1" }

// failOverUnderFire strikes at each nth phase, counted from the first-th, until the failover has ended.
func (w *world) failOverUnderFire(strike func(*world) error, first, nth int) {
	w.t.Helper()
	var struck []string
	phase := -1
	devtest.During(w.t, w.env.Temporal, workflows.FailoverID(group), func(_ context.Context, activity string, k int) {
		if k > 1 {
			return
		}
		if phase++; phase%nth != first%nth {
			return
		}
		struck = append(struck, activity)
		if err := strike(w); err != nil {
			w.t.Errorf("while %s: %v", activity, err)
		}
	}, w.failOver)
	w.t.Logf("struck at %v", struck)
	if len(struck) < 8/nth {
		w.t.Errorf("only %v were struck: the test shows little", struck)
	}
}

// failOver asks for a failover until it is done: the command is cut off with Temporal, as a person's would be, and given again.
func (w *world) failOver() {
	w.t.Helper()
	var last error
	defer func() {
		if last != nil {
			w.t.Logf("the last command said: %v", last)
		}
	}()
	devtest.UntilOver(w.t, "the failover to complete", func() bool {
		if last = w.failOverOnce(); last == nil {
			return true
		}
		s, err := w.status()
		return err == nil && s.Group.Active == devenv.Secondary && s.Group.Operation == nil
	})
}

// failOverOnce gives the command, to somebody whose patience ends.
func (w *world) failOverOnce() error {
	ctx, cancel := context.WithTimeout(w.t.Context(), 2*time.Minute)
	defer cancel()
	began := time.Now()
	if _, err := w.env.SmartDR(ctx, "failover", "--group", group, "--yes"); err != nil {
		return fmt.Errorf("after %s: %w", time.Since(began).Round(time.Second), err)
	}
	return nil
}

func (w *world) killWorker() error {
	return w.env.Regions[devenv.Secondary].Worker.Restart(w.t.Context())
}

// killServers kills the servers that the worker has made and started; starting them again is the worker's.
func (w *world) killServers() error {
	servers, err := w.env.Regions[devenv.Secondary].Servers()
	for _, s := range servers {
		if err := s.Kill(w.t.Context()); err != nil {
			return err
		}
	}
	return err
}
