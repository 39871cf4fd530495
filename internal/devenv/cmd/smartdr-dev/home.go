package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/smartdr/smartdr/internal/devenv"
	"github.com/smartdr/smartdr/internal/devenv/estate"
	"github.com/smartdr/smartdr/internal/devenv/ledger"
	"github.com/smartdr/smartdr/internal/topology"
)

// wayHome is the second half of the demo: the lost region comes back, and the group returns to it under load.
type wayHome struct {
	clients map[string]*ledger.Load // by database
	brought broughtHome             // what was merged before
	op      topology.Operation      // the failback
	seen    time.Duration           // the time without a writer, as clients saw it
	kept    int                     // commits acknowledged on the way, all of which are there
}

// protectedWithin is how long a first snapshot into the bucket that came back may take.
const protectedWithin = 90 * time.Second

// comeBack gives the lost region its power back: servers, worker and object store start by themselves.
func (d *demo) comeBack(ctx context.Context) error {
	d.say("Region %s has its power back. Its servers start too, and are kept from taking writes; what they had not shipped is brought into a bucket", devenv.Primary)
	if err := d.env.ReviveRegion(ctx, devenv.Primary); err != nil {
		return err
	}
	deadline := time.Now().Add(protectedWithin)
	for {
		var now topology.GroupStatus
		if err := d.cliJSON(ctx, &now, "status", "--group", devenv.GroupName); err != nil {
			return err
		}
		tail, home := tails(now)
		if home && now.Protection != nil && now.Protection.Protected && now.Protection.Epoch == now.Group.Epoch {
			fmt.Printf("         %d commits that %s had acknowledged and not shipped are kept as the tail of its lineages; protected again since %s\n",
				tail, devenv.Primary, now.Protection.Since.UTC().Format("15:04:05"))
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the group is not protected %s after %s came back: %+v", protectedWithin, devenv.Primary, now.Protection)
		}
		if !pause(ctx, 300*time.Millisecond) {
			return ctx.Err()
		}
	}
}

// tails counts the commits in the tails of lineages that were left, and tells whether they are all there.
func tails(s topology.GroupStatus) (commits int64, home bool) {
	home = true
	for _, w := range s.Workspaces {
		for _, t := range w.Tails {
			commits += t.Commits
			home = home && t.Complete
		}
	}
	return commits, home
}

// goHome fails back while clients write, which know one connection string for both sides.
func (d *demo) goHome(ctx context.Context) error {
	d.home.clients = map[string]*ledger.Load{}
	for db, owner := range owners {
		f := &estate.Finder{Env: d.env, Group: devenv.GroupName, Workspace: workspaces[db], User: owner, Database: db, Password: d.sample.passwords[owner]}
		d.home.clients[db] = ledger.Roam(ctx, f.Connect, ledger.Options{Name: "home", Writers: 1, Pause: 2 * time.Millisecond})
	}
	d.say("Going home while clients write: smartdr failback --yes")
	err := d.cli(ctx, "failback", "--group", devenv.GroupName, "--yes")
	if err == nil {
		pause(ctx, time.Second) // for the clients to go on at home
	}
	for _, l := range d.home.clients {
		l.Stop()
	}
	if err != nil {
		return err
	}
	if d.home.op, err = d.operation(ctx, estate.Failback); err != nil {
		return err
	}
	return d.checkHome(ctx)
}

// checkHome demands every commit that was acknowledged on the way, before the loss, and on the other side.
func (d *demo) checkHome(ctx context.Context) error {
	d.say("Checking that nothing was lost on the way, and that nobody is served in %s any more", devenv.Secondary)
	for _, db := range slices.Sorted(maps.Keys(owners)) {
		if err := d.checkLedgerAtHome(ctx, db); err != nil {
			return err
		}
	}
	servers, err := d.env.Regions[devenv.Secondary].Servers()
	if err == nil && len(servers) > 0 {
		d.broken = append(d.broken, fmt.Sprintf("%s has %d servers still", devenv.Secondary, len(servers)))
	}
	return err
}

func (d *demo) checkLedgerAtHome(ctx context.Context, db string) error {
	conn, err := d.open(ctx, db)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	commits := d.home.clients[db].Commits()
	gaps := ledger.Gaps(commits)
	if len(gaps) != 1 {
		d.broken = append(d.broken, fmt.Sprintf("clients of %s changed the server %d times on the way home", db, len(gaps)))
		return nil
	}
	d.home.seen = max(d.home.seen, gaps[0].Length())
	a, err := ledger.VerifyMoves(ctx, conn, commits, []ledger.Move{{Timeline: gaps[0].From, Planned: true}})
	if err != nil {
		return err
	}
	d.home.kept += a.Kept
	for _, b := range a.Broken {
		d.broken = append(d.broken, db+", on the way home: "+b)
	}
	return d.checkEvery(ctx, db, "at home")
}

// reportHome prints what was measured on the way home.
func (d *demo) reportHome() {
	gap := 0.0
	if d.home.op.Gap != nil {
		gap = d.home.op.Gap.Length().Seconds()
	}
	var moved topology.Moved
	for _, w := range d.home.op.Workspaces {
		if w.Moved != nil {
			moved.Bytes, moved.Fetched, moved.Reused = moved.Bytes+w.Moved.Bytes, moved.Fetched+w.Moved.Fetched, moved.Reused+w.Moved.Reused
		}
	}
	fmt.Printf("  way home           %.2f s without a writer, %.2f s as clients saw it; %d commits acknowledged on the way, none lost\n", gap, d.home.seen.Seconds(), d.home.kept)
	fmt.Printf("  moved              %s fetched, %s of the old data used again, of %s in all\n", megabytes(moved.Fetched), megabytes(moved.Reused), megabytes(moved.Bytes))
	d.reportBrought()
}

// pause reports whether d passed before ctx was done.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}
