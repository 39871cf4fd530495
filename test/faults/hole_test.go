package faults_test

import (
	"testing"
	"time"

	"github.com/smartdr/smartdr/internal/devenv"
	"github.com/smartdr/smartdr/internal/devenv/devtest"
)

// TestAHoleIsHealedWithoutAnybodyAsking takes the slot away while nobody ships, and lets the server remove the WAL that
// comes next. Replication must say so, begin a new lineage with a new snapshot, and be fit for a failover again.
func TestAHoleIsHealedWithoutAnybodyAsking(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 0, 20)
	w.startLoad(5 * time.Millisecond)
	w.replicate()
	w.waitSynced()
	before := w.lineage()
	if err := w.env.Regions[devenv.Primary].Worker.Kill(); err != nil {
		t.Fatal(err)
	}
	w.removeWAL()
	if err := w.env.Regions[devenv.Primary].Worker.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	devtest.Until(t, "a new lineage", func() bool {
		now := w.lineage()
		return now != "" && now != before
	})
	w.waitSynced()
	w.waitShipped(devenv.Secondary)
	announced := w.announced()
	w.lose()
	w.failOver()
	w.checkPromises(announced)
}

// lineage returns the workspace's current lineage.
func (w *world) lineage() string {
	s, err := w.status()
	if err != nil || len(s.Group.Workspaces) != 1 {
		return ""
	}
	return s.Group.Workspaces[0].Lineage
}

// removeWAL drops every slot and makes the server remove all WAL that it does not need itself.
func (w *world) removeWAL() {
	w.t.Helper()
	run := func(statements ...string) {
		if err := w.env.Server.Exec(w.t.Context(), appDB, statements...); err != nil {
			w.t.Fatal(err)
		}
	}
	devtest.Until(w.t, "the slot to be free", func() bool {
		return w.env.Server.Exec(w.t.Context(), appDB, `select pg_drop_replication_slot(slot_name) from pg_replication_slots`) == nil
	})
	run(`alter system set max_wal_size = '32MB'`, `alter system set min_wal_size = '32MB'`, `select pg_reload_conf()`)
	for range 6 {
		run(`insert into ballast select 0, 'x'`, `select pg_switch_wal()`, `checkpoint`)
	}
}
