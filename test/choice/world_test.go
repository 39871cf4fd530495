// Package choice_test fails over with a choice: to a time, to an LSN, only if no more is lost than is accepted, or not at all.
package choice_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/smartdr/smartdr/internal/devenv"
	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/internal/devenv/ledger"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

const (
	group = devenv.GroupName
	home  = devenv.Primary
	away  = devenv.Secondary
	appDB = "app"
)

// world is two regions, and a ledger in database "app" of the primary server.
type world struct {
	*testing.T
	env *devenv.Env
}

func newWorld(t *testing.T) *world {
	t.Helper()
	env, err := devenv.StartEnv(t.Context(), devenv.EnvOptions{
		Dir: filepath.Join(devtest.Dir(t), "env"), NoUI: true,
		AfterServer: func(ctx context.Context, p *devenv.Postgres) error {
			if err := p.Exec(ctx, "postgres", "create database "+appDB); err != nil {
				return err
			}
			conn, err := p.Open(ctx, appDB)
			if err != nil {
				return err
			}
			defer conn.Close(context.WithoutCancel(ctx)) //nolint:errcheck // nothing hangs on a clean goodbye
			return ledger.Setup(ctx, conn)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { devtest.End(t, env) })
	return &world{t, env}
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// replicate creates the group, and waits until a failover would bring everything back.
func (w *world) replicate() {
	w.Helper()
	w.ok("group", "create", "-f", w.env.GroupPath())
	w.ok("configure", "--group", group, "--secondary", away)
	w.waitActive()
}

func (w *world) waitActive() {
	w.Helper()
	devtest.Until(w, "every database to be Active", func() bool {
		s := w.status()
		return len(s.Workspaces) == 1 && len(s.Workspaces[0].Databases) > 0 &&
			!slices.ContainsFunc(s.Workspaces[0].Databases, func(d topology.DatabaseStatus) bool { return d.State != topology.Active })
	})
}

// ok runs the CLI and fails the test unless it exits with 0.
func (w *world) ok(args ...string) string {
	w.Helper()
	out, err := w.try(args...)
	w.must(err)
	return out
}

func (w *world) try(args ...string) (string, error) {
	return w.env.SmartDR(w.Context(), args...)
}

// refused runs the CLI and fails the test unless it is refused with these words.
func (w *world) refused(words string, args ...string) {
	w.Helper()
	out, err := w.try(args...)
	if err == nil {
		w.Fatalf("smartdr %s was not refused: %s", strings.Join(args, " "), out)
	}
	if !strings.Contains(err.Error(), words) {
		w.Errorf("smartdr %s was refused with %v, want %q", strings.Join(args, " "), err, words)
	}
}

func (w *world) status() (s topology.GroupStatus) {
	out, err := w.try("status", "--group", group, "-o", "json")
	if err == nil {
		err = json.Unmarshal([]byte(out), &s)
	}
	if err != nil {
		w.Logf("status: %v", err)
	}
	return s
}

// cursor returns how far a region's bucket is, as announced for the current lineage.
func (w *world) cursor(region string) (c topology.Cursor) {
	s := w.status()
	if len(s.Workspaces) != 1 || s.Workspaces[0].WAL == nil || s.Workspaces[0].WAL.Lineage != s.Group.Workspaces[0].Lineage {
		return c
	}
	if c := s.Workspaces[0].WAL.Cursor(region); c != nil {
		return *c
	}
	return c
}

// operations returns the group's operations, newest first.
func (w *world) operations() (ops []topology.Operation) {
	w.Helper()
	w.must(json.Unmarshal([]byte(w.ok("operations", "--group", group, "-o", "json")), &ops))
	return ops
}

// write has a ledger written to a server until its load is stopped.
func (w *world) write(server *postgres.Server) *ledger.Load {
	w.Helper()
	l, err := ledger.Start(w.Context(), func(ctx context.Context) (*pgx.Conn, error) { return server.Open(ctx, appDB) },
		ledger.Options{Name: fmt.Sprintf("load%d", time.Now().UnixNano()), Pause: 3 * time.Millisecond})
	w.must(err)
	return l
}

// written waits until a load has so many acknowledged commits more.
func (w *world) written(l *ledger.Load, more int) {
	w.Helper()
	want := len(l.Commits()) + more
	devtest.Until(w, "the load to commit", func() bool { return len(l.Commits()) >= want })
}

// shipped waits until a region's bucket is announced to hold a commit.
func (w *world) shipped(region string, up wal.LSN) {
	w.Helper()
	devtest.Until(w, fmt.Sprintf("the bucket of %s to hold %s", region, up), func() bool { return w.cursor(region).Point.RecordEnd >= up })
}

// server is the one that a region's worker has made.
func (w *world) server(region string) *postgres.Server {
	w.Helper()
	all, err := w.env.Regions[region].Servers()
	w.must(err)
	if len(all) != 1 {
		w.Fatalf("%d servers in %s, want 1", len(all), region)
	}
	return all[0]
}

// settled lists what the buckets hold once nothing is under way any more of what was asked for before.
func (w *world) settled() (all []string) {
	w.Helper()
	devtest.Until(w, "the buckets to come to rest", func() bool {
		before := all
		all = w.objects()
		time.Sleep(time.Second) // a request of a worker that was stopped is over long before
		return before != nil && slices.Equal(before, all)
	})
	return all
}

// objects lists what the buckets hold: names, sizes and times of change.
func (w *world) objects() (all []string) {
	w.Helper()
	for _, region := range []string{home, away} {
		root := w.env.Regions[region].Gateway.DataDir()
		w.must(filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil || !d.Type().IsRegular() {
				return err
			}
			i, err := d.Info()
			all = append(all, fmt.Sprintf("%s %d %s", path, i.Size(), i.ModTime()))
			return err
		}))
	}
	return all
}
