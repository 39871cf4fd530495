package restore_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/postgres/postgrestest"
	"github.com/smartdr/smartdr/internal/restore"
	"github.com/smartdr/smartdr/internal/wal"
)

// attachNow attaches within a time that no test here needs.
func attachNow(t *testing.T, in restore.AttachInput) (restore.Attached, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), devtest.Patience)
	defer cancel()
	return restore.Attach(ctx, in)
}

// checkAttached checks what every good attach leads to: the timeline, the fork, the slot, and who gets in.
func checkAttached(t *testing.T, in restore.AttachInput, got restore.Attached, want wal.Timeline) {
	t.Helper()
	control, err := in.Server.ControlData(t.Context())
	postgrestest.Check(t, err)
	expected := restore.Attached{
		Fork: wal.Position{Timeline: in.Plan.Timeline, LSN: in.Plan.RecordEnd}, Timeline: want,
		Start: wal.Position{Timeline: want, LSN: wal.DefaultSegmentSize.Start(in.Plan.RecordEnd)}, SystemID: control.SystemID,
	}
	if diff := cmp.Diff(expected, got); diff != "" {
		t.Errorf("attached (-want +got):\n%s", diff)
	}
	if file := postgrestest.Query(t, in.Server, "postgres", "SELECT pg_walfile_name(pg_current_wal_insert_lsn())"); !strings.HasPrefix(file, want.Key()) {
		t.Errorf("the server writes to %s, not to timeline %d", file, want)
	}
	restart, err := wal.ParseLSN(postgrestest.Query(t, in.Server, "postgres", "SELECT restart_lsn FROM pg_replication_slots WHERE slot_name = 'next'"))
	if err != nil || restart > got.Start.LSN {
		t.Errorf("the slot holds WAL from %s on, the lineage begins at %s: %v", restart, got.Start, err)
	}
	if _, err := postgres.Open(t.Context(), postgrestest.Source(in.Server, "postgres", "postgres")); !fault.Is(err, fault.Invalid) {
		t.Errorf("others should not get in yet: %v", err)
	}
	postgrestest.Exec(t, in.Server, "postgres", "CREATE TABLE after_attach AS SELECT 1")
}

func TestAttach(t *testing.T) {
	postgrestest.InTurn(t, func(t *testing.T, bin postgres.Binaries) {
		src := startSource(t, bin, nil)
		postgrestest.Exec(t, src.server, "postgres", "CREATE TABLE t AS SELECT n FROM generate_series(1, 50000) n")
		in := src.restore(t, src.end(t), 0)
		var phases []restore.Phase
		in.Progress = func(p restore.AttachProgress) {
			if len(phases) == 0 || phases[len(phases)-1] != p.Phase {
				phases = append(phases, p.Phase)
			}
		}
		got, err := attachNow(t, in)
		postgrestest.Check(t, err)
		checkAttached(t, in, got, 2)
		if diff := cmp.Diff([]restore.Phase{restore.Starting, restore.Recovering, restore.Promoting, restore.Promoted}, phases); diff != "" {
			t.Errorf("phases (-want +got):\n%s", diff)
		}
		if n := postgrestest.Query(t, in.Server, "postgres", "SELECT count(*) FROM t"); n != "50000" {
			t.Errorf("%s rows", n)
		}
		again(t, in, got)
	})
}

// again attaches what is attached: running, stopped, crashed, and through the description that was saved.
func again(t *testing.T, in restore.AttachInput, first restore.Attached) {
	t.Helper()
	loaded, err := postgres.Load(in.Server.InstanceDir())
	postgrestest.Check(t, err)
	loaded.DieWithParent = true
	postgrestest.Exec(t, loaded, "postgres", "SELECT pg_switch_wal(); SELECT pg_replication_slot_advance('next', pg_current_wal_flush_lsn())")
	const slot = "SELECT restart_lsn FROM pg_replication_slots WHERE slot_name = 'next'"
	shipped := postgrestest.Query(t, loaded, "postgres", slot)
	for _, name := range []string{"running", "stopped", "crashed"} {
		switch name {
		case "stopped":
			postgrestest.Check(t, in.Server.Stop(t.Context(), postgres.Fast))
		case "crashed":
			postgrestest.Check(t, in.Server.Kill(t.Context()))
		}
		repeated := in
		repeated.Server = loaded
		got, err := attachNow(t, repeated)
		if diff := cmp.Diff(first, got); err != nil || diff != "" {
			t.Errorf("%s, attached again: %v (-first +again):\n%s", name, err, diff)
		}
		if n := postgrestest.Query(t, loaded, "postgres", "SELECT count(*) FROM after_attach"); n != "1" {
			t.Errorf("%s, attached again: what was written since is gone", name)
		}
		if now := postgrestest.Query(t, loaded, "postgres", slot); name != "crashed" && now != shipped {
			t.Errorf("attached again, the slot went from %s to %s", shipped, now)
		}
	}
	other := in
	other.Plan.RecordEnd += 8
	if _, err := attachNow(t, other); !fault.Is(err, fault.Invalid) {
		t.Errorf("another plan for the same folder: %v", err)
	}
}

