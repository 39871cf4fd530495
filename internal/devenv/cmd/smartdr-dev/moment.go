package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/smartdr/smartdr/internal/api"
	"github.com/smartdr/smartdr/internal/devenv"
	"github.com/smartdr/smartdr/internal/devenv/ledger"
	"github.com/smartdr/smartdr/internal/wal"
)

// then is the branch of a moment.
const then = "then"

// branchMoment branches a database as it was while the workload ran, and drops the branch.
func (d *demo) branchMoment(ctx context.Context) error {
	moment := d.lost.Add(-d.flags.load / 2).UTC().Truncate(time.Second)
	at := moment.Format(time.RFC3339)
	d.say("Or any moment: smartdr branch create %s --of %s --at-time %s --attach --read-only", then, appDB, at)
	var b api.Branch
	if err := d.cliJSON(ctx, &b, "branch", "create", then, "--group", devenv.GroupName, "--of", appDB, "--at-time", at, "--attach", "--read-only"); err != nil {
		return err
	}
	if err := d.checkMoment(ctx, b, moment); err != nil {
		return err
	}
	return d.cli(ctx, "branch", "drop", then, "--group", devenv.GroupName, "--force")
}

// checkMoment demands what was acknowledged by a moment, and nothing that was made later: by the clients' clock, which is the server's.
func (d *demo) checkMoment(ctx context.Context, b api.Branch, moment time.Time) error {
	conn, err := d.enterBranch(ctx, b, appDB)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	due := slices.DeleteFunc(d.loads[appDB].Commits(), func(c ledger.Commit) bool { return c.At.After(moment) })
	r, err := ledger.Verify(ctx, conn, due, ^wal.LSN(0), moment)
	if err != nil {
		return err
	}
	var later int
	if err := conn.QueryRow(ctx, "select count(*) from transfers where made_at > $1", moment).Scan(&later); err != nil {
		return err
	}
	fmt.Printf("         %d of %d commits acknowledged by then are in it, and %d made later; it added %d bytes\n", r.Kept, len(due), later, b.Bytes)
	for _, s := range r.Broken {
		d.broken = append(d.broken, fmt.Sprintf("%s as of %s: %s", appDB, moment, s))
	}
	if len(due) == 0 || later > 0 {
		d.broken = append(d.broken, fmt.Sprintf("%s as of %s: %d commits were due, and %d that were made later are there", appDB, moment, len(due), later))
	}
	return nil
}
