package topology_test

import (
	"context"
	"testing"

	"github.com/smartdr/smartdr/internal/devenv/ledger"
	"github.com/smartdr/smartdr/internal/topology"
)

var mainSettings = map[string]string{"wal_level": "logical", "max_prepared_transactions": "10"}

func TestTopologySurvives(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 0)
	w.createUsers()
	w.replicate()
	w.startLoads()
	for _, s := range w.spaces {
		s.before = take(t, s.was.Server)
	}
	w.waitShipped()
	w.lose()
	op := w.failOver()
	w.checkLedgers(op)
	for _, s := range w.spaces {
		expect(t, s.name, differences(s.before, take(t, s.is)))
	}
}

// checkLedgers looks for every acknowledged commit before the recovery point, as the role that made it.
func (w *world) checkLedgers(op topology.Operation) {
	w.t.Helper()
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
