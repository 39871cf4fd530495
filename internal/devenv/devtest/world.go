package devtest

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/smartdr/smartdr/internal/devenv"
	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/postgres/postgrestest"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

// Patience is how long a test waits for what is due within seconds, see Until.
const Patience = postgrestest.Patience

// World is two regions of one test, and the commands that a person gives there. Its methods fail the test where they cannot do what they
// say. Those that speak of a group mean the one named devenv.GroupName.
type World struct {
	*testing.T
	Env *devenv.Env
}

// StartWorld starts two regions that end with the test. The folder is chosen, and Temporal has no web UI.
func StartWorld(t *testing.T, o devenv.EnvOptions) *World {
	t.Helper()
	o.Dir, o.NoUI = filepath.Join(Dir(t), "env"), true
	env, err := devenv.StartEnv(t.Context(), o)
	Check(t, err)
	t.Cleanup(func() { End(t, env) })
	return &World{T: t, Env: env}
}

// On returns the same world for a case of the test, which its methods then fail.
func (w *World) On(t *testing.T) *World { return &World{T: t, Env: w.Env} }

// Check fails the test on an error.
func Check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Check fails the test on an error.
func (w *World) Check(err error) {
	w.Helper()
	Check(w.T, err)
}

// OldestMajor is the oldest PostgreSQL major to test on.
func OldestMajor(t testing.TB) int { return slices.Min(majors(t)) }

// NewestMajor is the newest PostgreSQL major to test on.
func NewestMajor(t testing.TB) int { return slices.Max(majors(t)) }

func majors(t testing.TB) []int {
	t.Helper()
	all, err := devenv.Majors()
	Check(t, err)
	return all
}

// Full reports whether every case is wanted, of tests that meet a part of them otherwise.
func Full() bool { return os.Getenv("SMARTDR_TEST_FULL") == "1" }

// SmartDR runs the CLI, which must exit with 0, and returns what it prints.
func (w *World) SmartDR(args ...string) string {
	w.Helper()
	out, err := w.Env.SmartDR(w.Context(), args...)
	w.Check(err)
	return out
}

// JSON runs the CLI, which must exit with 0, and decodes what it prints.
func (w *World) JSON(into any, args ...string) {
	w.Helper()
	w.Check(w.Env.SmartDRJSON(w.Context(), into, args...))
}

// Refused runs the CLI, which must refuse with a text, on whichever of its outputs.
func (w *World) Refused(text string, args ...string) {
	w.Helper()
	out, err := w.Env.SmartDR(w.Context(), args...)
	if err == nil || !strings.Contains(err.Error(), text) {
		w.Errorf("smartdr %s: want %q, got %v\n%s", strings.Join(args, " "), text, err, out)
	}
}

// Status returns what `smartdr status` says of the group.
func (w *World) Status() (s topology.GroupStatus) {
	w.Helper()
	w.JSON(&s, "status", "--group", devenv.GroupName)
	return s
}

// Workspace returns a workspace as the catalog has it.
func (w *World) Workspace(name string) topology.Workspace {
	w.Helper()
	g := w.Status().Group
	found := g.Workspace(name)
	if found == nil {
		w.Fatalf("the group has no workspace %s", name)
	}
	return *found
}

// Until waits until the group's status is as wanted. A status that cannot be had now may be had later.
func (w *World) Until(what string, wanted func(topology.GroupStatus) bool) {
	w.Helper()
	Until(w, what, func() bool {
		var s topology.GroupStatus
		err := w.Env.SmartDRJSON(w.Context(), &s, "status", "--group", devenv.GroupName)
		return err == nil && wanted(s)
	})
}

// Cursor returns how far a region's bucket is with a workspace, as it was announced for the lineage that is written now; the zero value
// when that is not known.
func Cursor(s topology.GroupStatus, workspace, region string) topology.Cursor {
	for _, ws := range s.Workspaces {
		is := s.Group.Workspace(ws.Workspace)
		if ws.Workspace != workspace || ws.WAL == nil || is == nil || ws.WAL.Lineage != is.Lineage {
			continue
		}
		if c := ws.WAL.Cursor(region); c != nil {
			return *c
		}
	}
	return topology.Cursor{}
}

// WaitShipped waits until a region's bucket is announced to hold whole records of a workspace up to a position.
func (w *World) WaitShipped(workspace, region string, end wal.LSN) {
	w.Helper()
	w.Until("the bucket of "+region+" to hold "+end.String()+" of "+workspace, func(s topology.GroupStatus) bool {
		return Cursor(s, workspace, region).Point.RecordEnd >= end
	})
}

// Store opens a region's bucket, past all lines that may be cut.
func (w *World) Store(region string) objectstore.Store {
	w.Helper()
	return objectstore.Sub(Open(w, w.Env.Regions[region].Gateway), objectstore.Root)
}

// Exec runs statements on a server as its superuser, each in a transaction of its own.
func (w *World) Exec(s *postgres.Server, database string, statements ...string) {
	w.Helper()
	p := devenv.Postgres{Server: s}
	w.Check(p.Exec(w.Context(), database, statements...))
}

// Connect connects to a server as its superuser, until the test ends.
func (w *World) Connect(s *postgres.Server, database string) *pgx.Conn {
	w.Helper()
	conn, err := s.Open(w.Context(), database)
	w.Check(err)
	w.Cleanup(func() { conn.Close(context.Background()) }) //nolint:errcheck // all was said
	return conn
}

// Ask returns the one text that a query gives on a server, to its superuser.
func (w *World) Ask(s *postgres.Server, database, query string, args ...any) (text string) {
	w.Helper()
	conn, err := s.Open(w.Context(), database)
	w.Check(err)
	defer conn.Close(context.WithoutCancel(w.Context())) //nolint:errcheck // only read from
	if err := conn.QueryRow(w.Context(), query, args...).Scan(&text); err != nil {
		w.Fatalf("%v\n%s", err, query)
	}
	return text
}

// Flushed returns how far a server has flushed its WAL.
func (w *World) Flushed(s *postgres.Server) wal.LSN {
	w.Helper()
	at, err := wal.ParseLSN(w.Ask(s, "postgres", "select pg_current_wal_flush_lsn()::text"))
	w.Check(err)
	return at
}
