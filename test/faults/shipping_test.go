package faults_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/smartdr/smartdr/internal/devenv"
	"github.com/smartdr/smartdr/internal/devenv/devtest"
)

// TestReplicationWithEverythingKilledOnce kills each part of the primary region and both buckets, while the first snapshot is
// taken and while WAL is shipped, and then loses the region for good.
func TestReplicationWithEverythingKilledOnce(t *testing.T) {
	t.Parallel()
	for _, major := range majorsInTurn(t, 0) {
		t.Run(fmt.Sprintf("PostgreSQL %d", major), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, major, 150)
			w.startLoad(5 * time.Millisecond)
			w.replicate()
			for _, s := range w.strikes() {
				w.duringSnapshot(s)
			}
			w.waitSynced()
			for _, s := range w.strikes() {
				w.whileShipping(s)
			}
			announced := w.announced()
			w.lose()
			w.failOver()
			w.checkPromises(announced)
		})
	}
}

// whileShipping strikes and waits until both buckets have everything again.
func (w *world) whileShipping(s strike) {
	w.t.Helper()
	w.t.Logf("while shipping: %s is killed", s.name)
	if err := s.kill(); err != nil {
		w.t.Fatal(err)
	}
	w.waitShipped(devenv.Secondary)
	w.waitShipped(devenv.Primary)
}

// strike kills something and starts it again.
type strike struct {
	name string
	kill func() error
}

func (w *world) strikes() []strike {
	ctx, west, east := w.t.Context(), w.env.Regions[devenv.Primary], w.env.Regions[devenv.Secondary]
	return []strike{
		{"the primary's worker", func() error { return west.Worker.Restart(ctx) }},
		{"the secondary's object store", func() error { return east.Gateway.Restart(ctx) }},
		{"the primary's object store", func() error { return west.Gateway.Restart(ctx) }},
		{"Temporal", func() error { return w.env.Temporal.Restart(ctx) }},
		{"PostgreSQL", func() error {
			if err := w.env.Server.Restart(ctx); err != nil {
				return err
			}
			w.load.Wait() // its connections are gone, and what it was promised stands
			w.moreLoad()
			return nil
		}},
	}
}

// duringSnapshot strikes when the first snapshot is under way, or has been taken already: then the next one goes on.
func (w *world) duringSnapshot(s strike) {
	w.t.Helper()
	underWay := false
	devtest.Until(w.t, "a snapshot to begin", func() bool {
		st, err := w.status()
		if err != nil || len(st.Workspaces) != 1 || st.Workspaces[0].Snapshot == nil {
			return false
		}
		p := st.Workspaces[0].Snapshot
		underWay = len(p.Complete) == 0
		return len(p.Complete) > 0 || p.DoneBytes > 0
	})
	w.t.Logf("%s is killed; snapshot under way: %v", s.name, underWay)
	if err := s.kill(); err != nil {
		w.t.Fatal(err)
	}
}

// TestTemporalAwayForAWhileDoesNotStopShipping takes Temporal away and watches the buckets alone; after the failover it does so again,
// and the host that serves comes up without it.
func TestTemporalAwayForAWhileDoesNotStopShipping(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 0, 20)
	w.startLoad(5 * time.Millisecond)
	w.replicate()
	w.waitSynced()
	if err := w.env.Temporal.Kill(); err != nil {
		t.Fatal(err)
	}
	away := time.Now()
	// Longer than the heartbeat timeout, after which Temporal would give the work to somebody else.
	for time.Since(away) < 25*time.Second {
		w.waitShipped(devenv.Secondary)
	}
	if err := w.env.Temporal.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.waitShipped(devenv.Secondary)
	announced := w.announced()
	w.lose()
	w.failOver()
	w.checkPromises(announced)
	w.checkServesAlone()
}

// checkServesAlone kills the host that serves, with Temporal: its worker must start its server by the catalog alone, and work for
// Temporal again once that is back.
func (w *world) checkServesAlone() {
	w.t.Helper()
	ctx, host := w.t.Context(), w.env.Regions[devenv.Secondary].Hosts[0]
	if err := errors.Join(w.env.Temporal.Kill(), host.Kill(ctx)); err != nil {
		w.t.Fatal(err)
	}
	started := make(chan error, 1)
	go func() { started <- host.Worker.Restart(ctx) }() // which waits until Temporal has heard of it

	// It answers, which is all that is asked here.
	_ = w.connectAfter().Close(ctx)
	if err := w.env.Temporal.Restart(ctx); err != nil {
		w.t.Fatal(err)
	}
	if err := <-started; err != nil {
		w.t.Error(err)
	}
}

// TestOneDeadBucketNeverStallsTheOther takes each bucket away for longer than a shipper's patience with it.
func TestOneDeadBucketNeverStallsTheOther(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 0, 20)
	w.startLoad(5 * time.Millisecond)
	w.replicate()
	w.waitSynced()
	for _, c := range []struct{ dead, alive string }{{devenv.Secondary, devenv.Primary}, {devenv.Primary, devenv.Secondary}} {
		g := w.env.Regions[c.dead].Gateway
		if err := g.Kill(); err != nil {
			t.Fatal(err)
		}
		away := time.Now()
		for time.Since(away) < 20*time.Second {
			w.waitShipped(c.alive)
		}
		if err := g.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
		w.waitShipped(c.dead)
	}
	announced := w.announced()
	w.lose()
	w.failOver()
	w.checkPromises(announced)
	w.checkComesHome()
}
