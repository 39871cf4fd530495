// Package branches_test brings back what a lost region still had, and plays with branches of a group in use, by the commands that a person
// gives.
package branches_test

import (
	"context"
	"crypto/rand"
	"path/filepath"
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
)

// world is a group of one workspace, whose primary region can be cut off.
type world struct {
	t   *testing.T
	env *devenv.Env
	*estate.Estate
	space *estate.Space

	old, new *postgres.Server // of the primary region, and of the other one
	started  string           // when the new one was
	left     topology.Lineage // that the old one writes
	stuck    *ledger.Load     // clients that are cut off together with it
	fresh    *ledger.Load     // clients of the new one
}

func newWorld(t *testing.T, workspace string) *world {
	t.Helper()
	majors, err := devenv.Majors()
	check(t, err)
	env, err := devenv.StartEnv(t.Context(), devenv.EnvOptions{Dir: filepath.Join(devtest.Dir(t), "env"), NoUI: true, Major: majors[0], Cuts: true})
	check(t, err)
	w := &world{t: t, env: env}
	t.Cleanup(w.end)
	w.Estate, err = estate.New(t.Context(), env, estate.Options{Adopted: workspace == estate.Adopted, Managed: workspace == estate.Managed, Megabytes: 2})
	check(t, err)
	w.space = w.Space(workspace)
	if w.old = env.Server.Server; workspace == estate.Managed {
		w.old, err = w.Server(t.Context(), workspace)
		check(t, err)
	}
	check(t, w.WaitProtected(t.Context()))
	w.left = *w.status().Group.Workspaces[0].CurrentLineage()
	return w
}

func (w *world) end() {
	devtest.End(w.t, w.env)
	for _, l := range []*ledger.Load{w.stuck, w.fresh} {
		if l != nil {
			l.Stop()
		}
	}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (w *world) status() topology.GroupStatus {
	w.t.Helper()
	s, err := w.Status(w.t.Context())
	check(w.t, err)
	return s
}

// write begins to write to one server and no other.
func (w *world) write(server *postgres.Server, name string) *ledger.Load {
	w.t.Helper()
	l, err := ledger.Start(w.t.Context(), func(ctx context.Context) (*pgx.Conn, error) {
		return w.space.ConnectTo(ctx, topology.HostPort{Host: "127.0.0.1", Port: server.Port})
	}, ledger.Options{Name: name + rand.Text()[:6], Pause: 5 * time.Millisecond})
	check(w.t, err)
	w.more(l)
	return l
}

// more waits until more was acknowledged.
func (w *world) more(l *ledger.Load) {
	w.t.Helper()
	want := len(l.Commits()) + 40
	devtest.Within(w.t, 2*time.Minute, "more writes to be acknowledged", func() bool { return len(l.Commits()) >= want })
}

// ingest begins to write to the primary, as clients do that are cut off together with it a moment later: what they write first arrives.
func (w *world) ingest() {
	w.t.Helper()
	w.stuck = w.write(w.old, "cut")
	first := lastEnd(w.stuck.Commits())
	check(w.t, w.Until(w.t.Context(), 2*time.Minute, "the first writes to arrive in the other region", func(s topology.GroupStatus) bool {
		for _, ws := range s.Workspaces {
			if ws.WAL != nil {
				c := ws.WAL.Cursor(devenv.Secondary)
				return c != nil && c.Point.RecordEnd >= first
			}
		}
		return false
	}))
}

// takeOver fails the group over while the primary's clients go on writing, lets clients write there too, and returns the database that
// was left behind.
func (w *world) takeOver() api.Database {
	w.t.Helper()
	_, err := w.Operate(w.t.Context(), estate.Failover)
	check(w.t, err)
	w.more(w.stuck)
	w.new, err = w.Server(w.t.Context(), w.space.Name)
	check(w.t, err)
	w.started = w.query("select pg_postmaster_start_time()::text")
	w.fresh = w.write(w.new, "new")
	behind, found := w.behind()
	if !found || behind.State != topology.Receiving || behind.Detached.Of != estate.Database {
		w.t.Fatalf("left behind is %+v", behind)
	}
	return behind
}

// behind returns what `smartdr databases` lists as system-managed, which is one at most.
func (w *world) behind() (api.Database, bool) {
	w.t.Helper()
	var all []api.Database
	check(w.t, w.env.SmartDRJSON(w.t.Context(), &all, "databases", "list", "--group", estate.Group))
	for _, d := range all {
		if d.Kind == topology.SystemManagedKind {
			return d, true
		}
	}
	return api.Database{}, false
}

// query asks the server that serves for one text.
func (w *world) query(sql string) (text string) {
	w.t.Helper()
	conn, err := w.new.Open(w.t.Context(), estate.Database)
	check(w.t, err)
	defer conn.Close(context.WithoutCancel(w.t.Context())) //nolint:errcheck // only read from
	check(w.t, conn.QueryRow(w.t.Context(), sql).Scan(&text))
	return text
}

// checkUndisturbed: the server that serves was never restarted, and none of its clients ever had to connect again.
func (w *world) checkUndisturbed() {
	w.t.Helper()
	if now := w.query("select pg_postmaster_start_time()::text"); now != w.started {
		w.t.Errorf("the server that serves was started at %s, and again at %s", w.started, now)
	}
	for _, err := range w.fresh.Errors() {
		w.t.Errorf("a client of the database that serves: %v", err)
	}
}

// waitOwnBucket waits until the bucket beside the old server holds all that its clients were told.
func (w *world) waitOwnBucket() {
	w.t.Helper()
	end := lastEnd(w.stuck.Commits())
	store := objectstore.Sub(devtest.Open(w.t, w.env.Regions[devenv.Primary].Gateway), objectstore.Root)
	a := archive.Open(store, estate.Group, w.space.Name, w.left.ID)
	devtest.Within(w.t, 2*time.Minute, "the bucket beside the old server to hold what was written", func() bool {
		tip, err := a.Tip(w.t.Context(), w.left)
		return err == nil && tip.RecordEnd >= end
	})
}
