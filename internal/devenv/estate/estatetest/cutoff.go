package estatetest

import (
	"context"
	"crypto/rand"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/smartdr/smartdr/internal/api"
	"github.com/smartdr/smartdr/internal/archive"
	"github.com/smartdr/smartdr/internal/devenv"
	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/internal/devenv/estate"
	"github.com/smartdr/smartdr/internal/devenv/ledger"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/topology"
)

// CutOff is a group in use whose primary region can be cut off by Env.Cuts, with clients that know nothing of that: each writes to the
// server that it knows, and to no other.
type CutOff struct {
	*World
	Old   map[string]*postgres.Server // by workspace: the primary region's servers
	Left  map[string]topology.Lineage // by workspace: what they write
	Stuck map[string]*ledger.Load     // by workspace: their clients; none before WriteOn

	loads []*ledger.Load
}

// StartCutOff starts such a group on the oldest PostgreSQL major.
func StartCutOff(t *testing.T, o estate.Options) *CutOff {
	t.Helper()
	w := &CutOff{Old: map[string]*postgres.Server{}, Left: map[string]topology.Lineage{}, Stuck: map[string]*ledger.Load{}}
	t.Cleanup(w.stop) // after the servers have ended: a client may wait for one that says nothing
	w.World = Start(t, devenv.EnvOptions{Major: devtest.OldestMajor(t), Cuts: true}, o)
	for _, ws := range w.Status().Group.Workspaces {
		w.Old[ws.Name], w.Left[ws.Name] = w.Server(ws.Name), *ws.CurrentLineage()
	}
	return w
}

func (w *CutOff) stop() {
	for _, l := range w.loads {
		l.Stop()
	}
}

// Client connects a workspace's client to one server and no other.
func (w *CutOff) Client(ctx context.Context, workspace string, s *postgres.Server) (*pgx.Conn, error) {
	return w.Space(workspace).ConnectTo(ctx, topology.HostPort{Host: "127.0.0.1", Port: s.Port})
}

// WriteTo begins to write to one server and no other, until the test ends, and waits for the first commits.
func (w *CutOff) WriteTo(workspace string, s *postgres.Server) *ledger.Load {
	w.Helper()
	l, err := ledger.Start(w.Context(), func(ctx context.Context) (*pgx.Conn, error) { return w.Client(ctx, workspace, s) },
		ledger.Options{Name: "to" + rand.Text()[:6], Pause: ClientsPause})
	w.Check(err)
	w.loads = append(w.loads, l)
	w.More(l, enough)
	return l
}

// enough commits to tell some from all.
const enough = 40

// WriteOn begins to write to the primary region's servers, and waits for the first commits.
func (w *CutOff) WriteOn() {
	w.Helper()
	for name, server := range w.Old {
		w.Stuck[name] = w.WriteTo(name, server)
	}
}

// WriteMore waits until the primary region's servers have acknowledged more.
func (w *CutOff) WriteMore() {
	w.Helper()
	for _, l := range w.Stuck {
		w.More(l, enough)
	}
}

// WaitArrived waits until the other region's bucket holds all that the clients were told by now.
func (w *CutOff) WaitArrived() {
	w.Helper()
	for name, l := range w.Stuck {
		w.WaitShipped(name, devenv.Secondary, ledger.End(l.Commits()))
	}
}

// TakeOver fails the group over while the clients go on writing to the primary region, which they still do then.
func (w *CutOff) TakeOver() {
	w.Helper()
	w.Operate(estate.Failover)
	w.WriteMore()
	for _, ws := range w.Status().Group.Workspaces {
		if ws.Lineage == w.Left[ws.Name].ID {
			w.Fatalf("workspace %s still writes lineage %s", ws.Name, ws.Lineage)
		}
	}
}

// WaitOwnBucket waits until the bucket beside a workspace's old server holds all that its clients were told by now.
func (w *CutOff) WaitOwnBucket(workspace string) {
	w.Helper()
	end, l := ledger.End(w.Stuck[workspace].Commits()), w.Left[workspace]
	a := w.Archive(devenv.Primary, workspace, l.ID)
	devtest.Until(w, "the bucket beside "+workspace+" to hold what was written", func() bool {
		tip, err := a.Tip(w.Context(), l)
		return err == nil && tip.RecordEnd >= end
	})
}

// Archive opens a lineage's WAL in a region's bucket, past all lines that may be cut.
func (w *CutOff) Archive(region, workspace, lineage string) *archive.Archive {
	w.Helper()
	return archive.Open(w.Store(region), estate.Group, workspace, lineage)
}

// Behind returns what `smartdr databases` lists as system-managed: one at most, in a group of one workspace.
func (w *CutOff) Behind() (found api.Database, is bool) {
	w.Helper()
	var all []api.Database
	w.JSON(&all, "databases", "list", "--group", estate.Group)
	for _, d := range all {
		if d.Kind == topology.SystemManagedKind {
			if is {
				w.Fatalf("both %s and %s were left behind", found.Name, d.Name)
			}
			found, is = d, true
		}
	}
	return found, is
}
