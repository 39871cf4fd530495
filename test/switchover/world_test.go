// Package switchover_test moves a group to its other region and home again while clients write: planned, after a loss, with the old
// data and without, past the cap, and with everything killed on the way. Everything is real, and asked for by the CLI.
package switchover_test

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/smartdr/smartdr/internal/devenv"
	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/internal/devenv/estate"
	"github.com/smartdr/smartdr/internal/devenv/estate/estatetest"
	"github.com/smartdr/smartdr/internal/topology"
)

// gapCap is what planned moves get here: a busy machine is no reason to put one back. How long they take is measured by make bench.
const gapCap = 3 * time.Minute

// world is a group in use.
type world struct {
	t   *testing.T
	env *devenv.Env
	*estate.Estate
}

func newWorld(t *testing.T, major, megabytes int) *world {
	t.Helper()
	env, err := devenv.StartEnv(t.Context(), devenv.EnvOptions{Dir: filepath.Join(devtest.Dir(t), "env"), NoUI: true, Major: major})
	check(t, err)
	w := &world{t: t, env: env}
	t.Cleanup(func() {
		if w.Estate != nil {
			w.Stop()
		}
		devtest.End(t, env)
	})
	w.Estate, err = estate.New(t.Context(), env, estate.Options{Adopted: true, Managed: true, Megabytes: megabytes})
	check(t, err)
	check(t, w.WaitProtected(t.Context())) // from then on the places of both sides are known
	w.Write(t.Context(), estatetest.ClientsPause)
	return w
}

// on lets the checks of a case fail that case.
func (w *world) on(t *testing.T) *world { return &world{t: t, env: w.env, Estate: w.Estate} }

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// move carries out a planned move, and checks what every one promises: the account, the ledger, one writer, and that the group is
// protected again without anybody asking.
func (w *world) move(kind string, flags ...string) topology.Operation {
	w.t.Helper()
	ctx := w.t.Context()
	check(w.t, w.Written(ctx, 20))
	op, err := w.Operate(ctx, kind, append([]string{"--max-gap", gapCap.String()}, flags...)...)
	check(w.t, err)
	w.moved(op)
	return op
}

// moved checks a move that has completed.
func (w *world) moved(op topology.Operation) {
	w.t.Helper()
	ctx := w.t.Context()
	check(w.t, w.Written(ctx, 20))
	accounts, err := w.Verify(ctx)
	check(w.t, err)
	s, err := w.Status(ctx)
	check(w.t, err)
	if s.Group.Active != op.To || s.Group.Epoch != op.Epoch || s.Group.Operation != nil {
		w.t.Errorf("%s serves under epoch %d, held by %v; the %s led to %s and epoch %d", s.Group.Active, s.Group.Epoch, s.Group.Operation, op.Kind, op.To, op.Epoch)
	}
	for name, a := range accounts {
		w.t.Logf("%s: %d commits acknowledged, %d kept", name, a.Acknowledged, a.Kept)
	}
	if op.Kind != estate.Failover {
		w.gap(op)
	}
	for _, r := range op.Workspaces {
		if r.Moved != nil {
			w.t.Logf("%s: %.1f MB in all, %.1f MB fetched, %.1f MB reused", r.Workspace, mb(r.Moved.Bytes), mb(r.Moved.Fetched), mb(r.Moved.Reused))
		}
	}
}

func mb(n int64) float64 { return float64(n) / 1e6 }

// gap checks the time without a writer that a planned move admits to against what its clients saw.
func (w *world) gap(op topology.Operation) {
	w.t.Helper()
	seen := w.Gap()
	if op.Gap == nil || op.Gap.Length() <= 0 {
		w.t.Errorf("the account says nothing of the time without a writer: %+v", op.Gap)
		return
	}
	w.t.Logf("%s without a writer for %s, as clients saw it %s", op.Kind, op.Gap.Length().Round(time.Millisecond), seen.Round(time.Millisecond))
	if op.Gap.Length() > gapCap {
		w.t.Errorf("the cap of %s is passed", gapCap)
	}
	// Clients notice the fence a moment later, and find the new server a moment after it was published: longer on a machine that is so
	// busy that they do not get on where nothing keeps them from it.
	slow := w.hesitation(op.StartedAt)
	if seen > op.Gap.Length()+10*(time.Second+slow) {
		w.t.Errorf("clients were without a writer for %s, and the account says %s; with a server they did not get on for %s at the most", seen, op.Gap.Length(), slow)
	}
}

