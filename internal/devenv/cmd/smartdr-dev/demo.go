package main

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/smartdr/smartdr/internal/devenv"
	"github.com/smartdr/smartdr/internal/devenv/catalogs"
	"github.com/smartdr/smartdr/internal/devenv/estate"
	"github.com/smartdr/smartdr/internal/devenv/ledger"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

type demoFlags struct {
	load time.Duration
	size int // MB
	keep bool
	pg   int
}

// demo is one run: two regions, a workload, a loss, a failover, and what is left of the workload's commits and of the place
// that it lived in.
type demo struct {
	flags  demoFlags
	dir    string
	env    *devenv.Env
	sample *sample
	began  time.Time
	loads  map[string]*ledger.Load // by database

	size     int64                         // bytes of the replicated databases before the loss
	held     map[string]catalogs.Inventory // by workspace, before the loss
	compared int                           // lines of these
	differ   int                           // lines that are not the same after the failover
	cost     topology.Cost                 // before the loss
	before   topology.GroupStatus          // the last look before the loss
	lost     time.Time                     // when the primary region was killed
	op       topology.Operation            // the failover
	served   time.Time                     // when an ordinary user could query again
	ledger   map[string]ledger.Report
	after    map[string][]ledger.Commit // by database: acknowledged on the other side
	home     wayHome
	broken   []string // promises that were not kept
}

func runDemo(ctx context.Context, args []string) (err error) {
	d := &demo{began: time.Now(), loads: map[string]*ledger.Load{}, held: map[string]catalogs.Inventory{}, ledger: map[string]ledger.Report{}, after: map[string][]ledger.Commit{}}
	f := flag.NewFlagSet("demo", flag.ContinueOnError)
	f.DurationVar(&d.flags.load, "load", 8*time.Second, "")
	f.IntVar(&d.flags.size, "size", 150, "")
	f.BoolVar(&d.flags.keep, "keep", false, "")
	f.IntVar(&d.flags.pg, "pg", 0, "")
	f.Usage = func() { fmt.Fprint(os.Stderr, usage) }
	if err := f.Parse(args); err != nil {
		return err
	}
	if d.dir, err = os.MkdirTemp("", "smartdr-demo-"); err != nil {
		return err
	}
	defer func() { err = d.end(err) }()
	if err := os.Chmod(d.dir, 0o755); err != nil { // as root, PostgreSQL runs as another account
		return err
	}
	for _, step := range []func(context.Context) error{d.start, d.createGroup, d.configure, d.serve, d.lose, d.failOver, d.connect, d.check, d.goOn, d.comeBack, d.lookBehind, d.bringHome, d.goHome} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return d.report()
}

// say begins a step.
func (d *demo) say(format string, args ...any) {
	fmt.Printf("\n[%5.1fs] %s\n", time.Since(d.began).Seconds(), fmt.Sprintf(format, args...))
}

func (d *demo) start(ctx context.Context) (err error) {
	d.say("Starting two regions on this machine: %s, which serves, and %s, where nothing but a bucket and a worker is", devenv.Primary, devenv.Secondary)
	d.env, err = devenv.StartEnv(ctx, devenv.EnvOptions{Dir: d.dir, Major: d.flags.pg, AfterServer: func(ctx context.Context, p *devenv.Postgres) (err error) {
		d.sample, err = createSample(ctx, p, d.flags.size)
		return err
	}})
	if err != nil {
		return err
	}
	fmt.Printf("         Temporal's web UI is at %s; PostgreSQL %d is at %s, with databases %s, %s and %s\n",
		d.env.Temporal.UIURL(), d.env.Server.Bin.Major(), d.env.Server.Addr(), appDB, billingDB, scratchDB)
	return nil
}

// createGroup adopts the server that is there, and lets SmartDR make and run another one.
func (d *demo) createGroup(ctx context.Context) error {
	d.say("Creating the group: workspace %s is that server, adopted; workspace %s is made and run by SmartDR, behind a firewall", mainSpace, reportSpace)
	if err := writeGroup(d.env); err != nil {
		return err
	}
	if err := d.cliJSON(ctx, new(any), "group", "create", "-f", d.env.GroupPath()); err != nil {
		return err
	}
	s, err := server(d.env, devenv.Primary, reportSpace)
	if err != nil {
		return err
	}
	d.sample.servers[reportSpace] = s
	if err := d.sample.createDatabase(ctx, reportDB, d.flags.size/10); err != nil {
		return err
	}
	if err := d.cli(ctx, "workspace", "list", "--group", devenv.GroupName); err != nil {
		return err
	}
	return d.startLoads(ctx)
}

