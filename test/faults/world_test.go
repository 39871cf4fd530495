// Package faults_test kills things. Each test starts two regions of its own, runs a ledger of acknowledged commits against the
// primary, kills processes with SIGKILL at chosen moments, fails over, and checks what was promised.
package faults_test

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/smartdr/smartdr/internal/devenv"
	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/internal/devenv/ledger"
	"github.com/smartdr/smartdr/internal/topology"
)

const (
	group     = devenv.GroupName
	workspace = "main"
	appDB     = "app"
)

// world is two regions, and a ledger in database "app" of the primary server.
type world struct {
	t    *testing.T
	env  *devenv.Env
	load *ledger.Load
	past []ledger.Commit // of loads that ended with their server
	cut  time.Time       // when the primary region was killed
}

// newWorld starts two regions with a PostgreSQL of the given major and a database of some MB.
func newWorld(t *testing.T, major, megabytes int) *world {
	t.Helper()
	env, err := devenv.StartEnv(t.Context(), devenv.EnvOptions{
		Dir: filepath.Join(devtest.Dir(t), "env"), Major: major, NoUI: true,
		AfterServer: func(ctx context.Context, p *devenv.Postgres) error { return createDatabase(ctx, p, megabytes) },
	})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, env: env}
	t.Cleanup(w.end)
	return w
}

func (w *world) end() {
	devtest.End(w.t, w.env)
	if w.load != nil {
		w.load.Stop()
	}
}

func createDatabase(ctx context.Context, p *devenv.Postgres, megabytes int) error {
	if err := p.Exec(ctx, "postgres", "create database "+appDB); err != nil {
		return err
	}
	conn, err := p.Open(ctx, appDB)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx)) //nolint:errcheck // nothing hangs on a clean goodbye
	if err := ledger.Setup(ctx, conn); err != nil {
		return err
	}
	// 8 random hexadecimal digests to a row: as hard to compress as data gets, and about 4,000 rows to a MB.
	_, err = conn.Exec(ctx, `create table ballast as select g as id, (select string_agg(md5(g::text || n), '') from generate_series(1, 7) n) as filler
		from generate_series(1, $1::int * 4000) g`, megabytes)
	return err
}

// startLoad begins to write, and goes on until the server is gone.
func (w *world) startLoad(pause time.Duration) {
	w.t.Helper()
	l, err := ledger.Start(w.t.Context(), func(ctx context.Context) (*pgx.Conn, error) { return w.env.Server.Open(ctx, appDB) },
		ledger.Options{Name: fmt.Sprintf("load%d", time.Now().UnixNano()), Pause: pause})
	if err != nil {
		w.t.Fatal(err)
	}
	w.load = l
}

// moreLoad begins to write again after the server was restarted.
func (w *world) moreLoad() {
	w.t.Helper()
	w.past = w.commits()
	w.startLoad(5 * time.Millisecond)
}

// commits returns all that was ever acknowledged.
func (w *world) commits() []ledger.Commit {
	return append(slices.Clone(w.past), w.load.Commits()...)
}

// smartdr runs the CLI and fails the test unless it exits with 0.
func (w *world) smartdr(args ...string) string {
	w.t.Helper()
	out, err := w.try(args...)
	if err != nil {
		w.t.Fatal(err)
	}
	return out
}

// try runs the CLI.
func (w *world) try(args ...string) (stdout string, err error) {
	return w.env.SmartDR(w.t.Context(), args...)
}

// replicate creates the group and configures replication; it does not wait until that is in sync.
func (w *world) replicate() {
	w.t.Helper()
	w.smartdr("group", "create", "-f", w.env.GroupPath())
	w.smartdr("configure", "--group", group, "--secondary", devenv.Secondary)
}

func (w *world) status() (s topology.GroupStatus, err error) {
	out, err := w.try("status", "--group", group, "-o", "json")
	if err != nil {
		return s, err
	}
	return s, json.Unmarshal([]byte(out), &s)
}

// cursor returns how far a region's bucket is, as announced; false when that is not known.
func (w *world) cursor(region string) (topology.Cursor, bool) {
	s, err := w.status()
	if err != nil || len(s.Workspaces) != 1 || s.Workspaces[0].WAL == nil {
		return topology.Cursor{}, false
	}
	for _, c := range s.Workspaces[0].WAL.Cursors {
		if c.Region == region {
			return c, true
		}
	}
	return topology.Cursor{}, false
}

// waitSynced waits until every database is Active.
func (w *world) waitSynced() {
	w.t.Helper()
	devtest.Until(w.t, "every database to be Active", func() bool {
		s, err := w.status()
		if err != nil || len(s.Workspaces) != 1 || len(s.Workspaces[0].Databases) == 0 {
			return false
		}
		for _, d := range s.Workspaces[0].Databases {
			if d.State != topology.Active {
				return false
			}
		}
		return true
	})
}

// waitShipped waits until a region's bucket holds everything that the server had written when this was called.
func (w *world) waitShipped(region string) {
	w.t.Helper()
	var text string
	conn, err := w.env.Server.Open(w.t.Context(), appDB)
	if err != nil {
		w.t.Fatal(err)
	}
	defer conn.Close(w.t.Context()) //nolint:errcheck // nothing hangs on a clean goodbye
	if err := conn.QueryRow(w.t.Context(), `select pg_current_wal_flush_lsn()::text`).Scan(&text); err != nil {
		w.t.Fatal(err)
	}
	target := lsn(w.t, text)
	devtest.Until(w.t, fmt.Sprintf("bucket of %s to hold WAL up to %s", region, target), func() bool {
		c, known := w.cursor(region)
		return known && c.Point.At.LSN >= target
	})
}

// lose kills the primary region.
func (w *world) lose() {
	w.t.Helper()
	w.cut = time.Now()
	if err := w.env.KillRegion(w.t.Context(), devenv.Primary); err != nil {
		w.t.Fatal(err)
	}
	if w.load != nil {
		w.load.Wait()
	}
}
