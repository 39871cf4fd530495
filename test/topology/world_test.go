// Package topology_test loses a region in which a whole topology lived, and looks for it in the other one: three workspaces with
// roles, access rules, pipelines, settings and everything that PostgreSQL keeps outside of tables. Servers, object stores,
// Temporal, workers and the CLI are real. What is compared is read by queries of its own, not by the product's.
package topology_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"github.com/smartdr/smartdr/internal/devenv"
	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/internal/devenv/ledger"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

const group = devenv.GroupName

// world is a primary region with a topology in it, a secondary region with nothing but a bucket and a worker, and a server
// outside of both that feeds a subscription.
type world struct {
	t         *testing.T
	env       *devenv.Env
	feed      *devenv.Postgres
	spaces    []*space
	passwords map[string]string // by role
	cut       time.Time         // when the primary region was killed
}

// space is a workspace: where it was, and after a failover where it is.
type space struct {
	name   string
	was    *devenv.Postgres
	is     *postgres.Server // nil before the failover
	load   *ledger.Load
	before inventory
}

// The workspaces. Each has database bank, with a ledger that belongs to role teller.
const (
	mainSpace   = "main"    // adopted: most of what there is to lose is here
	ordersSpace = "orders"  // another segment size, no checksums
	reportSpace = "reports" // sorts by ICU

	bankDB, teller = "bank", "teller"
)

// newWorld starts everything and fills it.
func newWorld(t *testing.T, major int) *world {
	t.Helper()
	w := &world{t: t, passwords: map[string]string{}}
	env, err := devenv.StartEnv(t.Context(), devenv.EnvOptions{
		Dir: filepath.Join(devtest.Dir(t), "env"), Major: major, NoUI: true, Settings: mainSettings,
	})
	if err != nil {
		t.Fatal(err)
	}
	w.env = env
	t.Cleanup(w.end)
	w.addWorkspace(mainSpace, env.Server)
	w.addWorkspace(ordersSpace, w.startServer(ordersSpace, devenv.PostgresOptions{
		Major: major, Init: postgres.InitOptions{SegmentSize: wal.SegmentSize(1 << 20)}}))
	w.addWorkspace(reportSpace, w.startServer(reportSpace, devenv.PostgresOptions{Major: major, Init: postgres.InitOptions{Checksums: true}}))
	w.feed = w.startServer("feed", devenv.PostgresOptions{Major: major, Settings: map[string]string{"wal_level": "logical"}})
	return w
}

// startServer starts a server in the primary region, besides the one that env has.
func (w *world) startServer(name string, o devenv.PostgresOptions) *devenv.Postgres {
	w.t.Helper()
	o.Dir = filepath.Join(w.env.Dir, "regions", devenv.Primary, name)
	p, err := devenv.StartPostgres(w.t.Context(), o)
	if err != nil {
		w.t.Fatal(err)
	}
	return p
}

// addWorkspace makes the ledger of a workspace-to-be.
func (w *world) addWorkspace(name string, p *devenv.Postgres) {
	w.t.Helper()
	w.spaces = append(w.spaces, &space{name: name, was: p})
	w.run(p, "postgres", w.role(teller, "login"), "create database "+bankDB+" owner "+teller)
	conn := w.connect(p, teller, bankDB)
	defer conn.Close(context.WithoutCancel(w.t.Context())) //nolint:errcheck // nothing hangs on a clean goodbye
	if err := ledger.Setup(w.t.Context(), conn); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) end() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := w.env.Stop(ctx); err != nil {
		w.t.Error(err)
	}
	for _, s := range w.spaces {
		if s.load != nil {
			s.load.Stop()
		}
	}
	for _, left := range devenv.Leftovers(w.env.Dir) {
		w.t.Errorf("left behind: %s", left)
	}
	if w.t.Failed() {
		w.keepLogs()
	}
}

// keepLogs shows the end of every log: the folder is removed with the test.
func (w *world) keepLogs() {
	_ = filepath.WalkDir(w.env.Dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && strings.HasSuffix(path, ".log") && !strings.Contains(path, "temporal") {
			b, _ := os.ReadFile(path)
			w.t.Logf("%s ends with:\n%s", path, b[max(0, len(b)-3000):])
		}
		return nil
	})
}

// space returns a workspace by its name.
func (w *world) space(name string) *space {
	for _, s := range w.spaces {
		if s.name == name {
			return s
		}
	}
	w.t.Fatalf("there is no workspace %q", name)
	return nil
}

// role returns the statement that makes a role with a password of its own. A role that several servers have has the same
// password on all.
func (w *world) role(name, options string) string {
	if w.passwords[name] == "" {
		w.passwords[name] = rand.Text()
	}
	return fmt.Sprintf("create role %s %s password '%s'", pgx.Identifier{name}.Sanitize(), options, w.passwords[name])
}

// run executes statements as the superuser, each by itself.
func (w *world) run(p *devenv.Postgres, database string, statements ...string) {
	w.t.Helper()
	for _, s := range statements {
		if err := p.Exec(w.t.Context(), database, s); err != nil {
			w.t.Fatalf("%v\n%s", err, s)
		}
	}
}

// connect connects as an ordinary role would.
func (w *world) connect(p *devenv.Postgres, role, database string) *pgx.Conn {
	w.t.Helper()
	conn, err := devenv.Connect(w.t.Context(), p.URL(role, database), w.passwords[role])
	if err != nil {
		w.t.Fatal(err)
	}
	return conn
}

// smartdr runs the CLI and fails the test unless it exits with 0.
func (w *world) smartdr(args ...string) string {
	w.t.Helper()
	out, err := devtest.SmartDR(w.t.Context(), w.env, args...)
	if err != nil {
		w.t.Fatal(err)
	}
	return out
}