// TestTailOfARecord keeps the head of a record whose rest never left the primary, of every length that matters.
func TestTailOfARecord(t *testing.T) {
	postgrestest.InTurn(t, func(t *testing.T, bin postgres.Binaries) {
		src := startSource(t, bin, nil)
		postgrestest.Exec(t, src.server, "postgres", "CREATE TABLE t AS SELECT 1")
		end := src.end(t)
		postgrestest.Exec(t, src.server, "postgres", "SELECT pg_logical_emit_message(false, 'x', repeat('y', 60000))")
		for _, tail := range []wal.LSN{1, 30, 30000} {
			in := src.restore(t, end, tail)
			got, err := attachNow(t, in)
			if err != nil {
				t.Errorf("%d bytes of the next record: %v", tail, err)
				continue
			}
			checkAttached(t, in, got, 2)
			postgrestest.Check(t, in.Server.Kill(t.Context()))
		}
	})
}

// TestNoConnectionsToTheEnd: consistent, and still no connections.
func TestNoConnectionsToTheEnd(t *testing.T) {
	postgrestest.InTurn(t, func(t *testing.T, bin postgres.Binaries) {
		t.Run("subtransactions", func(t *testing.T) {
			src := startSource(t, bin, nil, func(s *postgres.Server) {
				postgrestest.Exec(t, s, "postgres", "CREATE TABLE t (n int)")
				conn := postgrestest.Open(t, s, "postgres")
				t.Cleanup(func() { _ = conn.Close(context.Background()) })
				_, err := conn.Exec(t.Context(), "BEGIN")
				postgrestest.Check(t, err)
				for i := range 100 {
					_, err := conn.Exec(t.Context(), fmt.Sprintf("SAVEPOINT s%d; INSERT INTO t VALUES (%d)", i, i))
					postgrestest.Check(t, err)
				}
			})
			attachUnconnected(t, src, nil)
		})
		t.Run("hot_standby off", func(t *testing.T) {
			attachUnconnected(t, startSource(t, bin, nil), map[string]string{"hot_standby": "off"})
		})
	})
}

func attachUnconnected(t *testing.T, src *source, overrides map[string]string) {
	t.Helper()
	postgrestest.Exec(t, src.server, "postgres", "CREATE TABLE kept AS SELECT 1")
	in := src.restore(t, src.end(t), 0)
	in.Overrides = overrides
	got, err := attachNow(t, in)
	postgrestest.Check(t, err)
	checkAttached(t, in, got, 2)
	log, err := os.ReadFile(in.Server.LogFile)
	postgrestest.Check(t, err)
	if strings.Contains(string(log), "ready to accept read-only connections") {
		t.Error("it took connections before it was promoted")
	}
}

