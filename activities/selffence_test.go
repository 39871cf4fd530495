package activities

import (
	"context"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/internal/fence"
	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/internal/postgres/postgrestest"
	"github.com/smartdr/smartdr/internal/topology"
)

// isolate lets the region reach nobody, and says for how many seconds that may go on.
func (f *fenced) isolate(seconds int) (revive func()) {
	f.Helper()
	_, err := f.process().Update(context.Background(), "prod", func(g *topology.Group) error { g.SelfFenceAfter = seconds; return nil })
	postgrestest.Check(f, err)
	return f.faults["west"].Add(objectstore.Rule{Dead: true})
}

// A region that reaches nobody fences itself, and lets go when the other bucket answers and the epoch is still its own.
func TestSelfFence(t *testing.T) {
	f := newFenced(t)
	revive := f.isolate(3600)
	s, target := f.worker(false)
	stop := f.keep(s, target)
	devtest.Until(t, "it to count that it reaches nobody", func() bool { return f.silent(target) >= 2 })
	f.checkClient(true) // it is not time yet
	stop()
	revive()
	revive = f.isolate(1)
	// The worker is started again, and looks once, which adds nothing: what was counted stays counted.
	stop = f.keepEvery(f.again(s), target, time.Hour)
	f.awaitClient(false)
	if got := f.awaitState(topology.FenceHolding); !got.Self {
		t.Errorf("%+v", got)
	}
	stop()
	revive()
	f.keep(f.again(s), target)
	f.awaitClient(true)
	f.awaitState(topology.FenceLifted)
}

// silent is for how many seconds a worker has counted that it reached nobody.
func (f *fenced) silent(t *Target) float64 {
	f.Helper()
	var state isolationState
	_, err := readState(filepath.Join(t.DataDir, ".fences"), "prod.json", &state)
	postgrestest.Check(f, err)
	return state.SilentSeconds
}

// A worker may be killed between fencing its region and recording that.
func TestASelfFenceThatWasNotRecordedIs(t *testing.T) {
	f := newFenced(t)
	f.isolate(1)
	s, target := f.worker(false)
	result, err := fence.Apply(t.Context(), postgrestest.Source(f.server, "postgres", "postgres"), fence.Options{Lineage: f.l1, By: "self"})
	check(t, err)
	result.Close(t.Context())
	f.keep(s, target)
	if got := f.awaitState(topology.FenceHolding); !got.Self || got.Worth != topology.FenceProven {
		t.Errorf("%+v", got)
	}
	f.checkClient(false)
}

// again is the worker's next process.
func (f *fenced) again(s *Source) *Source {
	site := s.Site
	site.Catalog = f.process()
	return &Source{Site: site, Answers: s.Answers}
}

// While Temporal answers, or another worker of the region ships to the other bucket, nothing is cut off.
func TestNoSelfFenceWhileSomebodyIsReached(t *testing.T) {
	f := newFenced(t)
	f.isolate(2)
	s, target := f.worker(true)
	var looks atomic.Int32
	s.Answers = func(context.Context) error { looks.Add(1); return nil }
	begun := time.Now()
	f.keep(s, target)
	devtest.Until(t, "it to look for longer than it may be alone", func() bool { return looks.Load() >= 10 && time.Since(begun) > 4*time.Second })
	f.checkClient(true)
}

// A self-fenced server stays fenced when the other side has claimed meanwhile.
func TestASelfFenceBecomesOneForGood(t *testing.T) {
	f := newFenced(t)
	s, target := f.worker(false)
	revive := f.isolate(2)
	f.keep(s, target)
	f.awaitClient(false)
	revive()
	f.claim(t, 2, "op-2")
	f.awaitState(topology.FenceCommitted)
	time.Sleep(4 * checkOften)
	f.checkClient(false)
}

func TestIsolationCounts(t *testing.T) {
	begin := time.Now()
	at := func(seconds int) time.Time { return begin.Add(time.Duration(seconds) * time.Second) }
	file := filepath.Join(t.TempDir(), ".fences", "prod.json")
	i := isolation{file: file, most: 15 * time.Second}
	check(t, i.load())
	i.count(false, at(0)) // the first look says nothing about the time before
	i.count(false, at(5))
	i.count(false, at(1000)) // the worker slept: it looked once
	if want := 20 * time.Second; i.silent != want {
		t.Errorf("%s, want %s", i.silent, want)
	}
	check(t, i.save())
	again := isolation{file: file, most: 15 * time.Second}
	check(t, again.load())
	if again.count(false, at(5000)); again.silent != i.silent {
		t.Errorf("a worker that was down counts %s", again.silent)
	}
	if again.count(true, at(5005)); again.silent != 0 {
		t.Errorf("%s after it was heard", again.silent)
	}
	check(t, os.WriteFile(file, []byte("{"), 0o600))
	broken := isolation{file: file}
	if check(t, broken.load()); broken.silent != 0 {
		t.Error(broken.silent)
	}
}