func (w *world) status() (s topology.GroupStatus, err error) {
	out, err := devtest.SmartDR(w.t.Context(), w.env, "status", "--group", group, "-o", "json")
	if err != nil {
		return s, err
	}
	return s, json.Unmarshal([]byte(out), &s)
}

// replicate creates the group of all workspaces and waits until every database is in the secondary's bucket.
func (w *world) replicate() {
	w.t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, "name: %s\nprimary: %s\nworkspaces:\n", group, devenv.Primary)
	for _, s := range w.spaces {
		source := s.was.RemoteSource("postgres")
		fmt.Fprintf(&b, "  - name: %s\n    connection: %s\n    passwordFile: %s\n", s.name, source.ConnString, source.PasswordFile)
	}
	file := filepath.Join(w.env.Dir, "topology.yaml")
	if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
		w.t.Fatal(err)
	}
	w.smartdr("group", "create", "-f", file)
	w.smartdr("configure", "--group", group, "--secondary", devenv.Secondary, "--wait", "--timeout", "3m")
}

// startLoads lets a teller of every workspace make transfers until the server is gone.
func (w *world) startLoads() {
	w.t.Helper()
	for _, s := range w.spaces {
		l, err := ledger.Start(w.t.Context(), func(ctx context.Context) (*pgx.Conn, error) {
			return devenv.Connect(ctx, s.was.URL(teller, bankDB), w.passwords[teller])
		}, ledger.Options{Name: s.name, Writers: 1, Pause: 10 * time.Millisecond})
		if err != nil {
			w.t.Fatal(err)
		}
		s.load = l
	}
}

// waitShipped waits until the secondary's bucket holds what every server had written when this was called.
func (w *world) waitShipped() {
	w.t.Helper()
	target := map[string]wal.LSN{}
	for _, s := range w.spaces {
		target[s.name] = w.flushed(s.was.Server)
	}
	devtest.Within(w.t, 2*time.Minute, fmt.Sprintf("WAL up to %v to be shipped", target), func() bool {
		st, err := w.status()
		for _, ws := range st.Workspaces {
			if ws.WAL != nil {
				if c := ws.WAL.Cursor(devenv.Secondary); c != nil && c.Point.At.LSN >= target[ws.Workspace] {
					delete(target, ws.Workspace)
				}
			}
		}
		return err == nil && len(target) == 0
	})
}

// flushed returns how far a server's WAL is.
func (w *world) flushed(s *postgres.Server) wal.LSN {
	w.t.Helper()
	var text string
	w.scan(s, "postgres", `select pg_current_wal_flush_lsn()::text`, &text)
	l, err := wal.ParseLSN(text)
	if err != nil {
		w.t.Fatal(err)
	}
	return l
}

// scan asks a server one question as its superuser.
func (w *world) scan(s *postgres.Server, database, query string, into ...any) {
	w.t.Helper()
	conn, err := s.Open(w.t.Context(), database)
	if err != nil {
		w.t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(w.t.Context())) //nolint:errcheck // only read from
	if err := conn.QueryRow(w.t.Context(), query).Scan(into...); err != nil {
		w.t.Fatalf("%v\n%s", err, query)
	}
}

// lose kills the primary region.
func (w *world) lose() {
	w.t.Helper()
	w.cut = time.Now()
	var g errgroup.Group
	g.Go(func() error { return w.env.KillRegion(w.t.Context(), devenv.Primary) })
	for _, s := range w.spaces {
		g.Go(func() error { return s.was.Kill(w.t.Context()) })
	}
	if err := g.Wait(); err != nil {
		w.t.Fatal(err)
	}
	for _, s := range w.spaces {
		if s.load != nil {
			s.load.Wait()
		}
	}
}

// failOver fails over and finds the servers that it brought up.
func (w *world) failOver() topology.Operation {
	w.t.Helper()
	w.smartdr("failover", "--group", group, "--yes")
	op := w.lastOperation()
	if op.State != topology.OperationCompleted || len(op.Workspaces) != len(w.spaces) {
		w.t.Fatalf("the failover is %s (%s) with %d workspaces, want Completed with %d", op.State, op.Error, len(op.Workspaces), len(w.spaces))
	}
	w.findServers(op)
	return op
}

// findServers finds the server of each workspace by the port of its endpoint.
func (w *world) findServers(op topology.Operation) {
	w.t.Helper()
	servers, err := w.env.Regions[devenv.Secondary].Servers()
	if err != nil {
		w.t.Fatal(err)
	}
	for _, r := range op.Workspaces {
		for _, s := range servers {
			if len(r.Endpoint.Hosts) == 1 && s.Port == r.Endpoint.Hosts[0].Port {
				w.space(r.Workspace).is = s
			}
		}
		if w.space(r.Workspace).is == nil {
			w.t.Fatalf("no server of %s has the endpoint %v of workspace %s", devenv.Secondary, r.Endpoint, r.Workspace)
		}
	}
}

// lastOperation returns the group's newest operation.
func (w *world) lastOperation() topology.Operation {
	w.t.Helper()
	var ops []topology.Operation
	if err := json.Unmarshal([]byte(w.smartdr("operations", "--group", group, "-o", "json")), &ops); err != nil {
		w.t.Fatal(err)
	}
	var last topology.Operation
	for _, op := range ops {
		if op.StartedAt.After(last.StartedAt) {
			last = op
		}
	}
	return last
}

// recovered returns what an operation says of a workspace.
func recovered(t *testing.T, op topology.Operation, name string) topology.Recovered {
	t.Helper()
	for _, r := range op.Workspaces {
		if r.Workspace == name {
			return r
		}
	}
	t.Fatalf("the operation says nothing of workspace %q", name)
	return topology.Recovered{}
}
