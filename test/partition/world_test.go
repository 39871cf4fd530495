// Package partition_test cuts the primary region off while it goes on to serve: clients write to it after another region has taken
// over. What they were told is committed must all be found in their own lineage later, whatever of the region comes back, and
// nothing of it may touch what serves meanwhile.
package partition_test

import (
	"context"
	"crypto/rand"
	"path/filepath"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

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

// world is a group in use, whose primary region can be cut off.
type world struct {
	t   *testing.T
	env *devenv.Env
	*estate.Estate

	old    map[string]*postgres.Server // by workspace: the primary region's servers
	left   map[string]topology.Lineage // by workspace: what they write
	stuck  map[string]*ledger.Load     // by workspace: clients that know nothing of the partition
	serves map[string]written          // by workspace: the new lineage as it was before anything came back
}

// written is how far a lineage was, and the digest of all of it.
type written struct {
	lineage topology.Lineage
	at      wal.Position
	digest  archive.Sum
}

func newWorld(t *testing.T) *world {
	t.Helper()
	majors, err := devenv.Majors()
	check(t, err)
	env, err := devenv.StartEnv(t.Context(), devenv.EnvOptions{Dir: filepath.Join(devtest.Dir(t), "env"), NoUI: true, Major: majors[0], Cuts: true})
	check(t, err)
	w := &world{t: t, env: env, stuck: map[string]*ledger.Load{}, left: map[string]topology.Lineage{}, serves: map[string]written{}}
	t.Cleanup(w.end)
	w.Estate, err = estate.New(t.Context(), env, estate.Options{Adopted: true, Managed: true, Megabytes: 5})
	check(t, err)
	managed, err := w.Server(t.Context(), estate.Managed)
	check(t, err)
	w.old = map[string]*postgres.Server{estate.Adopted: env.Server.Server, estate.Managed: managed}
	check(t, w.WaitProtected(t.Context()))
	for _, s := range w.status().Group.Workspaces {
		w.left[s.Name] = *s.CurrentLineage()
	}
	return w
}

func (w *world) end() {
	devtest.End(w.t, w.env)
	for _, l := range w.stuck {
		l.Stop()
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

// store opens a region's bucket past all lines.
func (w *world) store(region string) objectstore.Store {
	w.t.Helper()
	return objectstore.Sub(devtest.Open(w.t, w.env.Regions[region].Gateway), objectstore.Root)
}

func (w *world) archive(region, workspace, lineage string) *archive.Archive {
	return archive.Open(w.store(region), estate.Group, workspace, lineage)
}

// writeOn begins to write to the primary region's servers, as clients do that are cut off together with them.
func (w *world) writeOn() {
	w.t.Helper()
	for name, server := range w.old {
		space := w.Space(name)
		l, err := ledger.Start(w.t.Context(), func(ctx context.Context) (*pgx.Conn, error) {
			return space.ConnectTo(ctx, topology.HostPort{Host: "127.0.0.1", Port: server.Port})
		}, ledger.Options{Name: "cut" + rand.Text()[:6], Pause: 5 * time.Millisecond})
		check(w.t, err)
		w.stuck[name] = l
	}
	w.moreWritten()
}

// moreWritten waits until each old server has acknowledged more.
func (w *world) moreWritten() {
	w.t.Helper()
	for name, l := range w.stuck {
		want := len(l.Commits()) + 30
		devtest.Within(w.t, time.Minute, "the old server of "+name+" to take writes", func() bool { return len(l.Commits()) >= want })
	}
}

// takeOver fails the group over to the other region while the primary's clients go on writing, and lets something be written there.
func (w *world) takeOver() {
	w.t.Helper()
	ctx := w.t.Context()
	_, err := w.Operate(ctx, estate.Failover)
	check(w.t, err)
	w.moreWritten()
	for _, ws := range w.status().Group.Workspaces {
		server, err := w.Server(ctx, ws.Name)
		check(w.t, err)
		p := devenv.Postgres{Server: server}
		check(w.t, p.Exec(ctx, estate.Database, "create table served_elsewhere as select g from generate_series(1, 100000) g"))
		l := *ws.CurrentLineage()
		if l.ID == w.left[ws.Name].ID {
			w.t.Fatalf("workspace %s still writes lineage %s", ws.Name, l.ID)
		}
		w.serves[ws.Name] = w.shipped(ws.Name, l, server)
	}
}

// shipped waits until the secondary's bucket holds what the server has written by now.
func (w *world) shipped(workspace string, l topology.Lineage, server *postgres.Server) (at written) {
	w.t.Helper()
	conn, err := server.Open(w.t.Context(), "postgres")
	check(w.t, err)
	defer conn.Close(context.WithoutCancel(w.t.Context())) //nolint:errcheck // nothing hangs on a clean goodbye
	var text string
	check(w.t, conn.QueryRow(w.t.Context(), "select pg_current_wal_flush_lsn()::text").Scan(&text))
	end, err := wal.ParseLSN(text)
	check(w.t, err)
	a := w.archive(devenv.Secondary, workspace, l.ID)
	devtest.Within(w.t, 3*time.Minute, "the new lineage of "+workspace+" to be shipped", func() bool {
		tip, err := a.Tip(w.t.Context(), l)
		at = written{l, tip.Position, tip.Digest}
		return err == nil && tip.Position.LSN >= end
	})
	return at
}

// checkUntouched compares the new lineages with what they were: not a byte of what was there is another one.
func (w *world) checkUntouched() {
	w.t.Helper()
	for name, before := range w.serves {
		a := w.archive(devenv.Secondary, name, before.lineage.ID)
		tip, err := a.Tip(w.t.Context(), before.lineage)
		check(w.t, err)
		if tip.Position == before.at {
			if tip.Digest != before.digest {
				w.t.Errorf("the new lineage of %s was changed", name)
			}
			continue
		}
		d, err := a.DigestAt(w.t.Context(), tip.Chain, before.at.LSN)
		check(w.t, err)
		if d.Sum() != before.digest {
			w.t.Errorf("the new lineage of %s was changed before %s", name, before.at)
		}
	}
}

// tail returns what the catalog says of the tail of a workspace's old lineage.
func (w *world) tail(workspace string) topology.Tail {
	for _, s := range w.status().Workspaces {
		for _, t := range s.Tails {
			if s.Workspace == workspace && t.Lineage == w.left[workspace].ID {
				return t
			}
		}
	}
	return topology.Tail{}
}

// waitTail waits until a tail is as wanted, and shows what it came to if it does not.
func (w *world) waitTail(workspace, what string, wanted func(topology.Tail) bool) topology.Tail {
	w.t.Helper()
	var last topology.Tail
	deadline := time.Now().Add(5 * time.Minute)
	for !wanted(last) {
		if time.Now().After(deadline) {
			w.t.Fatalf("the tail of %s does not become %s: %+v", workspace, what, last)
		}
		select {
		case <-time.After(500 * time.Millisecond):
		case <-w.t.Context().Done():
		}
		last = w.tail(workspace)
	}
	w.t.Logf("%s: %d transactions in %d bytes, from %s, up to %s", workspace, last.Commits, last.Bytes(), last.From, last.At)
	return last
}
