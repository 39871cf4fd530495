// Package attach_test attaches branches, writes to them, takes them away and attaches them again, while the group goes on serving beside
// them. Servers, object stores, Temporal and workers are real; workflows are started as anybody may start them.
package attach_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"

	"github.com/smartdr/smartdr/internal/archive"
	"github.com/smartdr/smartdr/internal/catalog"
	"github.com/smartdr/smartdr/internal/config"
	"github.com/smartdr/smartdr/internal/devenv"
	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/workflows"
)

const (
	group     = devenv.GroupName
	workspace = "main"
	app, left = "app", "scratch" // databases: one that is replicated, and one that is left out
	teller    = "teller"         // an ordinary role, with a password of its own
	password  = "not-in-any-log"
)

// world is a group whose server subscribes to another one and would archive its WAL, if it is let.
type world struct {
	t        *testing.T
	env      *devenv.Env
	feed     *postgres.Server // publishes to the group's server
	archived string           // folder that the group's server archives into
	temporal client.Client
	stores   map[string]objectstore.Store
	catalog  *catalog.Catalog
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newWorld(t *testing.T) *world {
	t.Helper()
	majors, err := devenv.Majors()
	check(t, err)
	w := &world{t: t}
	dir := devtest.Dir(t)
	w.archived = filepath.Join(dir, "archived")
	check(t, os.MkdirAll(w.archived, 0o777))
	check(t, os.Chmod(w.archived, 0o777))
	settings := map[string]string{"archive_mode": "on", "archive_command": "cp %p " + w.archived + "/%f"}
	w.env, err = devenv.StartEnv(t.Context(), devenv.EnvOptions{Dir: filepath.Join(dir, "env"), NoUI: true, Major: majors[len(majors)-1], Settings: settings})
	check(t, err)
	t.Cleanup(func() { devtest.End(t, w.env) })
	feed, err := devenv.StartPostgres(t.Context(), devenv.PostgresOptions{Dir: filepath.Join(w.env.Dir, "elsewhere"), Major: majors[len(majors)-1], Settings: map[string]string{"wal_level": "logical"}})
	check(t, err)
	w.feed = feed.Server
	w.connect()
	w.fill(feed)
	w.replicate()
	return w
}

// connect opens what the test looks at and drives the world by.
func (w *world) connect() {
	cfg, err := config.Load(w.env.ConfigPath())
	check(w.t, err)
	w.stores, err = cfg.OpenStores(w.t.Context())
	check(w.t, err)
	w.catalog = &catalog.Catalog{Stores: w.stores}
	w.temporal, err = w.env.Temporal.Dial(w.t.Context())
	check(w.t, err)
	w.t.Cleanup(w.temporal.Close)
}

// fill gives the server databases, a user, and a subscription that is enabled.
func (w *world) fill(feed *devenv.Postgres) {
	connection := fmt.Sprintf("host=127.0.0.1 port=%d dbname=postgres user=feeder password=%s", feed.Port, password)
	check(w.t, feed.Exec(w.t.Context(), "postgres", "create role feeder login replication password '"+password+"'", "create table news (n int primary key)", "grant select on news to feeder", "create publication news for table news", "insert into news values (1)"))
	p := w.env.Server
	check(w.t, p.Exec(w.t.Context(), "postgres", "create role "+teller+" login password '"+password+"'", "create database "+app+" owner "+teller, "create database "+left))
	check(w.t, p.Exec(w.t.Context(), left, "create table never (n int)"))
	check(w.t, p.Exec(w.t.Context(), app,
		"create table t (n int primary key, at text)", "alter table t owner to "+teller, "insert into t values (1, 'main')", "create table news (n int primary key)",
		"create subscription news connection '"+connection+"' publication news"))
	w.until("the subscription to have copied", func() (bool, error) { return w.ask(p.Server, app, "select count(*)::text from news") == "1", nil })
}

// replicate makes the group and waits until it is protected.
func (w *world) replicate() {
	w.smartdr("group", "create", "-f", w.env.GroupPath())
	w.smartdr("group", "change", "--group", group, "--firewall", "127.0.0.0/8")
	w.smartdr("configure", "--group", group, "--secondary", devenv.Secondary, "--database", app, "--wait", "--timeout", devtest.Patience.String())
}

func (w *world) smartdr(args ...string) string {
	w.t.Helper()
	out, err := w.env.SmartDR(w.t.Context(), args...)
	check(w.t, err)
	return out
}

// until is devtest.Until that tells the last error.
func (w *world) until(what string, is func() (bool, error)) {
	w.t.Helper()
	var last error
	defer func() {
		if w.t.Failed() && last != nil {
			w.t.Logf("while waiting for %s, the last error: %v", what, last)
		}
	}()
	devtest.Until(w.t, what, func() bool {
		done, err := is()
		if err != nil {
			last = err
		}
		return done && err == nil
	})
}

// ask returns what a server says to its superuser.
func (w *world) ask(s *postgres.Server, database, query string) (text string) {
	w.t.Helper()
	conn, err := s.Open(w.t.Context(), database)
	check(w.t, err)
	defer conn.Close(context.WithoutCancel(w.t.Context())) //nolint:errcheck // only read from
	check(w.t, conn.QueryRow(w.t.Context(), query).Scan(&text))
	return text
}

// run runs a workflow to its end.
func (w *world) run(kind, id string, in, result any) error {
	w.t.Helper()
	run, err := w.start(kind, id, in)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(w.t.Context(), 2*devtest.Patience)
	defer cancel()
	return run.Get(ctx, result)
}

func (w *world) start(kind, id string, in any) (client.WorkflowRun, error) {
	options := client.StartWorkflowOptions{ID: id, TaskQueue: workflows.TaskQueue, WorkflowIDConflictPolicy: enums.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING}
	return w.temporal.ExecuteWorkflow(w.t.Context(), options, kind, in)
}

func (w *world) attach(in workflows.AttachBranchInput) (workflows.BranchResult, error) {
	w.t.Helper()
	in.Group = group
	var r workflows.BranchResult
	err := w.run(workflows.AttachBranchType, workflows.BranchID(group, in.Branch), in, &r)
	return r, err
}

func (w *world) detach(in workflows.DetachBranchInput) (workflows.BranchResult, error) {
	w.t.Helper()
	in.Group = group
	var r workflows.BranchResult
	err := w.run(workflows.DetachBranchType, workflows.BranchID(group, in.Branch), in, &r)
	return r, err
}

// branch makes a branch of the newest point in a region's bucket.
func (w *world) branch(name, region string) {
	w.t.Helper()
	w.untilShipped(region)
	in := workflows.CreateBranchInput{Group: group, Name: name, Workspace: workspace, Region: region}
	check(w.t, w.run(workflows.CreateBranchType, workflows.BranchID(group, name), in, nil))
}

// untilShipped waits until a region's bucket has what the server has written so far.
func (w *world) untilShipped(region string) {
	w.t.Helper()
	at := w.ask(w.env.Server.Server, app, "select pg_current_wal_flush_lsn()::text")
	w.until("the bucket to have "+at, func() (bool, error) {
		p, err := w.catalog.WALProgress(w.t.Context(), group, workspace)
		c := p.Cursor(region)
		return err == nil && c != nil && w.ask(w.env.Server.Server, app, fmt.Sprintf("select ('%s'::pg_lsn >= '%s')::text", c.Point.At.LSN, at)) == "true", err
	})
}

// of returns a branch as the catalog has it.
func (w *world) of(name string) topology.Branch {
	w.t.Helper()
	l, err := w.catalog.Load(w.t.Context(), group)
	check(w.t, err)
	b := l.Group.Branch(name)
	if b == nil {
		w.t.Fatalf("there is no branch %s", name)
	}
	return *b
}

// as connects to a branch as the ordinary user does.
func (w *world) as(b topology.Branch, user, database string) (*pgx.Conn, error) {
	if b.Attached == nil || len(b.Attached.Endpoint.Hosts) == 0 {
		return nil, errors.New("the branch has no endpoint")
	}
	at := b.Attached.Endpoint.Hosts[0]
	url := fmt.Sprintf("postgres://%s@%s:%d/%s?sslmode=disable&connect_timeout=5", user, at.Host, at.Port, database)
	return devenv.Connect(w.t.Context(), url, password)
}

// exec runs a statement in a branch as the ordinary user.
func (w *world) exec(b topology.Branch, sql string) error {
	conn, err := w.as(b, teller, app)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(w.t.Context())) //nolint:errcheck // the statement is a transaction
	_, err = conn.Exec(w.t.Context(), sql)
	return err
}