// TestInheritedConfiguration restores a configuration that would act on the place it came from, and lock us out.
func TestInheritedConfiguration(t *testing.T) {
	postgrestest.InTurn(t, func(t *testing.T, bin postgres.Binaries) {
		src := startSource(t, bin, nil)
		archived := filepath.Join(postgrestest.TempDir(t), "archived")
		postgrestest.Exec(t, src.server, "postgres", "CREATE TABLE t AS SELECT 1")
		in := src.restore(t, src.end(t), 0)
		conf := fmt.Sprintf(`primary_conninfo = 'host=127.0.0.1 port=%d user=postgres'
archive_mode = on
archive_command = 'touch %s'
restore_command = 'touch %s; false'
synchronous_standby_names = '*'
recovery_min_apply_delay = '1h'
recovery_target_lsn = '0/1'
recovery_target_timeline = 'latest'
session_preload_libraries = 'pgdr_fenced'
default_transaction_read_only = on
logging_collector = on
log_min_messages = panic
lc_messages = 'xx'
max_connections = 5
external_pid_file = '/nowhere/x.pid'
hba_file = '/nowhere/hba'
`, src.server.Port, archived, archived)
		postgrestest.Check(t, os.WriteFile(filepath.Join(in.Server.DataDir, "postgresql.auto.conf"), []byte(conf), 0o644))
		got, err := attachNow(t, in)
		postgrestest.Check(t, err)
		if len(got.Notes) != 1 || !strings.HasPrefix(got.Notes[0], "lc_messages ") {
			t.Errorf("notes: %q", got.Notes)
		}
		got.Notes = nil
		checkAttached(t, in, got, 2)
		postgrestest.Exec(t, in.Server, "postgres", "SELECT pg_switch_wal(); CHECKPOINT")
		if _, err := os.Stat(archived); err == nil {
			t.Error("it ran the primary's archive_command or restore_command")
		}
		if n := postgrestest.Query(t, src.server, "postgres", "SELECT count(*) FROM pg_stat_replication"); n != "0" {
			t.Error("it streams from the primary")
		}
	})
}

func TestNoConfigurationInTheDataDirectory(t *testing.T) {
	src := startSource(t, postgrestest.Installations(t)[0], nil)
	in := src.restore(t, src.end(t), 0)
	for _, name := range []string{"postgresql.conf", "pg_hba.conf", "pg_ident.conf"} {
		postgrestest.Check(t, os.Remove(filepath.Join(in.Server.DataDir, name)))
	}
	got, err := attachNow(t, in)
	postgrestest.Check(t, err)
	checkAttached(t, in, got, 2)
}

// TestRaisedSettings: the primary was restarted with more connections after the snapshot.
func TestRaisedSettings(t *testing.T) {
	postgrestest.InTurn(t, func(t *testing.T, bin postgres.Binaries) {
		src := startSource(t, bin, nil)
		postgrestest.Check(t, src.server.Stop(t.Context(), postgres.Fast))
		src.server.Settings["max_connections"] = "150"
		postgrestest.Check(t, src.server.Start(t.Context()))
		postgrestest.Exec(t, src.server, "postgres", "CREATE TABLE t AS SELECT 1")
		end := src.end(t)

		ignorant := src.restore(t, end, 0)
		if _, err := attachNow(t, ignorant); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "max_connections") {
			t.Errorf("without the new minimum: %v", err)
		}
		postgrestest.Check(t, ignorant.Server.Kill(t.Context()))

		in := src.restore(t, end, 0)
		in.Minimums = wal.Parameters{MaxConnections: 150}
		got, err := attachNow(t, in)
		postgrestest.Check(t, err)
		checkAttached(t, in, got, 2)
	})
}

// TestOtherTimelines restores along timeline 2, with a foreign timeline 3 whose number is taken.
func TestOtherTimelines(t *testing.T) {
	postgrestest.InTurn(t, func(t *testing.T, bin postgres.Binaries) {
		src := startSource(t, bin, nil)
		postgrestest.Exec(t, src.server, "postgres", "CREATE TABLE one AS SELECT 1")
		src.switchTimeline(t)
		postgrestest.Exec(t, src.server, "postgres", "CREATE TABLE two AS SELECT 2")
		in := src.restore(t, src.end(t), 0)
		foreign := filepath.Join(in.Server.DataDir, "pg_wal", wal.HistoryFileName(3))
		postgrestest.Check(t, os.WriteFile(foreign, []byte("1\t0/2000000\tanother side\n"), 0o600))
		got, err := attachNow(t, in)
		postgrestest.Check(t, err)
		checkAttached(t, in, got, 4)
		if n := postgrestest.Query(t, in.Server, "postgres", "SELECT count(*) FROM one, two"); n != "1" {
			t.Errorf("%s rows", n)
		}
		missing := src.restore(t, src.end(t), 0)
		postgrestest.Check(t, os.Remove(filepath.Join(missing.Server.DataDir, "pg_wal", wal.HistoryFileName(2))))
		if _, err := attachNow(t, missing); !fault.Is(err, fault.Missing) {
			t.Errorf("without the history file: %v", err)
		}
	})
}