// writers are the sessions of the workload on each database.
const writers = 2

// startLoads begins transfers between accounts in each database. Each load remembers what was acknowledged.
func (d *demo) startLoads(ctx context.Context) error {
	for db, owner := range owners {
		l, err := ledger.Start(ctx, func(ctx context.Context) (*pgx.Conn, error) {
			return d.sample.connect(ctx, d.sample.url(owner, db), owner)
		}, ledger.Options{Name: "before", Writers: writers, Pause: 2 * time.Millisecond})
		if err != nil {
			return err
		}
		d.loads[db] = l
	}
	return nil
}

func (d *demo) configure(ctx context.Context) error {
	chosen := strings.Join(slices.Sorted(maps.Keys(owners)), ",")
	d.say("Replicating it, but for database %s: smartdr configure --secondary %s --database %s --wait", scratchDB, devenv.Secondary, chosen)
	return d.cli(ctx, "configure", "--group", devenv.GroupName, "--secondary", devenv.Secondary, "--database", chosen, "--wait")
}

// serve keeps the workload running for a while, so that there is WAL after the snapshot.
func (d *demo) serve(ctx context.Context) error {
	d.say("In sync. The workload goes on for %s", d.flags.load)
	if !pause(ctx, d.flags.load) {
		return ctx.Err()
	}
	for db, l := range d.loads {
		if errs := l.Errors(); len(errs) > 0 {
			return fmt.Errorf("the workload on %s failed before anything was lost: %w", db, errs[0])
		}
	}
	if err := d.remember(ctx); err != nil {
		return err
	}
	if err := d.sayReadiness(ctx); err != nil {
		return err
	}
	if err := d.cliJSON(ctx, &d.cost, "cost", "--group", devenv.GroupName); err != nil {
		return err
	}
	return d.cliJSON(ctx, &d.before, "status", "--group", devenv.GroupName)
}

func (d *demo) lose(ctx context.Context) error {
	d.say("Killing region %s: PostgreSQL, its worker and its object store, with SIGKILL", devenv.Primary)
	d.lost = time.Now()
	if err := d.env.KillRegion(ctx, devenv.Primary); err != nil {
		return err
	}
	acknowledged := 0
	for _, l := range d.loads {
		l.Wait()
		acknowledged += len(l.Commits())
	}
	fmt.Printf("         %d commits had been acknowledged\n", acknowledged)
	return nil
}

func (d *demo) failOver(ctx context.Context) error {
	d.say("Failing over: smartdr failover --yes; all workspaces side by side")
	return d.cli(ctx, "failover", "--group", devenv.GroupName, "--yes")
}

// connect does what an application would: ask for the connection string, and log in with its own password.
func (d *demo) connect(ctx context.Context) error {
	url, err := d.url(ctx, appUser, appDB)
	if err != nil {
		return err
	}
	if err := try(ctx, url, d.sample.passwords[appUser], "select count(*) from transfers"); err != nil {
		return fmt.Errorf("connect as %s: %w", appUser, err)
	}
	d.served = time.Now()
	d.say("%s is connected with its own password:\n\n         %s", appUser, url)
	return d.readOperation(ctx)
}

func (d *demo) readOperation(ctx context.Context) (err error) {
	d.op, err = d.operation(ctx, estate.Failover)
	return err
}

// operation returns the completed operation of a kind.
func (d *demo) operation(ctx context.Context, kind string) (topology.Operation, error) {
	var ops []topology.Operation
	if err := d.cliJSON(ctx, &ops, "operations", "--group", devenv.GroupName); err != nil {
		return topology.Operation{}, err
	}
	i := slices.IndexFunc(ops, func(o topology.Operation) bool { return o.Kind == kind && o.State == topology.OperationCompleted })
	if i < 0 || len(ops[i].Workspaces) != len(d.sample.servers) {
		return topology.Operation{}, fmt.Errorf("no completed %s with %d workspaces is among the operations", kind, len(d.sample.servers))
	}
	return ops[i], nil
}

