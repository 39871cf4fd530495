package missing_test

import (
	"testing"

	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/postgres/postgrestest"
)

// TestAMergeAndTheNextFailover has the server that was merged into fail as well. What goes on from it knows a merge that it has replayed, and does
// not take another transaction of the same number for one that it has not.
func TestAMergeAndTheNextFailover(t *testing.T) {
	postgrestest.InTurn(t, func(t *testing.T, bin postgres.Binaries) {
		s := postgrestest.Start(t, bin, map[string]string{"wal_level": "replica"})
		h := partHistory(t, s, `create table log (v text)`, `insert into log values ('a'), ('b')`, "")
		standby := postgrestest.StartStandby(t, s)
		h.merge(withApply)
		postgrestest.WaitReplayed(t, s, standby)
		postgrestest.Check(t, s.Stop(t.Context(), postgres.Immediate))
		postgrestest.Check(t, standby.Promote(t.Context()))
		devtest.Until(t, "the standby serves", func() bool {
			return postgrestest.Query(t, standby, "postgres", "select pg_is_in_recovery()") == "false"
		})
		h.server = standby
		if sum := h.merge(withApply); sum.Applied != 0 || h.rows("log") != "(a) (b)" {
			t.Errorf("a merge that was replayed: %d applied, %s", sum.Applied, h.said())
		}
		h.undone = h.undone[:1] // the second run changed nothing, and has a record of its own
		h.undone[0].undo.LSN += 1 << 40
		h.on(`delete from log`)
		if sum := h.merge(withApply); sum.Applied != 2 || h.rows("log") != "(a) (b)" {
			t.Errorf("a merge behind the point from which the next line goes on: %d applied, %s", sum.Applied, h.said())
		}
	})
}
