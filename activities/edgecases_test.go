package activities

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/postgres/postgrestest"
	"github.com/smartdr/smartdr/internal/ship"
)

// TestClustersOfEveryKind brings back, through snapshot and WAL, what clusters can be made of: sizes of WAL segments, page
// checksums on and off, unlogged tables, large objects, prepared transactions, tablespaces.
func TestClustersOfEveryKind(t *testing.T) {
	postgrestest.InTurn(t, func(t *testing.T, bin postgres.Binaries) {
		for _, init := range []postgres.InitOptions{{SegmentSize: 1 << 20}, {SegmentSize: 64 << 20, Checksums: true}} {
			t.Run(fmt.Sprintf("segments of %d MB, checksums %t", init.SegmentSize>>20, init.Checksums), func(t *testing.T) { ofEveryKind(t, bin, init) })
		}
	})
}

func ofEveryKind(t *testing.T, bin postgres.Binaries, init postgres.InitOptions) {
	space := postgrestest.TempDir(t)
	var early string
	p := startPrimary(t, bin, init, ship.Choice{}, func(s *postgres.Server) {
		postgrestest.Exec(t, s, "postgres", "CREATE DATABASE app")
		postgrestest.Exec(t, s, "postgres", "CREATE TABLESPACE far LOCATION '"+space+"'")
		postgrestest.Exec(t, s, "app", fill)
		postgrestest.Exec(t, s, "app", "CREATE TABLE far TABLESPACE far AS SELECT * FROM t")
		postgrestest.Exec(t, s, "app", "CREATE UNLOGGED TABLE unlogged AS SELECT * FROM t")
		early = postgrestest.Query(t, s, "app", "SELECT lo_from_bytea(0, repeat('before', 10000)::bytea)")
		postgrestest.Exec(t, s, "app", "BEGIN; INSERT INTO t VALUES (-1, 'early'); PREPARE TRANSACTION 'early'")
	})
	late := postgrestest.Query(t, p.Server, "app", "SELECT lo_from_bytea(0, repeat('after', 10000)::bytea)")
	p.sql("app", "INSERT INTO far SELECT * FROM t", "INSERT INTO unlogged SELECT * FROM t",
		"BEGIN; INSERT INTO t VALUES (-2, 'late'); PREPARE TRANSACTION 'late'", "SELECT pg_switch_wal()", "INSERT INTO far VALUES (0, 'last')")

	r, err := p.restore(nil)
	check(t, err)
	for sql, want := range map[string]string{
		"SELECT count(*) FROM t":                                                                         "20000",
		"SELECT count(*) FROM far":                                                                       "40001",
		"SELECT count(*) FROM unlogged":                                                                  "0",
		"SELECT length(lo_get(" + early + "))":                                                           "60000",
		"SELECT length(lo_get(" + late + "))":                                                            "50000",
		"SELECT string_agg(gid, ' ' ORDER BY gid) FROM pg_prepared_xacts":                                "early late",
		"SELECT setting FROM pg_settings WHERE name = 'data_checksums'":                                  map[bool]string{true: "on", false: "off"}[init.Checksums],
		"SELECT setting FROM pg_settings WHERE name = 'wal_segment_size'":                                fmt.Sprint(int64(init.SegmentSize)),
		"SELECT pg_tablespace_location(oid) <> '" + space + "' FROM pg_tablespace WHERE spcname = 'far'": "true",
	} {
		if got := r.query(t, "app", sql); got != want {
			t.Errorf("%s: %s, want %s", sql, got, want)
		}
	}
	postgrestest.Exec(t, r.Server, "app", "COMMIT PREPARED 'early'")
	postgrestest.Exec(t, r.Server, "app", "ROLLBACK PREPARED 'late'")
	if n := r.query(t, "app", "SELECT count(*) FROM t WHERE n < 0"); n != "1" {
		t.Errorf("%s rows of prepared transactions", n)
	}
	if r.attached.Start.LSN != init.SegmentSize.Start(r.attached.Fork.LSN) {
		t.Errorf("the new lineage begins at %s, forked at %s", r.attached.Start, r.attached.Fork)
	}
}

// A tablespace that was made after the snapshot: replay wants its folder where the primary had it.
func TestTablespaceMadeAfterTheSnapshot(t *testing.T) {
	postgrestest.InTurn(t, func(t *testing.T, bin postgres.Binaries) {
		theirs := postgrestest.TempDir(t)
		here, gone := filepath.Join(theirs, "here"), filepath.Join(theirs, "gone")
		p := startPrimary(t, bin, postgres.InitOptions{Checksums: true}, ship.Choice{}, func(s *postgres.Server) {})
		for _, dir := range []string{here, gone} {
			check(t, os.Mkdir(dir, 0o700))
			check(t, p.Own(dir))
		}
		p.sql("postgres", "CREATE TABLESPACE here LOCATION '"+here+"'", "CREATE TABLE t TABLESPACE here AS SELECT 1",
			"CREATE TABLESPACE gone LOCATION '"+gone+"'", "DROP TABLESPACE gone")

		t.Run("on the primary's own host", func(t *testing.T) {
			before := listing(t, theirs)
			_, err := p.restore(nil)
			if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), here) || !strings.Contains(err.Error(), "nothing was touched") {
				t.Errorf("got %v", err)
			}
			if after := listing(t, theirs); after != before {
				t.Errorf("the primary's folder was touched:\n%s\n%s", before, after)
			}
		})
		t.Run("on another host", func(t *testing.T) {
			check(t, p.Stop(t.Context(), postgres.Fast))
			moved := theirs + ".moved"
			check(t, os.Rename(theirs, moved))
			t.Cleanup(func() { _ = os.RemoveAll(moved) })
			r, err := p.recover(t.Context(), nil)
			check(t, err)
			if n := r.query(t, "postgres", "SELECT count(*) FROM t"); n != "1" {
				t.Errorf("%s rows", n)
			}
			if at := r.query(t, "postgres", "SELECT pg_tablespace_location(oid) FROM pg_tablespace WHERE spcname = 'here'"); filepath.Dir(at) != filepath.Join(r.InstanceDir(), "tablespaces") {
				t.Errorf("it lies in %s", at)
			}
			if left := listing(t, theirs); strings.Contains(left, "here") {
				t.Errorf("what stood in for it is left: %s", left)
			}
			if len(r.attached.Notes) != 1 || !strings.Contains(r.attached.Notes[0], "made after the snapshot") {
				t.Errorf("notes %q", r.attached.Notes)
			}
			check(t, r.Kill(t.Context()))
			check(t, r.Start(t.Context()))
			postgrestest.Exec(t, r.Server, "postgres", "INSERT INTO t VALUES (2)")
		})
	})
}

// listing describes a folder and all below it.
func listing(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err == nil {
			fmt.Fprintln(&b, path, info.Mode(), info.Size(), info.ModTime().UnixNano())
		}
		return nil
	})
	check(t, err)
	return b.String()
}
