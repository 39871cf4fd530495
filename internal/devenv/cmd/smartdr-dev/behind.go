package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/smartdr/smartdr/internal/api"
	"github.com/smartdr/smartdr/internal/devenv"
	"github.com/smartdr/smartdr/internal/devenv/ledger"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

// rescue is the branch of what the lost region still wrote, and the schema that shows it in the active database.
const rescue = "rescue"

// missingHere counts the rows that the active database lacks, by SQL over both sides.
const missingHere = "select count(*) from " + rescue + ".transfers where id not in (select id from transfers)"

// behind is the look at what the lost region still wrote, before the way home.
type behind struct {
	of      string         // the system-managed database
	branch  api.Branch     // of it, attached
	took    time.Duration  // from the command to a server that serves
	missing map[string]int // acknowledged commits that the active database lacks, by database of the branch
	found   int            // of these, in the branch
}

// lookBehind branches what the lost region still wrote, compares it with what is active, and drops the branch; then it branches a moment of
// before the loss. It copies nothing.
func (d *demo) lookBehind(ctx context.Context) error {
	for _, step := range []func(context.Context) error{d.listBehind, d.branchBehind, d.checkBranch, d.linkBranch, d.dropBranch, d.branchMoment} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// listBehind lists the databases: beside each that serves there is a system-managed one.
func (d *demo) listBehind(ctx context.Context) error {
	d.say("What %s still wrote is in databases beside those that serve: smartdr databases list", devenv.Primary)
	if err := d.cli(ctx, "databases", "list", "--group", devenv.GroupName); err != nil {
		return err
	}
	var all []api.Database
	if err := d.cliJSON(ctx, &all, "databases", "list", "--group", devenv.GroupName); err != nil {
		return err
	}
	i := slices.IndexFunc(all, func(a api.Database) bool { return a.Kind == topology.SystemManagedKind && a.Detached.Of == appDB })
	if i < 0 {
		return fmt.Errorf("no system-managed database of %s is listed", appDB)
	}
	d.behind.of = all[i].Name
	return nil
}

func (d *demo) branchBehind(ctx context.Context) error {
	d.say("Branching it: smartdr branch create %s --of %s --attach --read-only", rescue, d.behind.of)
	began := time.Now()
	if err := d.cli(ctx, "branch", "create", rescue, "--group", devenv.GroupName, "--of", d.behind.of, "--attach", "--read-only"); err != nil {
		return err
	}
	d.behind.took = time.Since(began)
	return d.cliJSON(ctx, &d.behind.branch, "branch", "show", rescue, "--group", devenv.GroupName)
}

// checkBranch looks for every acknowledged commit that the active databases lack. The branch's server has all databases of its workspace.
func (d *demo) checkBranch(ctx context.Context) error {
	d.say("Checking by the ledger that each acknowledged commit that %s lacks is in the branch", devenv.Secondary)
	d.behind.missing = map[string]int{}
	for _, db := range []string{appDB, billingDB} {
		missing, err := d.missing(ctx, db)
		if err != nil {
			return err
		}
		r, err := d.verifyBranch(ctx, db, missing)
		if err != nil {
			return err
		}
		d.behind.missing[db], d.behind.found = len(missing), d.behind.found+r.Kept
		for _, b := range r.Broken {
			d.broken = append(d.broken, db+", in the branch: "+b)
		}
		fmt.Printf("         %s: %d of %d acknowledged commits are missing in %s; the branch has %d of them\n",
			db, len(missing), len(d.loads[db].Commits()), devenv.Secondary, r.Kept)
	}
	return nil
}

// missing returns the commits that were acknowledged before the loss and are not in the active database.
func (d *demo) missing(ctx context.Context, db string) ([]ledger.Commit, error) {
	conn, err := d.open(ctx, db)
	if err != nil {
		return nil, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	rows, err := conn.Query(ctx, "select id from transfers")
	if err != nil {
		return nil, err
	}
	there := map[string]bool{}
	var id string
	if _, err := pgx.ForEachRow(rows, []any{&id}, func() error { there[id] = true; return nil }); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(d.loads[db].Commits(), func(c ledger.Commit) bool { return there[c.ID] }), nil
}

// verifyBranch demands commits of a database of the branch, whole ones.
func (d *demo) verifyBranch(ctx context.Context, db string, commits []ledger.Commit) (ledger.Report, error) {
	conn, err := d.enterBranch(ctx, d.behind.branch, db)
	if err != nil {
		return ledger.Report{}, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	return ledger.Verify(ctx, conn, commits, ^wal.LSN(0), d.lost)
}

// enterBranch connects to a database of an attached branch as its owner.
func (d *demo) enterBranch(ctx context.Context, b api.Branch, db string) (*pgx.Conn, error) {
	a := b.Branch.Attached
	if a == nil || len(a.Endpoint.Hosts) == 0 {
		return nil, fmt.Errorf("branch %s is not attached", b.Branch.Name)
	}
	at := a.Endpoint.Hosts[0]
	conn, err := d.sample.connect(ctx, fmt.Sprintf("postgresql://%s@%s:%d/%s?sslmode=disable", owners[db], at.Host, at.Port, db), owners[db])
	if err != nil {
		return nil, fmt.Errorf("connect to branch %s: %w", b.Branch.Name, err)
	}
	return conn, nil
}

// linkBranch asks both sides in one statement. Besides what clients were told, there may be one commit of each writer that they were not.
func (d *demo) linkBranch(ctx context.Context) error {
	d.say("Seeing both in one SQL statement: smartdr branch link %s --into %s", rescue, appDB)
	var linked api.Branch
	if err := d.cliJSON(ctx, &linked, "branch", "link", rescue, "--group", devenv.GroupName, "--into", appDB); err != nil {
		return err
	}
	for _, note := range linked.Notes {
		fmt.Printf("         %s\n", note)
	}
	rows, err := d.count(ctx, missingHere)
	if err != nil {
		return err
	}
	told := d.behind.missing[appDB]
	fmt.Printf("\n         %s=> %s;\n         %d\n\n         %d that were acknowledged, and %d whose clients had no answer yet\n", appDB, missingHere, rows, told, rows-told)
	if rows < told || rows > told+writers {
		d.broken = append(d.broken, fmt.Sprintf("%d commits of %s are missing in %s, and SQL over the link counts %d", told, appDB, devenv.Secondary, rows))
	}
	return nil
}

// count asks the active database for one number, as its owner.
func (d *demo) count(ctx context.Context, query string) (n int, err error) {
	conn, err := d.open(ctx, appDB)
	if err != nil {
		return 0, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	return n, conn.QueryRow(ctx, query).Scan(&n)
}

// dropBranch measures what the branch added, and takes its server, its link and its entry away.
func (d *demo) dropBranch(ctx context.Context) error {
	if err := d.cliJSON(ctx, &d.behind.branch, "branch", "show", rescue, "--group", devenv.GroupName); err != nil {
		return err
	}
	d.say("Dropping it, its server and its link: smartdr branch drop %s --force", rescue)
	b := d.behind.branch
	fmt.Printf("         It had added %d bytes to the bucket of %s\n", b.Bytes, b.Branch.Region)
	if err := d.cli(ctx, "branch", "drop", rescue, "--group", devenv.GroupName, "--force"); err != nil {
		return err
	}
	left, err := d.count(ctx, "select count(*) from pg_foreign_table")
	if err == nil && left > 0 {
		d.broken = append(d.broken, fmt.Sprintf("the branch is dropped, and %d foreign tables are left", left))
	}
	return err
}

// reportBehind prints what the branch was good for.
func (d *demo) reportBehind() {
	b, missing := d.behind, 0
	for _, n := range b.missing {
		missing += n
	}
	fmt.Printf("  branch             %d of %d commits of %s and %s that were missing in %s; served after %.2f s, and added %d bytes to the bucket\n",
		b.found, missing, appDB, billingDB, devenv.Secondary, b.took.Seconds(), b.branch.Bytes)
}
