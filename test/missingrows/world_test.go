// Package missingrows_test finds what a lost region had committed and the one that serves lacks, and merges it, by the commands that a person gives.
package missingrows_test

import (
	"context"
	"crypto/rand"
	"errors"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/smartdr/smartdr/internal/api"
	"github.com/smartdr/smartdr/internal/archive"
	"github.com/smartdr/smartdr/internal/devenv"
	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/internal/devenv/estate"
	"github.com/smartdr/smartdr/internal/devenv/ledger"
	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

const patience = 4 * time.Minute

// world is a group of one workspace, whose primary region can be cut off.
type world struct {
	t   *testing.T
	env *devenv.Env
	*estate.Estate
	space *estate.Space

	old, new *postgres.Server
	left     topology.Lineage // that the old one writes
	stuck    *ledger.Load     // clients that are cut off together with it
	fresh    *events          // clients of the new one
}

func newWorld(t *testing.T) *world {
	t.Helper()
	majors, err := devenv.Majors()
	check(t, err)
	env, err := devenv.StartEnv(t.Context(), devenv.EnvOptions{Dir: filepath.Join(devtest.Dir(t), "env"), NoUI: true, Major: majors[0], Cuts: true})
	check(t, err)
	w := &world{t: t, env: env}
	t.Cleanup(w.end)
	w.Estate, err = estate.New(t.Context(), env, estate.Options{Managed: true, Megabytes: 1})
	check(t, err)
	w.space = w.Space(estate.Managed)
	w.old, err = w.Server(t.Context(), estate.Managed)
	check(t, err)
	check(t, w.WaitProtected(t.Context()))
	st, err := w.Status(t.Context())
	check(t, err)
	w.left = *st.Group.Workspaces[0].CurrentLineage()
	return w
}

func (w *world) end() {
	devtest.End(w.t, w.env)
	if w.stuck != nil {
		w.stuck.Stop()
	}
	if w.fresh != nil {
		w.fresh.end()
	}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// connect connects a client to one server and no other.
func (w *world) connect(ctx context.Context, s *postgres.Server) (*pgx.Conn, error) {
	return w.space.ConnectTo(ctx, topology.HostPort{Host: "127.0.0.1", Port: s.Port})
}

// sql runs statements on one server, each in a transaction of its own.
func (w *world) sql(s *postgres.Server, statements ...string) {
	w.t.Helper()
	conn, err := w.connect(w.t.Context(), s)
	check(w.t, err)
	defer conn.Close(context.WithoutCancel(w.t.Context())) //nolint:errcheck // all was said
	for _, text := range statements {
		_, err := conn.Exec(w.t.Context(), text)
		check(w.t, err)
	}
}

// ask asks the server that serves for one text.
func (w *world) ask(query string) (text string) {
	w.t.Helper()
	conn, err := w.new.Open(w.t.Context(), estate.Database)
	check(w.t, err)
	defer conn.Close(context.WithoutCancel(w.t.Context())) //nolint:errcheck // only read from
	check(w.t, conn.QueryRow(w.t.Context(), query).Scan(&text))
	return text
}

// loseRegion cuts a primary off that goes on taking writes, and fails over. Its bucket comes back, without what was written last. It returns what the
// clients were told of which the bucket has all.
func (w *world) loseRegion() []ledger.Commit {
	w.t.Helper()
	w.sql(w.old, "create table notes (id int primary key, text text)", "insert into notes values (1, 'both'), (2, 'both'), (3, 'both')",
		"create table events (client text, n int, primary key (client, n))", "create table held (id int primary key, text text)", "insert into held values (1, 'before')")
	commit := w.hold()
	var err error
	w.stuck, err = ledger.Start(w.t.Context(), func(ctx context.Context) (*pgx.Conn, error) { return w.connect(ctx, w.old) },
		ledger.Options{Name: "cut" + rand.Text()[:6], Pause: 5 * time.Millisecond})
	check(w.t, err)
	w.more()
	w.waitArrived(lastEnd(w.stuck.Commits()))
	w.env.Cuts.Isolate(devenv.Refusing)
	w.more()
	w.sql(w.old, "update notes set text = 'old' where id = 1", "delete from notes where id = 2", "insert into notes values (4, 'old')")
	commit()
	_, err = w.Operate(w.t.Context(), estate.Failover)
	check(w.t, err)
	w.more()
	w.new, err = w.Server(w.t.Context(), w.space.Name)
	check(w.t, err)
	w.sql(w.new, "update notes set text = 'new' where id = 1", "update notes set text = 'new' where id = 3")
	w.fresh = startEvents(w)
	commits := w.stuck.Commits()
	w.waitOwnBucket(lastEnd(commits))
	check(w.t, w.env.Regions[devenv.Primary].Worker.Kill())
	w.more()
	w.stuck.Stop()
	w.env.Cuts.Heal()
	return commits
}

// hold begins a transaction on the old server that locks a table, and changes it, and returns what commits it. It is open at the fork: no standby lets
// anybody read that table there.
func (w *world) hold() (commit func()) {
	w.t.Helper()
	conn, err := w.connect(w.t.Context(), w.old)
	check(w.t, err)
	_, err = conn.Exec(w.t.Context(), "begin; lock table held; update held set text = 'after'; insert into held values (2, 'after')")
	check(w.t, err)
	return func() {
		w.t.Helper()
		_, err := conn.Exec(w.t.Context(), "commit")
		check(w.t, err)
		check(w.t, conn.Close(w.t.Context()))
	}
}

// more waits until more was acknowledged to the clients of the old server.
func (w *world) more() {
	w.t.Helper()
	want := len(w.stuck.Commits()) + 40
	devtest.Within(w.t, patience, "more writes to be acknowledged", func() bool { return len(w.stuck.Commits()) >= want })
}

// lastEnd is the end of the newest commit whose end its client was told.
func lastEnd(commits []ledger.Commit) (end wal.LSN) {
	for _, c := range commits {
		if c.After != ^wal.LSN(0) {
			end = max(end, c.After)
		}
	}
	return end
}

// waitArrived waits until the other region has what was written up to there.
func (w *world) waitArrived(end wal.LSN) {
	w.t.Helper()
	check(w.t, w.Until(w.t.Context(), patience, "the first writes to arrive in the other region", func(s topology.GroupStatus) bool {
		for _, ws := range s.Workspaces {
			if ws.WAL != nil {
				c := ws.WAL.Cursor(devenv.Secondary)
				return c != nil && c.Point.RecordEnd >= end
			}
		}
		return false
	}))
}

// waitOwnBucket waits until the bucket beside the old server holds what was written up to an end.
func (w *world) waitOwnBucket(end wal.LSN) {
	w.t.Helper()
	store := objectstore.Sub(devtest.Open(w.t, w.env.Regions[devenv.Primary].Gateway), objectstore.Root)
	a := archive.Open(store, estate.Group, w.space.Name, w.left.ID)
	devtest.Within(w.t, patience, "the bucket beside the old server to hold what was written", func() bool {
		tip, err := a.Tip(w.t.Context(), w.left)
		return err == nil && tip.RecordEnd >= end
	})
}

// behind returns what `smartdr databases` lists as system-managed.
func (w *world) behind() (found api.Database) {
	w.t.Helper()
	var all []api.Database
	check(w.t, w.env.SmartDRJSON(w.t.Context(), &all, "databases", "list", "--group", estate.Group))
	for _, d := range all {
		if d.Kind == topology.SystemManagedKind {
			found = d
		}
	}
	return found
}

// waits is what the catalog says of what was left behind.
func (w *world) waits() topology.Waits {
	w.t.Helper()
	st, err := w.Status(w.t.Context())
	check(w.t, err)
	all := st.Waiting()
	if len(all) != 1 {
		w.t.Fatalf("%d databases were left behind", len(all))
	}
	return all[0]
}

// events is a client that writes one row after the other, and remembers what was acknowledged.
type events struct {
	stop  context.CancelFunc
	ended chan struct{}

	mu   sync.Mutex
	last int
	err  error
}

func startEvents(w *world) *events {
	w.t.Helper()
	ctx, stop := context.WithCancel(w.t.Context())
	conn, err := w.connect(ctx, w.new)
	check(w.t, err)
	e := &events{stop: stop, ended: make(chan struct{})}
	go func() {
		defer close(e.ended)
		defer conn.Close(context.WithoutCancel(ctx)) //nolint:errcheck // all was said
		for n := 1; ctx.Err() == nil; n++ {
			_, err := conn.Exec(ctx, "insert into events values ('new', $1)", n)
			e.mu.Lock()
			if e.err = err; err == nil {
				e.last = n
			}
			e.mu.Unlock()
			if err != nil {
				return
			}
			time.Sleep(5 * time.Millisecond) // a client that is not in a hurry
		}
	}()
	return e
}

// end stops the client, and returns how many rows were acknowledged.
func (e *events) end() (int, error) {
	e.stop()
	<-e.ended
	e.mu.Lock()
	defer e.mu.Unlock()
	if errors.Is(e.err, context.Canceled) {
		return e.last, nil
	}
	return e.last, e.err
}
