// Package branches_test brings back what a lost region still had, and plays with branches of a group in use, by the commands that a person
// gives.
package branches_test

import (
	"testing"

	"github.com/smartdr/smartdr/internal/api"
	"github.com/smartdr/smartdr/internal/devenv/estate"
	"github.com/smartdr/smartdr/internal/devenv/estate/estatetest"
	"github.com/smartdr/smartdr/internal/devenv/ledger"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/topology"
)

// world is a group of one workspace, whose primary region can be cut off.
type world struct {
	*estatetest.CutOff
	space string // the workspace

	old, new *postgres.Server // of the primary region, and of the other one
	started  string           // when the new one was
	stuck    *ledger.Load     // clients that are cut off together with the old one
	fresh    *ledger.Load     // clients of the new one
}

func newWorld(t *testing.T, workspace string) *world {
	t.Helper()
	w := &world{space: workspace, CutOff: estatetest.StartCutOff(t, estate.Options{Adopted: workspace == estate.Adopted, Managed: workspace == estate.Managed, Megabytes: 2})}
	w.old = w.Old[workspace]
	return w
}

// ingest begins to write to the primary, as clients do that are cut off together with it a moment later: what they write first arrives.
func (w *world) ingest() {
	w.Helper()
	w.WriteOn()
	w.stuck = w.Stuck[w.space]
	w.WaitArrived()
}

// takeOver fails the group over while the primary's clients go on writing, lets clients write there too, and returns the database that
// was left behind.
func (w *world) takeOver() api.Database {
	w.Helper()
	w.TakeOver()
	w.new = w.Server(w.space)
	w.started = w.startOf(w.new)
	w.fresh = w.WriteTo(w.space, w.new)
	behind, found := w.Behind()
	if !found || behind.State != topology.Receiving || behind.Detached.Of != estate.Database {
		w.Fatalf("left behind is %+v", behind)
	}
	return behind
}

func (w *world) startOf(s *postgres.Server) string {
	w.Helper()
	return w.Ask(s, estate.Database, "select pg_postmaster_start_time()::text")
}

// checkUndisturbed: the server that serves was never restarted, and none of its clients ever had to connect again.
func (w *world) checkUndisturbed() {
	w.Helper()
	if now := w.startOf(w.new); now != w.started {
		w.Errorf("the server that serves was started at %s, and again at %s", w.started, now)
	}
	for _, err := range w.fresh.Errors() {
		w.Errorf("a client of the database that serves: %v", err)
	}
}
