package faults_test

import (
	"context"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/smartdr/smartdr/internal/devenv"
	"github.com/smartdr/smartdr/internal/devenv/devtest"
)

// TestFailoverWithSomethingKilledInEachPhase kills one kind of process whenever an activity of the failover begins. Each kind
// meets one of the PostgreSQL majors, in turn; SMARTDR_TEST_FULL=1 lets each meet all.
func TestFailoverWithSomethingKilledInEachPhase(t *testing.T) {
	for i, c := range []struct {
		name   string
		strike func(*world) error // kills, and starts again what nobody else starts
	}{
		{"the worker", (*world).killWorker},
		{"Temporal", func(w *world) error { return w.env.Temporal.Restart(w.t.Context()) }},
		{"the object store", func(w *world) error { return w.env.Regions[devenv.Secondary].Gateway.Restart(w.t.Context()) }},
		{"PostgreSQL", (*world).killServers},
	} {
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
				w.failOverUnderFire(c.strike)
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
	if os.Getenv("SMARTDR_TEST_FULL") == "1" {
		return majors
	}
	return majors[i%len(majors):][:1]
}

// failOverUnderFire strikes at each phase until the failover has ended.
func (w *world) failOverUnderFire(strike func(*world) error) {
	w.t.Helper()
	ctx, cancel := context.WithCancel(w.t.Context())
	var fire sync.WaitGroup
	var struck []string
	fire.Go(func() {
		w.atEachPhase(ctx, func(activity string) {
			struck = append(struck, activity)
			if err := strike(w); err != nil && ctx.Err() == nil {
				w.t.Errorf("while %s: %v", activity, err)
			}
		})
	})
	w.failOver()
	cancel()
	fire.Wait()
	if len(struck) < 8 {
		w.t.Errorf("only %v were struck: the test shows little", struck)
	}
}

// failOver asks for a failover until it is done: the command is cut off with Temporal, as a person's would be, and given again.
func (w *world) failOver() {
	w.t.Helper()
	var last error
	devtest.Within(w.t, 4*time.Minute, "the failover to complete", func() bool {
		_, last = w.try("failover", "--group", group, "--yes")
		if last == nil {
			return true
		}
		s, err := w.status()
		return err == nil && s.Group.Active == devenv.Secondary && s.Group.Operation == nil
	})
	if last != nil {
		w.t.Logf("the last command said: %v", last)
	}
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