// hesitation is the longest time since a moment in which no client of a workspace got on although one server served them before and after.
func (w *world) hesitation(since time.Time) (longest time.Duration) {
	for _, s := range w.Spaces {
		all := s.Load().Commits()
		for i := 1; i < len(all); i++ {
			if was := all[i-1]; was.At.After(since) && was.Timeline == all[i].Timeline {
				longest = max(longest, all[i].At.Sub(was.At))
			}
		}
	}
	return longest
}

// workspace returns a workspace as the catalog has it.
func (w *world) workspace(name string) topology.Workspace {
	w.t.Helper()
	s, err := w.Status(w.t.Context())
	check(w.t, err)
	found := s.Group.Workspace(name)
	if found == nil {
		w.t.Fatalf("the group has no workspace %s", name)
	}
	return *found
}

// knock tries to get into a workspace's ledger at one address, as its owner.
func (w *world) knock(name string, at topology.Endpoint) error {
	w.t.Helper()
	if len(at.Hosts) == 0 {
		w.t.Fatalf("no address of %s", name)
	}
	conn, err := w.Space(name).ConnectTo(w.t.Context(), at.Hosts[0])
	if err != nil {
		return err
	}
	return conn.Close(w.t.Context())
}

// refuses checks that nobody gets in at an address: because nothing listens there, or because the server is fenced.
func (w *world) refuses(name string, at topology.Endpoint, listens bool) {
	w.t.Helper()
	err := w.knock(name, at)
	var said *pgconn.PgError
	switch {
	case err == nil:
		w.t.Errorf("%s lets its owner in at %v", name, at.Hosts)
	case listens && !errors.As(err, &said):
		w.t.Errorf("the fenced server of %s at %v: %v", name, at.Hosts, err)
	case !listens && !errors.Is(err, syscall.ECONNREFUSED):
		w.t.Errorf("at %v, where %s was served, connections are not refused: %v", at.Hosts, name, err)
	}
}

// standbys returns the folders of standbys in a region.
func (w *world) standbys(region string) (folders []string) {
	w.t.Helper()
	for _, h := range w.env.Regions[region].Hosts {
		left, err := filepath.Glob(filepath.Join(h.DataDir(), "*", "*", "s-*"))
		check(w.t, err)
		folders = append(folders, left...)
	}
	return folders
}

// running returns the instance folders with a running server in a region.
func (w *world) running(region string) (folders []string) {
	w.t.Helper()
	servers, err := w.env.Regions[region].Servers()
	check(w.t, err)
	for _, s := range servers {
		if _, runs := s.Running(w.t.Context()); runs {
			folders = append(folders, s.InstanceDir())
		}
	}
	return folders
}

// exec runs statements in a workspace's ledger database as its superuser, where it serves.
func (w *world) exec(name string, statements ...string) {
	w.t.Helper()
	server, err := w.Server(w.t.Context(), name)
	check(w.t, err)
	p := devenv.Postgres{Server: server}
	check(w.t, p.Exec(w.t.Context(), estate.Database, statements...))
}

// ask returns one text that a workspace's server gives, as its superuser, where it serves.
func (w *world) ask(name, query string) (text string) {
	w.t.Helper()
	server, err := w.Server(w.t.Context(), name)
	check(w.t, err)
	conn, err := server.Open(w.t.Context(), estate.Database)
	check(w.t, err)
	defer conn.Close(context.WithoutCancel(w.t.Context())) //nolint:errcheck // only read from
	check(w.t, conn.QueryRow(w.t.Context(), query).Scan(&text))
	return text
}

func (w *world) smartdr(args ...string) string {
	w.t.Helper()
	out, err := w.env.SmartDR(w.t.Context(), args...)
	check(w.t, err)
	return out
}

// refused runs the CLI, which must refuse with a text.
func (w *world) refused(want string, args ...string) {
	w.t.Helper()
	out, err := w.env.SmartDR(w.t.Context(), args...)
	if err == nil || !strings.Contains(err.Error(), want) {
		w.t.Errorf("smartdr %s: want %q, got %v\n%s", strings.Join(args, " "), want, err, out)
	}
}

func full() bool { return devtest.Full() }
