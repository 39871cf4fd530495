package restore_test

import (
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/postgres/postgrestest"
	"github.com/smartdr/smartdr/internal/wal"
)

// TestAttachReadOnly leaves a server a standby, whoever starts it and however it ended, beside a database that was restored as zeros.
func TestAttachReadOnly(t *testing.T) {
	postgrestest.InTurn(t, func(t *testing.T, bin postgres.Binaries) {
		src := startSource(t, bin, nil, func(s *postgres.Server) {
			postgrestest.Exec(t, s, "postgres", "CREATE DATABASE left_out")
			postgrestest.Exec(t, s, "left_out", "CREATE TABLE t AS SELECT n FROM generate_series(1, 10000) n")
			postgrestest.Exec(t, s, "postgres", "CHECKPOINT")
		})
		out := postgrestest.Query(t, src.server, "postgres", "SELECT oid FROM pg_database WHERE datname = 'left_out'")
		postgrestest.Exec(t, src.server, "left_out", "VACUUM t")
		postgrestest.Exec(t, src.server, "postgres", "CREATE TABLE t AS SELECT n FROM generate_series(1, 50000) n")
		end := src.end(t)
		postgrestest.Exec(t, src.server, "postgres", "DELETE FROM t")

		in := src.restore(t, end, 0)
		zeroDatabase(t, in.Server, out)
		oid, err := strconv.ParseUint(out, 10, 32)
		postgrestest.Check(t, err)
		in.ReadOnly, in.SlotName, in.OmittedDatabases = true, "", []uint32{uint32(oid)}
		first, err := attachNow(t, in)
		postgrestest.Check(t, err)
		if at := (wal.Position{Timeline: 1, LSN: end}); first.Fork != at || first.Timeline != 1 {
			t.Errorf("it is at %+v, want %s", first, at)
		}
		for _, how := range []string{"attached", "stopped", "crashed", "attached again"} {
			switch how {
			case "stopped":
				postgrestest.Check(t, in.Server.Stop(t.Context(), postgres.Fast))
				startSaved(t, in.Server)
			case "crashed":
				postgrestest.Check(t, in.Server.Kill(t.Context()))
				startSaved(t, in.Server)
			case "attached again":
				again, err := attachNow(t, in)
				if diff := cmp.Diff(first, again); err != nil || diff != "" {
					t.Errorf("%v (-first +again):\n%s", err, diff)
				}
			}
			if got := postgrestest.Query(t, in.Server, "postgres", "SELECT pg_is_in_recovery() || ' ' || count(*) FROM t"); got != "true 50000" {
				t.Errorf("%s: in recovery and rows: %s", how, got)
			}
			if conn, err := in.Server.Open(t.Context(), "left_out"); err == nil {
				_ = conn.Close(t.Context())
				t.Errorf("%s: zeros let somebody in", how)
			}
		}
		short := src.restore(t, end, 0)
		short.ReadOnly, short.SlotName, short.Plan.RecordEnd = true, "", end+8192
		if _, err := attachNow(t, short); !fault.Is(err, fault.Corrupt) || !strings.Contains(err.Error(), "before the recovery point") {
			t.Errorf("WAL that does not reach the point: %v", err)
		}
	})
}

// startSaved starts a server as whoever finds it down does: by its description alone.
func startSaved(t *testing.T, s *postgres.Server) {
	t.Helper()
	loaded, err := postgres.Load(s.InstanceDir())
	postgrestest.Check(t, err)
	loaded.DieWithParent = true
	postgrestest.Check(t, loaded.Start(t.Context()))
}
