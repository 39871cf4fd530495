package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/smartdr/smartdr/internal/devenv"
	"github.com/smartdr/smartdr/internal/topology"
)

// report prints what was measured, and fails when a promise was broken.
func (d *demo) report() error {
	stored, err := d.env.Regions[devenv.Secondary].StoredBytes()
	if err != nil {
		return err
	}
	var rpo time.Duration
	d.say("What is left")
	fmt.Printf("\n  %-18s %12s %16s %12s %10s\n", "ledger", "acknowledged", "due at the point", "kept", "lost")
	for _, db := range slices.Sorted(maps.Keys(d.ledger)) {
		r := d.ledger[db]
		fmt.Printf("  %-18s %12d %16d %12d %10d\n", db, r.Acknowledged, r.Due, r.Kept, r.Acknowledged-r.Kept)
		rpo = max(rpo, r.Loss)
	}
	fmt.Println()
	for _, w := range d.op.Workspaces {
		fmt.Printf("  recovery point     %s of %s on timeline %d, last commit at %s\n", w.Point.RecordEnd, w.Workspace, w.Point.At.Timeline, w.Point.LastCommit.UTC().Format("15:04:05.000"))
	}
	fmt.Printf("  RPO measured       %.2f s, from the first commit that is not there to the loss\n", rpo.Seconds())
	fmt.Printf("  RTO measured       %.2f s, from the loss to the first query of an ordinary user\n", d.served.Sub(d.lost).Seconds())
	fmt.Printf("  stored             %s in the bucket of %s, for databases of %s\n", megabytes(stored), devenv.Secondary, megabytes(d.size))
	for _, region := range []string{devenv.Primary, devenv.Secondary} {
		snapshot, wal := sent(d.before, region)
		fmt.Printf("  sent to %-10s %s of WAL, %s of snapshot (to both regions)\n", region, megabytes(wal), megabytes(snapshot))
	}
	fmt.Printf("  topology           %d rows of system catalogs compared on %d servers, %d differ; %s gets in and %s does not; %s is absent\n",
		d.compared, len(d.held), d.differ, inside, outside, scratchDB)
	d.sayCost()
	d.reportHome()
	if len(d.broken) > 0 {
		return fmt.Errorf("%d promises are broken:\n  %s", len(d.broken), strings.Join(d.broken, "\n  "))
	}
	fmt.Printf("\n  Every commit at or before the recovery point was there, none was half there, and what the failover had not brought back is\n  merged: every commit that was ever acknowledged is there. Roles, rights and the firewall were as before in %s,\n  and the group is home again: %s serves, %s holds a bucket and no compute.\n", devenv.Secondary, devenv.Primary, devenv.Secondary)
	fmt.Printf("\n[%5.1fs] Done.\n", time.Since(d.began).Seconds())
	return nil
}

// sayCost tells what the secondary region costs while nothing happens: no compute is there.
func (d *demo) sayCost() {
	for _, r := range d.cost.Regions {
		if r.Region == devenv.Secondary {
			fmt.Printf("  cost               %s %.5f a month for what lay in the bucket of %s, and no compute there\n", r.Prices.Currency, r.Projected.Storage, r.Region)
		}
	}
}

// sent adds up what shippers said they sent: of snapshots in all, of WAL to one region.
func sent(s topology.GroupStatus, region string) (snapshot, wal int64) {
	for _, w := range s.Workspaces {
		if w.Snapshot != nil {
			snapshot += w.Snapshot.BytesSent
		}
		if w.WAL == nil {
			continue
		}
		for _, c := range w.WAL.Cursors {
			if c.Region == region {
				wal += c.BytesSent
			}
		}
	}
	return snapshot, wal
}

func megabytes(n int64) string { return fmt.Sprintf("%.1f MB", float64(n)/1e6) }

// cursor returns how far a region's bucket is with a workspace.
func cursor(s topology.GroupStatus, workspace, region string) topology.RecoveryPoint {
	for _, w := range s.Workspaces {
		if w.Workspace != workspace || w.WAL == nil {
			continue
		}
		if c := w.WAL.Cursor(region); c != nil {
			return c.Point
		}
	}
	return topology.RecoveryPoint{}
}
