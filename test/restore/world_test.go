// Package restore_test brings back states of a recorded history, as branches in both regions and in place, by the commands that a person
// gives.
package restore_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/smartdr/smartdr/internal/devenv"
	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/internal/devenv/estate"
	"github.com/smartdr/smartdr/internal/devenv/estate/estatetest"
	"github.com/smartdr/smartdr/internal/devenv/ledger"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

// world is a group in use, with a workspace whose history is on record.
type world struct {
	*testing.T
	env *devenv.Env
	*estate.Estate
	space *estate.Space
	marks []mark
}

// mark is one commit of the record: row n of table marks, all of whose predecessors are committed before.
type mark struct {
	n     int
	xid   uint32
	begin wal.LSN   // its commit record lies behind it, and that of the mark before does not
	end   wal.LSN   // its commit record ends at or before it, and the next mark's begins behind it
	at    time.Time // between its commit and the next mark's
	point string    // restore point behind it; empty: none
}

// newWorld makes a group with a managed workspace, or with an adopted one beside it, whose history is recorded then.
func newWorld(t *testing.T, adopted bool) *world {
	t.Helper()
	majors, err := devenv.Majors()
	check(t, err)
	env, err := devenv.StartEnv(t.Context(), devenv.EnvOptions{Dir: filepath.Join(devtest.Dir(t), "env"), NoUI: true, Major: majors[0]})
	check(t, err)
	w := &world{T: t, env: env}
	t.Cleanup(w.end)
	w.Estate, err = estate.New(t.Context(), env, estate.Options{Managed: true, Adopted: adopted, Megabytes: 2})
	check(t, err)
	if w.space = w.Space(estate.Managed); adopted {
		w.space = w.Space(estate.Adopted)
	}
	check(t, w.WaitProtected(t.Context()))
	w.exec(w.server(), "create table marks (n int primary key)", "grant select on marks to "+estate.User)
	return w
}

func (w *world) end() {
	if w.Estate != nil {
		w.Stop()
	}
	devtest.End(w.T, w.env)
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// server is the one that serves.
func (w *world) server() *postgres.Server {
	w.Helper()
	g := w.status().Group
	if g.Workspace(w.space.Name).Sites[g.Active].Kind == topology.Adopted {
		return w.env.Server.Server
	}
	s, err := w.Server(w.Context(), w.space.Name)
	check(w, err)
	return s
}

func (w *world) exec(server *postgres.Server, statements ...string) {
	w.Helper()
	p := devenv.Postgres{Server: server}
	check(w, p.Exec(w.Context(), estate.Database, statements...))
}

func (w *world) status() topology.GroupStatus {
	w.Helper()
	s, err := w.Status(w.Context())
	check(w, err)
	return s
}

// write begins to write, as clients do that find the server by the group's connection string.
func (w *world) write() *ledger.Load {
	w.Helper()
	w.Write(w.Context(), estatetest.ClientsPause)
	w.more(w.space.Load(), 40)
	return w.space.Load()
}

// more waits until so much more was acknowledged.
func (w *world) more(l *ledger.Load, n int) {
	w.Helper()
	want := len(l.Commits()) + n
	devtest.Until(w, "more writes to be acknowledged", func() bool { return len(l.Commits()) >= want })
}

// record commits more marks on the server that serves, and writes down how each can be named.
func (w *world) record(more int) {
	w.Helper()
	conn, err := w.server().Open(w.Context(), estate.Database)
	check(w, err)
	defer conn.Close(context.WithoutCancel(w.Context())) //nolint:errcheck // all was said
	for range more {
		m := mark{n: len(w.marks) + 1}
		var begin, xid, end string
		check(w, conn.QueryRow(w.Context(), "select pg_current_wal_insert_lsn()::text").Scan(&begin))
		check(w, conn.QueryRow(w.Context(), "insert into marks values ($1) returning pg_current_xact_id()::text", m.n).Scan(&xid))
		check(w, conn.QueryRow(w.Context(), "select pg_current_wal_insert_lsn()::text").Scan(&end))
		if m.n%3 == 0 {
			m.point = fmt.Sprintf("mark-%d-%s", m.n, rand.Text()[:4])
			check(w, conn.QueryRow(w.Context(), "select pg_create_restore_point($1)::text", m.point).Scan(new(string)))
		}
		_, err := fmt.Sscan(xid, &m.xid)
		check(w, err)
		m.begin, err = wal.ParseLSN(begin)
		check(w, err)
		m.end, err = wal.ParseLSN(end)
		check(w, err)
		pause(2 * time.Millisecond) // the clock of a commit has microseconds, and moves on
		m.at = time.Now()
		pause(2 * time.Millisecond)
		w.marks = append(w.marks, m)
	}
}

// pause lets the clock move on: what is tested is told apart by time.
func pause(d time.Duration) { <-time.After(d) }

// shipped waits until both buckets have all marks.
func (w *world) shipped() {
	w.Helper()
	end := w.marks[len(w.marks)-1].end
	check(w, w.Until(w.Context(), 3*time.Minute, "the marks to be in both buckets", func(s topology.GroupStatus) bool {
		at := slices.IndexFunc(s.Workspaces, func(ws topology.WorkspaceStatus) bool { return ws.Workspace == w.space.Name })
		if at < 0 || s.Workspaces[at].WAL == nil {
			return false
		}
		p := s.Workspaces[at].WAL
		if p.Lineage != s.Group.Workspace(w.space.Name).Lineage || len(p.Cursors) != 2 {
			return false
		}
		return p.Cursors[0].Point.RecordEnd >= end && p.Cursors[1].Point.RecordEnd >= end
	}))
}

// marked returns how many marks a server has, and its newest: the same number, if it has a state of the record.
func (w *world) marked(conn *pgx.Conn) (count, newest int) {
	w.Helper()
	check(w, conn.QueryRow(w.Context(), "select count(*), coalesce(max(n), 0) from marks").Scan(&count, &newest))
	return count, newest
}

// holds checks that a server has the state right behind a mark.
func (w *world) holds(conn *pgx.Conn, n int, what string) {
	w.Helper()
	if count, newest := w.marked(conn); count != n || newest != n {
		w.Errorf("%s has %d marks, the newest is %d, want %d", what, count, newest, n)
	}
	r, err := ledger.Verify(w.Context(), conn, nil, 0, time.Now())
	check(w, err)
	for _, b := range r.Broken {
		w.Errorf("%s: %s", what, b)
	}
}

func (w *world) connectTo(b topology.Branch) *pgx.Conn {
	w.Helper()
	if b.Attached == nil || len(b.Attached.Endpoint.Hosts) == 0 {
		w.Fatalf("branch %s is not attached: %+v", b.Name, b)
	}
	conn, err := w.space.ConnectTo(w.Context(), b.Attached.Endpoint.Hosts[0])
	check(w, err)
	w.Cleanup(func() { conn.Close(context.Background()) }) //nolint:errcheck // only read from
	return conn
}