// rows returns the rows of t in a branch, as its user sees them.
func (w *world) rows(b topology.Branch) string {
	w.t.Helper()
	conn, err := w.as(b, teller, app)
	check(w.t, err)
	defer conn.Close(context.WithoutCancel(w.t.Context())) //nolint:errcheck // only read from
	var text string
	check(w.t, conn.QueryRow(w.t.Context(), "select coalesce(string_agg(n || ' ' || at, ', ' order by n), '') from t").Scan(&text))
	return text
}

// server returns the server of an attached branch.
func (w *world) server(b topology.Branch) *postgres.Server {
	w.t.Helper()
	s, err := postgres.Load(b.Attached.Instance)
	check(w.t, err)
	return s
}

// folders returns what is left of branches on the hosts of a region.
func (w *world) folders(region string) (all []string) {
	w.t.Helper()
	for _, h := range w.env.Regions[region].Hosts {
		found, err := filepath.Glob(filepath.Join(h.DataDir(), "*", "*", "b-*"))
		check(w.t, err)
		all = append(all, found...)
	}
	return all
}

// segments returns how much of a lineage's WAL a region's bucket has.
func (w *world) segments(region, lineage string) int {
	w.t.Helper()
	inv, err := archive.Open(w.stores[region], group, workspace, lineage).List(w.t.Context())
	check(w.t, err)
	return len(inv.Entries)
}

func wantError(t *testing.T, err error, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("want %q, got: %v", text, err)
		}
	}
}