// url asks the CLI for a role's connection string.
func (d *demo) url(ctx context.Context, role, db string) (string, error) {
	var c struct{ URL string }
	err := d.cliJSON(ctx, &c, "connect", "--group", devenv.GroupName, "--workspace", workspaces[db], "--user", role, "--database", db)
	return c.URL, err
}

func (d *demo) check(ctx context.Context) error {
	d.say("Checking the ledgers, who gets in, what each role may do, and every row of every system catalog")
	for _, name := range slices.Sorted(maps.Keys(d.sample.servers)) {
		if announced, got := cursor(d.before, name, devenv.Secondary).RecordEnd, d.recovered(name).Point.RecordEnd; got < announced {
			d.broken = append(d.broken, fmt.Sprintf("status had announced %s of %s for %s, and only %s came back", announced, name, devenv.Secondary, got))
		}
	}
	for db, l := range d.loads {
		r, err := d.verify(ctx, db, l.Commits())
		if err != nil {
			return err
		}
		d.ledger[db] = r
		for _, b := range r.Broken {
			d.broken = append(d.broken, db+": "+b)
		}
	}
	d.broken = append(d.broken, d.sample.rights(ctx, func(role, db string) (string, error) { return d.url(ctx, role, db) })...)
	return d.compare(ctx)
}

// recovered returns what the failover says of a workspace.
func (d *demo) recovered(workspace string) topology.Recovered {
	i := slices.IndexFunc(d.op.Workspaces, func(r topology.Recovered) bool { return r.Workspace == workspace })
	if i < 0 {
		return topology.Recovered{}
	}
	return d.op.Workspaces[i]
}

func (d *demo) verify(ctx context.Context, db string, commits []ledger.Commit) (ledger.Report, error) {
	conn, err := d.open(ctx, db)
	if err != nil {
		return ledger.Report{}, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	return ledger.Verify(ctx, conn, commits, d.recovered(workspaces[db]).Point.RecordEnd, d.lost)
}

// open connects to a database as its owner, where the group is served now.
func (d *demo) open(ctx context.Context, db string) (*pgx.Conn, error) {
	url, err := d.url(ctx, owners[db], db)
	if err != nil {
		return nil, err
	}
	return d.sample.connect(ctx, url, owners[db])
}

// goOn lets the workload write where the group is served now, and waits until that is in the bucket.
func (d *demo) goOn(ctx context.Context) error {
	last := map[string]wal.LSN{} // by workspace
	for db := range owners {
		l, err := ledger.Start(ctx, func(ctx context.Context) (*pgx.Conn, error) { return d.open(ctx, db) }, ledger.Options{Name: "after", Writers: 1})
		if err != nil {
			return err
		}
		pause(ctx, 200*time.Millisecond)
		l.Stop()
		commits, errs := l.Commits(), l.Errors()
		if len(commits) == 0 || len(errs) > 0 {
			d.broken = append(d.broken, fmt.Sprintf("%s takes no writes after the failover: %d commits, %v", db, len(commits), errs))
			continue
		}
		d.after[db] = commits
		last[workspaces[db]] = max(last[workspaces[db]], commits[len(commits)-1].After)
	}
	return d.waitShipped(ctx, last)
}

// newLineageWithin is how soon a bucket has to hold what was written after a failover: shipping begins at once.
const newLineageWithin = 20 * time.Second

func (d *demo) waitShipped(ctx context.Context, until map[string]wal.LSN) error {
	deadline := time.Now().Add(newLineageWithin)
	for {
		var now topology.GroupStatus
		if err := d.cliJSON(ctx, &now, "status", "--group", devenv.GroupName); err != nil {
			return err
		}
		for name, lsn := range until {
			if point := cursor(now, name, devenv.Secondary); point.Lineage == d.recovered(name).Lineage && point.At.LSN >= lsn {
				delete(until, name)
			}
		}
		if len(until) == 0 {
			return nil
		}
		if time.Now().After(deadline) {
			d.broken = append(d.broken, fmt.Sprintf("%v was written after the failover and is not in the bucket of %s after %s", until, devenv.Secondary, newLineageWithin))
			return nil
		}
		if !pause(ctx, 200*time.Millisecond) {
			return ctx.Err()
		}
	}
}
