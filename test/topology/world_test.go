// Package topology_test loses a region in which a whole topology lived, and looks for it in the other one: three workspaces with
// roles, access rules, pipelines, settings and everything that PostgreSQL keeps outside of tables. Servers, object stores,
// Temporal, workers and the CLI are real. What is compared is read by queries of its own, not by the product's.
package topology_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/smartdr/smartdr/internal/devenv"
	"github.com/smartdr/smartdr/internal/devenv/catalogs"
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
	feed      *postgres.Server
	spaces    []*space
	passwords map[string]string // by role
	cut       time.Time         // when the primary region was killed

	tablespaces string // files of the lost region's tablespaces, when it was lost
}

// space is a workspace: where it was, and after a failover where it is.
type space struct {
	name     string
	was      *postgres.Server
	is       *postgres.Server // nil before the failover
	load     *ledger.Load
	before   catalogs.Inventory
	settings map[string]string // of before
}

// The workspaces. Each has database bank, with a ledger that belongs to role teller.
const (
	mainSpace   = "main"    // adopted: most of what there is to lose is here
	ordersSpace = "orders"  // managed, with WAL segments of 1 MiB and no checksums
	reportSpace = "reports" // managed, sorts by ICU

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
	w.feed = w.startServer("elsewhere", major)
	w.createGroup(major)
	for _, s := range w.spaces {
		w.createBank(s.was)
	}
	return w
}

// createGroup adopts the server that is there, with a role that may do no more than the manual asks for, and has two more made.
func (w *world) createGroup(major int) {
	w.t.Helper()
	text := fmt.Sprintf(`name: %s
primary: %s
firewall: [%s]
workspaces:
  - name: %s
    connection: %s
    passwordFile: %s
  - name: %s
    postgres: %d
    size: 256MiB/0.1
    settings: {work_mem: 6MB}
    hba: ["host bank teller 127.0.0.5/32 reject"]
    init: {segmentSizeMB: 1, noChecksums: true}
  - name: %s
    postgres: %d
    size: 256MiB/0.1
    init: {icuLocale: de-DE}
`, group, devenv.Primary, firewall, mainSpace, w.env.Server.URL(devenv.ReplicationRole, "postgres"), w.env.ReplicationPasswordFile(), ordersSpace, major, reportSpace, major)
	file := filepath.Join(w.env.Dir, "topology.yaml")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		w.t.Fatal(err)
	}
	w.smartdr("group", "create", "-f", file)
	w.spaces = append(w.spaces, &space{name: mainSpace, was: w.env.Server.Server})
	for _, name := range []string{ordersSpace, reportSpace} {
		w.spaces = append(w.spaces, &space{name: name, was: w.managed(devenv.Primary, name)})
	}
}

// managed finds the server of a workspace among those that a region's worker runs.
func (w *world) managed(region, name string) *postgres.Server {
	w.t.Helper()
	servers, err := w.env.Regions[region].Servers()
	for _, s := range servers {
		if filepath.Base(filepath.Dir(s.InstanceDir())) == name {
			return s
		}
	}
	w.t.Fatalf("%s has no server of workspace %s among %d, %v", region, name, len(servers), err)
	return nil
}

// startServer starts a server outside of both regions, that others may subscribe to. It writes nothing by itself, as it would when it vacuums: what a
// subscriber confirms of that just before it is lost is of no transaction that could be proved to be restored.
func (w *world) startServer(place string, major int) *postgres.Server {
	w.t.Helper()
	p, err := devenv.StartPostgres(w.t.Context(), devenv.PostgresOptions{
		Dir: filepath.Join(w.env.Dir, place), Major: major, Settings: map[string]string{"wal_level": "logical", "autovacuum": "off", "checkpoint_timeout": "1h"}})
	if err != nil {
		w.t.Fatal(err)
	}
	return p.Server
}

// createBank makes a ledger that belongs to an ordinary role.
func (w *world) createBank(s *postgres.Server) {
	w.t.Helper()
	w.run(s, "postgres", w.role(teller, "login"), "create database "+bankDB+" owner "+teller)
	conn := open(w.t, s, bankDB)
	_, err := conn.Exec(w.t.Context(), "set role "+teller)
	if err == nil {
		err = ledger.Setup(w.t.Context(), conn)
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) end() {
	devtest.End(w.t, w.env)
	for _, s := range w.spaces {
		if s.load != nil {
			s.load.Stop()
		}
	}
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

// password returns the statement that gives a role another password.
func (w *world) password(name string) string {
	w.passwords[name] = rand.Text()
	return fmt.Sprintf("alter role %s password '%s'", pgx.Identifier{name}.Sanitize(), w.passwords[name])
}

// run executes statements as the superuser, each by itself in a session of its own.
func (w *world) run(s *postgres.Server, database string, statements ...string) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), devtest.Patience)
	defer cancel()
	for _, statement := range statements {
		conn, err := s.Open(ctx, database)
		if err == nil {
			_, err = conn.PgConn().Exec(ctx, statement).ReadAll()
			_ = conn.Close(ctx) // the statement's error is what counts
		}
		if err != nil {
			w.t.Fatalf("%v\n%s", err, statement)
		}
	}
}

