package activities

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/smartdr/smartdr/internal/ship"
	"github.com/smartdr/smartdr/internal/snapshot"
	"github.com/smartdr/smartdr/internal/topology"
)

// held is which snapshots of a lineage the buckets hold.
type held struct {
	TakeSnapshotResult                               // of the newest one; without ID there is none
	manifests          map[string]*snapshot.Manifest // the newest of each region that has one, without files
	silent             []string                      // regions whose buckets did not answer
}

// heldSnapshots looks into the buckets. It fails when none answers; those that do not count as lacking the newest.
func heldSnapshots(ctx context.Context, to []ship.Destination, group, workspace, lineage string) (held, error) {
	h := held{manifests: map[string]*snapshot.Manifest{}}
	var last error
	for _, d := range to {
		m, err := newestOf(ctx, d, group, workspace, lineage)
		switch {
		case err != nil:
			h.silent, last = append(h.silent, d.Region), err
		case m != nil:
			h.manifests[d.Region] = m
			h.ID, h.StartedAt = max(h.ID, m.ID), later(h.StartedAt, m.StartedAt)
		}
	}
	for _, d := range to {
		if m := h.manifests[d.Region]; m != nil && m.ID == h.ID {
			h.Complete = append(h.Complete, d.Region)
		} else {
			h.Lacking = append(h.Lacking, d.Region)
		}
	}
	if len(h.silent) == len(to) {
		return h, last
	}
	return h, nil
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// regions are those whose bucket holds a whole snapshot, the newest or not.
func (h held) regions() []string { return slices.Sorted(maps.Keys(h.manifests)) }

// newest returns the newest snapshot, which is there.
func (h held) newest() *snapshot.Manifest { return h.manifests[h.Complete[0]] }

// lacks says in sentences what the newest snapshot does not bring back; nothing when there is none yet.
func (h held) lacks(inv ship.Inventory) []string {
	if h.ID == "" {
		return nil
	}
	return inv.Lacks(h.newest())
}

// lacking returns the regions whose newest snapshot does not bring a database back.
func (h held) lacking(oid uint32) (regions []string) {
	for region, m := range h.manifests {
		if !ship.BringsBack(m, oid) {
			regions = append(regions, region)
		}
	}
	slices.Sort(regions)
	return regions
}

// mark adds to the progress of a snapshot what is there besides it.
func (h held) mark(sp *topology.SnapshotProgress) {
	done := sp.Complete
	sp.Complete = slices.Concat(done, h.regions())
	slices.Sort(sp.Complete)
	sp.Complete = slices.Compact(sp.Complete)
	for i := range sp.Databases {
		lacking := h.lacking(sp.Databases[i].OID)
		sp.Databases[i].Lacking = slices.DeleteFunc(lacking, func(region string) bool { return slices.Contains(done, region) })
	}
}

// progress is what the status says of it. About buckets that do not answer it says what was said before.
func (h held) progress(lineage string, inv ship.Inventory, before topology.SnapshotProgress) topology.SnapshotProgress {
	m := h.newest()
	p := topology.SnapshotProgress{ID: h.ID, Lineage: lineage, StartedAt: h.StartedAt, MeasuredAt: now(), Complete: h.regions(),
		DoneBytes: m.TotalBytes, TotalBytes: m.TotalBytes, Databases: h.databases(inv)}
	if before.Lineage != lineage {
		return p
	}
	if before.ID == h.ID {
		p.BytesSent = before.BytesSent
	}
	for _, region := range h.silent {
		if !slices.Contains(before.Complete, region) {
			continue
		}
		p.Complete = append(p.Complete, region)
		for i := range p.Databases {
			if before.Lacks(p.Databases[i].OID, region) {
				p.Databases[i].Lacking = append(p.Databases[i].Lacking, region)
			}
		}
	}
	return p
}

// databases says of each database on the server what the newest snapshot holds of it. One that it does not know and brings
// back all the same is left to the WAL.
func (h held) databases(inv ship.Inventory) (all []topology.DatabaseProgress) {
	for _, now := range inv.Databases {
		p := topology.DatabaseProgress{Name: now.Name, OID: now.OID, Replicated: now.Kept, Lacking: h.lacking(now.OID)}
		for _, d := range h.newest().Databases {
			if d.OID == now.OID && d.Replicated {
				p.DoneBytes, p.TotalBytes = d.Bytes, d.Bytes
			}
		}
		all = append(all, p)
	}
	return all
}

// choice is what is replicated of the workspace now.
func (sub subject) choice() ship.Choice {
	names, all := sub.group.Replication.Chosen(sub.workspace.Name)
	return ship.Choice{Only: !all, Names: names}
}

// absent says which of the chosen databases that are not on the server must be expected there: they may be another workspace's.
func (sub subject) absent(names []string) (warnings []string) {
	for _, name := range names {
		named := slices.Contains(sub.group.Replication.Databases, sub.workspace.Name+"/"+name)
		if named || len(sub.group.Workspaces) == 1 {
			warnings = append(warnings, fmt.Sprintf("database %s is to be replicated and is not on the server: it was dropped or renamed", name))
		}
	}
	return warnings
}
