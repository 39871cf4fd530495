package topology_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/smartdr/smartdr/internal/devenv"
	"github.com/smartdr/smartdr/internal/devenv/catalogs"
	"github.com/smartdr/smartdr/internal/devenv/ledger"
	"github.com/smartdr/smartdr/internal/topology"
)

// theme is one kind of what a failover has to bring back.
type theme struct {
	name   string
	create func(*world)                     // before replication begins: it comes with the snapshot
	change func(*world)                     // while replication runs: it comes with the WAL, or with what is captured by SQL
	check  func(*world, topology.Operation) // after the failover
}

var themes = []theme{
	{"users", (*world).createUsers, (*world).changeUsers, (*world).checkUsers},
	{"databases", (*world).createDatabases, (*world).changeDatabases, (*world).checkDatabases},
	{"access", (*world).createAccess, (*world).changeAccess, (*world).checkAccess},
	{"settings", (*world).createSettings, (*world).changeSettings, (*world).checkSettings},
	{"pipelines", (*world).createPipelines, (*world).changePipelines, (*world).checkPipelines}, // a slot would wait for prepared transactions
	{"physical", (*world).createPhysical, (*world).changePhysical, (*world).checkPhysical},
}

// TestTopologySurvives runs on the newest of the majors that are tested.
func TestTopologySurvives(t *testing.T) {
	t.Parallel()
	majors, err := devenv.Majors()
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, slices.Max(majors))
	w.fill(themes)
	w.waitCaptured()
	w.remember()
	w.lose()
	op := w.failOver()
	w.checkAll(themes, op)
}

// fill makes everything, and changes some of it while replication runs.
func (w *world) fill(themes []theme) {
	w.t.Helper()
	for _, th := range themes {
		th.create(w)
	}
	w.replicate()
	w.startLoads()
	for _, th := range themes {
		th.change(w)
	}
}

// remember reads what there is, once nobody but the tellers changes anything, and waits until it is in the secondary's bucket.
func (w *world) remember() {
	w.t.Helper()
	for _, s := range w.spaces {
		s.before = take(w.t, s.was, leftOut[s.name])
		s.settings = w.settings(s.was)
	}
	w.waitShipped()
}

func (w *world) checkAll(themes []theme, op topology.Operation) {
	w.t.Run("ledger", func(t *testing.T) { w.in(t).checkLedgers(op) })
	w.t.Run("catalogs", func(t *testing.T) { w.in(t).checkCatalogs(op) })
	for _, th := range themes {
		w.t.Run(th.name, func(t *testing.T) { th.check(w.in(t), op) })
	}
}

// in returns the world for a subtest.
func (w *world) in(t *testing.T) *world {
	c := *w
	c.t = t
	return &c
}

// checkLedgers looks for every acknowledged commit before the recovery point.
func (w *world) checkLedgers(op topology.Operation) {
	for _, s := range w.spaces {
		conn := open(w.t, s.is, bankDB)
		r, err := ledger.Verify(context.WithoutCancel(w.t.Context()), conn, s.load.Commits(), recovered(w.t, op, s.name).Point.RecordEnd, w.cut)
		if err != nil {
			w.t.Fatal(err)
		}
		for _, b := range r.Broken {
			w.t.Errorf("%s: %s", s.name, b)
		}
		if r.Due == 0 {
			w.t.Errorf("%s: no acknowledged commit was due: the test shows nothing", s.name)
		}
		w.t.Logf("%s: %d commits acknowledged, %d due, %d kept, %.2f s lost", s.name, r.Acknowledged, r.Due, r.Kept, r.Loss.Seconds())
	}
}

// checkCatalogs compares what the servers hold with what those of the lost region held, and with what the failover says of that.
func (w *world) checkCatalogs(op topology.Operation) {
	for _, s := range w.spaces {
		for _, n := range recovered(w.t, op, s.name).Notes {
			if strings.Contains(n, "last seen on the primary") || strings.Contains(n, "were not compared") || strings.Contains(n, "could not be") {
				w.t.Errorf("%s: the failover's own comparison says: %s", s.name, n)
			}
		}
		var absent []string
		for _, db := range leftOut[s.name] {
			absent = append(absent, "databases: - "+db+" of ")
		}
		expect(w.t, s.name, catalogs.Differences(s.before, take(w.t, s.is, nil)), absent...)
	}
}
