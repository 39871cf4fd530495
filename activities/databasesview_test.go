package activities

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/postgres/postgrestest"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

// lookAtView lets what keeps the view look as if its time had come, with a role of the server.
func lookAtView(t *testing.T, c *capturer, s *postgres.Server, role string, g topology.Group) {
	t.Helper()
	conn, err := postgres.Open(t.Context(), postgrestest.Source(s, role, "app"))
	check(t, err)
	defer conn.Close(t.Context()) //nolint:errcheck // all was said
	c.view.next = time.Time{}
	c.show(t.Context(), SourceInput{Group: "prod", Workspace: "main"}, subject{group: g}, conn)
}

// Whoever is in psql sees in the maintenance database what is system-managed; the server is written to only when there is something new.
func TestTheViewOfDatabases(t *testing.T) {
	w := newWorld(t)
	said := &bytes.Buffer{}
	w.Log = slog.New(slog.NewTextHandler(said, nil))
	g := w.leave(t, adoptedEast)
	s := startServer(t)
	for _, sql := range []string{"create database app", "create role anybody login", "create role poor login"} {
		postgrestest.Exec(t, s, "postgres", sql)
	}
	flushed := func() string { return postgrestest.Query(t, s, "postgres", "select pg_current_wal_insert_lsn()") }
	c := &capturer{Source: &Source{Site: w.Site}}
	before := flushed()
	lookAtView(t, c, s, "postgres", g)
	if c.view.silent = false; flushed() != before || postgrestest.Query(t, s, "postgres", "select to_regnamespace('smartdr') is null") != "true" {
		t.Error("a server was written to that has nothing to show")
	}
	g.SystemManaged = []topology.SystemManaged{{Name: "app_20261122T221000Z", Workspace: "main", Database: "app", Lineage: servedBefore, Fork: wal.Position{Timeline: 1, LSN: 20 << 20},
		Since: time.Unix(9000, 0)}, {Name: "other", Workspace: "side"}}
	lookAtView(t, c, s, "postgres", g)
	see := func(role, query string) string {
		t.Helper()
		conn, err := postgres.Open(t.Context(), postgrestest.Source(s, role, "postgres"))
		check(t, err)
		defer conn.Close(t.Context()) //nolint:errcheck // all was said
		var text string
		check(t, conn.QueryRow(t.Context(), "select ("+query+")::text").Scan(&text))
		return text
	}
	if got := see("anybody", "select string_agg(name || ' ' || kind || ' ' || state, ', ' order by kind, name) from smartdr.databases"); got !=
		"app attached attached, postgres attached attached, app_20261122T221000Z system-managed receiving" {
		t.Errorf("shown is %s", got)
	}
	before = flushed()
	lookAtView(t, c, s, "postgres", g)
	if flushed() != before {
		t.Error("nothing has changed, and the server was written to")
	}
	last := time.Unix(9500, 123456789).UTC()
	check(t, w.Catalog.PutTail(t.Context(), "prod", topology.Tail{Workspace: "main", Lineage: servedBefore, Fork: wal.Position{Timeline: 1, LSN: 20 << 20},
		At: wal.Position{Timeline: 1, LSN: 21 << 20}, Commits: 17, Last: last, Complete: true}))
	lookAtView(t, c, s, "postgres", g)
	if got := see("anybody", `select state || ' ' || recovery_point_lsn || ' ' || transactions_waiting || ' ' || bytes_waiting || ' ' || extract(epoch from recovery_point_time) || ' ' || hint
		from smartdr.databases where kind = 'system-managed'`); !strings.HasPrefix(got, "complete 0/1500000 17 1048576 9500.000000 smartdr branch create") {
		t.Errorf("shown is %s", got)
	}
	if strings.Contains(said.String(), "not kept") {
		t.Error(said)
	}
}

// What SmartDR did not make it leaves alone, and a role without rights gets a line in the log, once.
func TestTheViewOfDatabasesIsLeftOutWhereItMayNotBe(t *testing.T) {
	w := newWorld(t)
	said := &bytes.Buffer{}
	w.Log = slog.New(slog.NewTextHandler(said, nil))
	g := w.leave(t, adoptedEast)
	g.SystemManaged = []topology.SystemManaged{{Name: "app_20261122T221000Z", Workspace: "main", Database: "app", Lineage: servedBefore}}
	s := startServer(t)
	for _, sql := range []string{"create database app", "create role poor login"} {
		postgrestest.Exec(t, s, "postgres", sql)
	}
	for _, role := range []string{"poor", "postgres"} {
		said.Reset()
		c := &capturer{Source: &Source{Site: w.Site}}
		for range 2 {
			lookAtView(t, c, s, role, g)
		}
		if n := strings.Count(said.String(), "is not kept"); n != 1 {
			t.Errorf("as %s it was said %d times: %s", role, n, said)
		}
		if got := postgrestest.Query(t, s, "postgres", "select count(*) from pg_class c join pg_namespace n on n.oid = relnamespace where nspname = 'smartdr'"); got != "0" {
			t.Errorf("as %s: %s things were made", role, got)
		}
		if role == "poor" {
			postgrestest.Exec(t, s, "postgres", "create schema smartdr") // somebody's own
		}
	}
}