// smartdr runs the CLI and fails the test unless it exits with 0.
func (w *world) smartdr(args ...string) string {
	w.t.Helper()
	out, err := w.env.SmartDR(w.t.Context(), args...)
	if err != nil {
		w.t.Fatal(err)
	}
	return out
}

func (w *world) status() (s topology.GroupStatus, err error) {
	out, err := w.env.SmartDR(w.t.Context(), "status", "--group", group, "-o", "json")
	if err != nil {
		return s, err
	}
	return s, json.Unmarshal([]byte(out), &s)
}

// replicate waits until every chosen database is in the secondary's bucket.
func (w *world) replicate() {
	w.t.Helper()
	w.smartdr("configure", "--group", group, "--secondary", devenv.Secondary, "--database", strings.Join(chosen, ","), "--wait", "--timeout", devtest.Patience.String())
}

// startLoads lets a teller of every workspace make transfers until the server is gone.
func (w *world) startLoads() {
	w.t.Helper()
	for _, s := range w.spaces {
		l, err := ledger.Start(w.t.Context(), func(ctx context.Context) (*pgx.Conn, error) {
			return devenv.Connect(ctx, fmt.Sprintf("postgresql://%s@127.0.0.1:%d/%s?sslmode=disable", teller, s.was.Port, bankDB), w.passwords[teller])
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
		target[s.name] = w.flushed(s.was)
	}
	devtest.Until(w.t, fmt.Sprintf("WAL up to %v to be shipped", target), func() bool {
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

// waitCaptured changes a setting and a role of each workspace, and waits until the secondary's bucket holds what was read since: a failover
// that is right about rows and wrong about who may see them is worth little. That is seconds; the looks at a server are spaced out by how
// long one takes, which on a machine that is busy with other tests makes it minutes.
func (w *world) waitCaptured() {
	w.t.Helper()
	w.waitFeedRests()
	for _, s := range w.spaces {
		w.run(s.was, "postgres", "create role last_change", "alter system set autovacuum_analyze_threshold = 51", "select pg_reload_conf()")
	}
	changed := time.Now()
	for _, s := range w.spaces {
		for _, document := range []string{"metadata.json", "inventory.json"} {
			devtest.Until(w.t, "what was changed on "+s.name+" to be in "+document, func() bool {
				return w.capturedAt(s.name, document).After(changed)
			})
		}
	}
}

// capturedAt returns when a document about a workspace, in the secondary's bucket, was read from its server.
func (w *world) capturedAt(name, document string) time.Time {
	w.t.Helper()
	var m struct{ CapturedAt time.Time }
	err := filepath.WalkDir(w.env.Regions[devenv.Secondary].Gateway.DataDir(), func(path string, d fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, "/"+name+"/"+document) {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return json.Unmarshal(b, &m)
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // what goes on beside us replaces files
		w.t.Fatal(err)
	}
	return m.CapturedAt
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
	if err := w.env.KillRegion(w.t.Context(), devenv.Primary); err != nil {
		w.t.Fatal(err)
	}
	for _, s := range w.spaces {
		if s.load != nil {
			s.load.Wait()
		}
	}
	w.tablespaces = listing(w, filepath.Dir(w.tablespaceDir("any")))
}

// failOver fails over and finds the servers that it brought up.
func (w *world) failOver() topology.Operation {
	w.t.Helper()
	w.t.Log(w.smartdr("failover", "--group", group, "--yes"))
	op := w.lastOperation()
	if op.State != topology.OperationCompleted || len(op.Workspaces) != len(w.spaces) {
		w.t.Fatalf("the failover is %s (%s) with %d workspaces, want Completed with %d", op.State, op.Error, len(op.Workspaces), len(w.spaces))
	}
	for _, s := range w.spaces {
		s.is = w.managed(devenv.Secondary, s.name)
	}
	return op
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