// Timelines are counted in hexadecimal in names of files, and in decimal in what they hold.
func TestTimelinesBeyondNine(t *testing.T) {
	src := startSource(t, postgrestest.Installations(t)[0], nil)
	postgrestest.Exec(t, src.server, "postgres", "CREATE TABLE t AS SELECT 1")
	end := src.end(t)
	for _, taken := range []wal.Timeline{9, 15, 254} {
		in := src.restore(t, end, 0)
		for tli := wal.Timeline(2); tli <= taken; tli++ {
			path := filepath.Join(in.Server.DataDir, "pg_wal", wal.HistoryFileName(tli))
			postgrestest.Check(t, os.WriteFile(path, []byte("1\t0/2000000\tanother side\n"), 0o600))
		}
		got, err := attachNow(t, in)
		postgrestest.Check(t, err)
		checkAttached(t, in, got, taken+1)
		postgrestest.Check(t, in.Server.Kill(t.Context()))
	}
}

// TestLeftOutDatabase restores a database as zeros; replay meets its pages, and those of another that must not be zeros.
func TestLeftOutDatabase(t *testing.T) {
	postgrestest.InTurn(t, func(t *testing.T, bin postgres.Binaries) {
		kinds := []bool{false}
		if full() || bin.Major() >= 18 { // which has them by default
			kinds = append(kinds, true)
		}
		for _, checksums := range kinds {
			t.Run(fmt.Sprintf("checksums %t", checksums), func(t *testing.T) { leaveOutDatabase(t, bin, checksums) })
		}
	})
}

func leaveOutDatabase(t *testing.T, bin postgres.Binaries, checksums bool) {
	var out, kept string
	src := startSource(t, bin, &postgres.InitOptions{NoSync: true, Checksums: checksums}, func(s *postgres.Server) {
		for _, db := range []string{"left_out", "kept"} {
			postgrestest.Exec(t, s, "postgres", "CREATE DATABASE "+db)
			postgrestest.Exec(t, s, db, "CREATE TABLE t WITH (autovacuum_enabled=off) AS SELECT n, repeat('x', 100) FROM generate_series(1, 20000) n")
		}
		postgrestest.Exec(t, s, "postgres", "CHECKPOINT")
		out = postgrestest.Query(t, s, "postgres", "SELECT oid FROM pg_database WHERE datname = 'left_out'")
		kept = postgrestest.Query(t, s, "postgres", "SELECT oid FROM pg_database WHERE datname = 'kept'")
	})
	for _, db := range []string{"left_out", "kept"} {
		postgrestest.Exec(t, src.server, db, "VACUUM t")
	}
	end := src.end(t)
	oid, err := strconv.ParseUint(out, 10, 32)
	postgrestest.Check(t, err)

	t.Run("left out", func(t *testing.T) {
		in := src.restore(t, end, 0)
		zeroDatabase(t, in.Server, out)
		in.OmittedDatabases = []uint32{uint32(oid)}
		got, err := attachNow(t, in)
		postgrestest.Check(t, err)
		checkAttached(t, in, got, 2)
		if n := postgrestest.Query(t, in.Server, "kept", "SELECT count(*) FROM t"); n != "20000" {
			t.Errorf("%s rows in the database that was kept", n)
		}
		postgrestest.Exec(t, in.Server, "postgres", "DROP DATABASE left_out")
	})
	if checksums {
		return // replay writes whole pages then, over zeros too
	}
	t.Run("not told", func(t *testing.T) {
		in := src.restore(t, end, 0)
		zeroDatabase(t, in.Server, out)
		if _, err := attachNow(t, in); !fault.Is(err, fault.Corrupt) {
			t.Errorf("zeros that nobody left out: %v", err)
		}
	})
	t.Run("another is damaged", func(t *testing.T) {
		in := src.restore(t, end, 0)
		zeroDatabase(t, in.Server, kept)
		in.OmittedDatabases = []uint32{uint32(oid)}
		if _, err := attachNow(t, in); !fault.Is(err, fault.Corrupt) || !strings.Contains(err.Error(), "base/"+kept+"/") {
			t.Errorf("zeros in a database that was kept: %v", err)
		}
		if control, err := in.Server.ControlData(t.Context()); err != nil || control.Timeline() != 1 {
			t.Errorf("it was promoted: %+v, %v", control, err)
		}
	})
}
