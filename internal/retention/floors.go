package retention

import (
	"time"

	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

// Horizon is how far back a region is to be restorable.
type Horizon struct {
	Now    time.Time     // the bucket's clock, or this machine's if that is behind
	Window time.Duration // every moment of it stays
	// Slack is by how much the clock of a server may differ from the bucket's: a snapshot must be older than the window by so much to be its
	// beginning.
	Slack time.Duration
}

// begin is the moment at or before which the window has to begin.
func (h Horizon) begin() time.Time { return h.Now.Add(-h.Window - h.Slack) }

// Floors says where the restorable points of the workspace's lineages begin from now on, so that every moment of the window stays
// restorable, and the newest point in any case. A floor is never lowered.
func Floors(g *topology.Group, workspace, region string, b *Bucket, h Horizon) topology.Floors {
	w := g.Workspace(workspace)
	next := topology.Floors{}
	for _, l := range w.Lineages {
		next[l.ID] = topology.Gone
	}
	for _, l := range alive(g, w, b, h) {
		lower(next, wayTo(g, workspace, l.ID, wal.Position{}), b, h)
	}
	for id, f := range next {
		if next[id] = max(f, w.Floor(region, id)); next[id] == 0 {
			delete(next, id)
		}
	}
	return next
}

// lower takes floors down to where a way's window begins.
func lower(next topology.Floors, on way, b *Bucket, h Horizon) {
	i, s := b.base(on, func(s *Snapshot) bool { return !s.Moment().After(h.begin()) })
	for n, part := range on {
		switch {
		case s == nil || n > i:
			next[part.lineage.ID] = 0
		case n == i:
			next[part.lineage.ID] = min(next[part.lineage.ID], s.Manifest.End.LSN)
		}
	}
}

// alive returns the lineages of which there are points in the window, and the one that has the newest point that can be restored.
func alive(g *topology.Group, w *topology.Workspace, b *Bucket, h Horizon) (all []topology.Lineage) {
	newest := newestUsable(g, w, b)
	over := w.State == topology.WorkspaceTerminated || g.State == topology.GroupTerminated
	for n, l := range w.Lineages {
		if l.CreatedAt.After(h.begin()) || arrived(b, l.ID).After(h.begin()) || n >= newest && !over {
			all = append(all, l)
		}
	}
	return all
}

// arrived is when something of a lineage's WAL arrived last.
func arrived(b *Bucket, lineage string) time.Time {
	if l := b.Lineages[lineage]; l != nil {
		return l.newest()
	}
	return time.Time{}
}

// newestUsable returns the place in the workspace's list of the newest lineage that a snapshot of this bucket leads to. One that is newer has
// to become usable still: after a hole, or before the first snapshot arrives.
func newestUsable(g *topology.Group, w *topology.Workspace, b *Bucket) int {
	for n := len(w.Lineages) - 1; n > 0; n-- {
		if _, s := b.base(wayTo(g, w.Name, w.Lineages[n].ID, wal.Position{}), nil); s != nil {
			return n
		}
	}
	return 0
}
