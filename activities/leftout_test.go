package activities

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/postgres/postgrestest"
	"github.com/smartdr/smartdr/internal/ship"
)

const fill = "CREATE TABLE t WITH (autovacuum_enabled=off) AS SELECT n, repeat('x', 100) AS x FROM generate_series(1, 20000) n"

// TestDropLeftOut leaves databases out in every way there is, on clusters without checksums and wal_log_hints, where replay meets
// pages that it cannot know.
func TestDropLeftOut(t *testing.T) {
	postgrestest.InTurn(t, func(t *testing.T, bin postgres.Binaries) {
		space := postgrestest.TempDir(t)
		p := startPrimary(t, bin, postgres.InitOptions{}, ship.Choice{Only: true, Names: []string{"app", "late"}}, func(s *postgres.Server) {
			for _, db := range []string{"app", "spare", "held", "given_up", "half", "subscriber"} {
				postgrestest.Exec(t, s, "postgres", "CREATE DATABASE "+db)
				postgrestest.Exec(t, s, db, fill)
			}
			postgrestest.Exec(t, s, "postgres", "CREATE DATABASE mould IS_TEMPLATE true")
			postgrestest.Exec(t, s, "postgres", "CREATE TABLESPACE far LOCATION '"+space+"'")
			postgrestest.Exec(t, s, "spare", "CREATE TABLE u TABLESPACE far AS SELECT * FROM t")
			postgrestest.Exec(t, s, "subscriber", "CREATE SUBSCRIPTION s CONNECTION 'host=127.0.0.1 port=1' PUBLICATION p WITH (connect = false)")
			postgrestest.Exec(t, s, "postgres", "CHECKPOINT")
		})
		p.sql("spare", "VACUUM t", "VACUUM u", "INSERT INTO t SELECT * FROM t LIMIT 100", "CHECKPOINT")
		p.sql("postgres", "CREATE DATABASE copied TEMPLATE spare STRATEGY file_copy", "CREATE DATABASE copied2 TEMPLATE copied STRATEGY file_copy",
			"CREATE DATABASE late TEMPLATE spare STRATEGY wal_log", "CREATE DATABASE late_too")
		p.sql("copied", "VACUUM (DISABLE_PAGE_SKIPPING) t", "DELETE FROM t WHERE n < 100")
		p.sql("held", "BEGIN; DELETE FROM t WHERE n = 1; PREPARE TRANSACTION 'p1'")
		p.sql("postgres", "UPDATE pg_database SET datconnlimit = -2 WHERE datname = 'half'")

		r, err := p.restore(nil)
		check(t, err)
		check(t, r.Kill(t.Context())) // what it recovers from now on has no zeros in it
		check(t, r.Start(t.Context()))
		if on := r.query(t, "postgres", "SELECT current_setting('ignore_invalid_pages')"); on != "off" {
			t.Error("it goes on ignoring damaged pages")
		}
		if n := r.query(t, "app", "SELECT count(*) FROM t"); n != "20000" {
			t.Errorf("%s rows in the database that is replicated", n)
		}
		w := newWorld(t)
		w.choose(t, "app", "late", "copied2", "given_up")
		target := &Target{Site: w.Site}
		notes, err := target.dropLeftOut(t.Context(), r.Server, r.in)
		check(t, err)
		t.Log(strings.Join(notes, "\n"))
		left := strings.Fields(r.query(t, "postgres", "SELECT string_agg(datname, ' ' ORDER BY datname) FROM pg_database"))
		if diff := cmp.Diff([]string{"app", "held", "late", "mould", "postgres", "template0", "template1"}, left); diff != "" {
			t.Error(diff)
		}
		for _, want := range []string{
			"spare was dropped: it is not replicated", "late_too was dropped: it is not replicated", "given_up was dropped: it was chosen after snapshot",
			"copied was dropped: it was copied file by file", "copied2 was dropped: it was copied file by file",
			"half was dropped: a DROP DATABASE", "subscriber was dropped", "held is still there although it is not replicated: the prepared transactions p1",
		} {
			if !slices.ContainsFunc(notes, func(n string) bool { return strings.Contains(n, want) }) {
				t.Errorf("no note says %q", want)
			}
		}
		if n := r.query(t, "postgres", "SELECT (SELECT count(*) FROM pg_subscription) + (SELECT count(*) FROM pg_replication_origin)"); n != "0" {
			t.Errorf("%s subscriptions or origins are left", n)
		}
		if n := r.query(t, "postgres", "SELECT count(*) FROM pg_tablespace_databases((SELECT oid FROM pg_tablespace WHERE spcname = 'far')) AS d WHERE d NOT IN (SELECT oid FROM pg_database)"); n != "0" {
			t.Error("files of a dropped database are left in a tablespace")
		}
		if n := r.query(t, "late", "SELECT count(*) FROM t"); n != "20100" {
			t.Errorf("%s rows in a copy that the WAL holds", n)
		}
		postgrestest.Exec(t, r.Server, "postgres", "CREATE DATABASE users_own")
		again, err := target.dropLeftOut(t.Context(), r.Server, r.in)
		if diff := cmp.Diff(notes, again); err != nil || diff != "" {
			t.Errorf("again: %v %s", err, diff)
		}
		postgrestest.Exec(t, r.Server, "users_own", "SELECT 1")
	})
}

// TestDropLeftOutAgain begins anew after a kill in the middle, also in the middle of a DROP DATABASE.
func TestDropLeftOutAgain(t *testing.T) {
	w, s := newWorld(t), startServer(t)
	w.choose(t, "app")
	for _, db := range []string{"app", "one", "two", "three"} {
		postgrestest.Exec(t, s, "postgres", "CREATE DATABASE "+db)
	}
	target, in := &Target{Site: w.Site}, RestoreInput{Group: "prod", Plan: WorkspacePlan{Workspace: "main"}, Place: Place{Instance: s.InstanceDir()}}
	conn := postgrestest.Open(t, s, "postgres")
	found, err := target.findLeftOut(t.Context(), conn, s, in)
	check(t, err)
	check(t, writeState(s.InstanceDir(), leftOutFile, leftOut{Databases: found}))
	check(t, found[0].tryDrop(t.Context(), conn))
	check(t, conn.Close(t.Context()))
	postgrestest.Exec(t, s, "postgres", "UPDATE pg_database SET datconnlimit = -2 WHERE datname = 'two'")
	w.choose(t, "app", "three") // too late: the users must not see two answers
	notes, err := target.dropLeftOut(t.Context(), s, in)
	check(t, err)
	want := []string{"database one was dropped: it is not replicated", "database two was dropped: it is not replicated", "database three was dropped: it is not replicated"}
	if diff := cmp.Diff(want, notes); diff != "" {
		t.Error(diff)
	}
	if left := postgrestest.Query(t, s, "postgres", "SELECT string_agg(datname, ' ' ORDER BY datname) FROM pg_database WHERE NOT datistemplate"); left != "app postgres" {
		t.Errorf("left: %s", left)
	}
}
