// Package missingrows_test finds what a lost region had committed and the one that serves lacks, and merges it, by the commands that a person gives.
package missingrows_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/smartdr/smartdr/internal/api"
	"github.com/smartdr/smartdr/internal/devenv"
	"github.com/smartdr/smartdr/internal/devenv/estate"
	"github.com/smartdr/smartdr/internal/devenv/estate/estatetest"
	"github.com/smartdr/smartdr/internal/devenv/ledger"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/topology"
)

// world is a group of one workspace, whose primary region can be cut off.
type world struct {
	*estatetest.CutOff

	old, new *postgres.Server
	stuck    *ledger.Load // clients that are cut off together with the old one
	fresh    *events      // clients of the new one

	crowded bool // the transaction that is open at the fork has more subtransactions than standbys are told of
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{}
	t.Cleanup(func() { // after the servers have ended
		if w.fresh != nil {
			_, _ = w.fresh.end() // the test has looked at it before, if it came so far
		}
	})
	w.CutOff = estatetest.StartCutOff(t, estate.Options{Managed: true, Megabytes: 1})
	w.old = w.Old[estate.Managed]
	return w
}

// connect connects a client to one server and no other.
func (w *world) connect(ctx context.Context, s *postgres.Server) (*pgx.Conn, error) {
	return w.Client(ctx, estate.Managed, s)
}

// sql runs statements on one server as a client, each in a transaction of its own.
func (w *world) sql(s *postgres.Server, statements ...string) {
	w.Helper()
	conn, err := w.connect(w.Context(), s)
	w.Check(err)
	defer conn.Close(context.WithoutCancel(w.Context())) //nolint:errcheck // all was said
	for _, text := range statements {
		_, err := conn.Exec(w.Context(), text)
		w.Check(err)
	}
}

// ask asks the server that serves for one text.
func (w *world) ask(query string) string {
	w.Helper()
	return w.Ask(w.new, estate.Database, query)
}

// loseRegion cuts a primary off that goes on taking writes, and fails over. Its bucket comes back, without what was written last. It returns what the
// clients were told of which the bucket has all.
func (w *world) loseRegion() []ledger.Commit {
	w.Helper()
	w.sql(w.old, "create table notes (id int primary key, text text)", "insert into notes values (1, 'both'), (2, 'both'), (3, 'both')",
		"create table events (client text, n int, primary key (client, n))", "create table held (id int primary key, text text)", "insert into held values (1, 'before')")
	commit := w.hold()
	w.WriteOn()
	w.stuck = w.Stuck[estate.Managed]
	w.WaitArrived()
	w.Env.Cuts.Isolate(devenv.Refusing)
	w.WriteMore()
	w.sql(w.old, "update notes set text = 'old' where id = 1", "delete from notes where id = 2", "insert into notes values (4, 'old')")
	commit()
	w.TakeOver()
	w.new = w.Server(estate.Managed)
	w.sql(w.new, "update notes set text = 'new' where id = 1", "update notes set text = 'new' where id = 3")
	w.fresh = startEvents(w)
	commits := w.stuck.Commits()
	w.WaitOwnBucket(estate.Managed)
	w.Check(w.Env.Regions[devenv.Primary].Worker.Kill())
	w.WriteMore()
	w.stuck.Stop()
	w.Env.Cuts.Heal()
	return commits
}

// hold begins a transaction on the old server that locks a table, and changes it, and returns what commits it. It is open at the fork: no standby lets
// anybody read that table there.
func (w *world) hold() (commit func()) {
	w.Helper()
	conn, err := w.connect(w.Context(), w.old)
	w.Check(err)
	_, err = conn.Exec(w.Context(), "begin; lock table held; update held set text = 'after'; insert into held values (2, 'after')")
	w.Check(err)
	if w.crowded {
		w.crowd(conn)
	}
	return func() {
		w.Helper()
		_, err := conn.Exec(w.Context(), "commit")
		w.Check(err)
		w.Check(conn.Close(w.Context()))
	}
}

// crowd begins more subtransactions than a server tells standbys of, and then takes the snapshot that the copy is made of.
func (w *world) crowd(conn *pgx.Conn) {
	w.Helper()
	for range 100 {
		_, err := conn.Exec(w.Context(), "savepoint s; update held set text = 'after' where id = 2")
		w.Check(err)
	}
	w.SmartDR("snapshot", "take", "--group", estate.Group)
}

// behind returns what `smartdr databases` lists as system-managed; the zero value when there is none.
func (w *world) behind() api.Database {
	w.Helper()
	found, _ := w.Behind()
	return found
}

// waits is what the catalog says of what was left behind.
func (w *world) waits() topology.Waits {
	w.Helper()
	all := w.Status().Waiting()
	if len(all) != 1 {
		w.Fatalf("%d databases were left behind", len(all))
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
	w.Helper()
	ctx, stop := context.WithCancel(w.Context())
	conn, err := w.connect(ctx, w.new)
	w.Check(err)
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
