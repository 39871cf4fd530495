// Package history says what a bucket can restore of a workspace: which points of which lineages, and what is missing where it cannot.
// It goes by what lies in the bucket and by the group's document, and reads no more than lists, the heads of manifests and the headers of
// those segments at which something begins or ends.
package history

import (
	"context"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/smartdr/smartdr/internal/archive"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/internal/snapshot"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

const (
	opRead = "read timeline"
	// readAtOnce is how many requests are under way at a time.
	readAtOnce = 8
)

// Contents is what a region's bucket holds of a workspace, as it was listed. Its methods do no I/O. It is not for several goroutines at once.
type Contents struct {
	Workspace string
	Region    string

	group     topology.Group
	lineages  []topology.Lineage // the workspace's, then those of branches
	held      map[string]archive.Inventory
	snapshots []*snapshot.Manifest // oldest first
	damaged   error                // manifests that cannot be read
	known     *known
	surveys   map[view]survey
}

// Read lists what the bucket of a region holds of a workspace of g, and reads what Timeline and Along need. Errors are those of the
// store, and fault.Missing for a workspace that the group does not have; what is missing or damaged in the bucket is no error: it is
// a gap of the timeline.
func Read(ctx context.Context, store objectstore.Store, region string, g topology.Group, workspace string) (*Contents, error) {
	if g.Workspace(workspace) == nil {
		return nil, fault.Newf(fault.Missing, opRead, "group %s has no workspace %q", g.Name, workspace)
	}
	for attempt := 0; ; attempt++ {
		c, err := read(ctx, store, region, g, workspace)
		// A segment that was listed and is gone was merged meanwhile: the next list has what it became.
		if !fault.Is(err, fault.Missing) || attempt == 3 {
			return c, err
		}
	}
}

func read(ctx context.Context, store objectstore.Store, region string, g topology.Group, workspace string) (*Contents, error) {
	c := &Contents{Workspace: workspace, Region: region, group: g, known: newKnown(),
		held: map[string]archive.Inventory{}, surveys: map[view]survey{}}
	c.lineages = lineagesOf(g, workspace, region)
	var err error
	if c.snapshots, err = snapshot.List(ctx, store, g.Name, workspace); err != nil && !fault.Is(err, fault.Corrupt) {
		return nil, err
	}
	c.damaged = err
	if err := c.list(ctx, store); err != nil {
		return nil, err
	}
	return c, c.learn(ctx, store)
}

// lineagesOf returns the lineages of a workspace, oldest first, and behind them those of its branches that a region's bucket takes.
func lineagesOf(g topology.Group, workspace, region string) []topology.Lineage {
	all := slices.Clone(g.Workspace(workspace).Lineages)
	for _, b := range g.Branches {
		if b.Workspace != workspace || b.Region != region {
			continue
		}
		for _, l := range b.Line {
			if !slices.ContainsFunc(all, func(o topology.Lineage) bool { return o.ID == l.ID }) {
				all = append(all, l)
			}
		}
	}
	return all
}

// list reads the inventory of every lineage.
func (c *Contents) list(ctx context.Context, store objectstore.Store) error {
	var mu sync.Mutex
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(readAtOnce)
	for _, l := range c.lineages {
		g.Go(func() error {
			inv, err := archive.Open(store, c.group.Name, c.Workspace, l.ID).List(ctx)
			mu.Lock()
			defer mu.Unlock()
			c.held[l.ID] = inv
			return err
		})
	}
	return g.Wait()
}

// Timeline is all that can be restored: the windows of every lineage of the workspace and of its branches, and the gaps. Lineages come
// oldest first, the branches' behind the workspace's own.
func (c *Contents) Timeline() topology.Timeline {
	t := topology.Timeline{Workspace: c.Workspace, Region: c.Region}
	for _, l := range c.lineages {
		c.add(&t, c.survey(l, 0, 0))
	}
	return t
}

// Along is Timeline for one way: that to the end of a lineage, through all that it comes from; each window ends where the next lineage
// left. Where the workspace began anew after a hole, what came before the hole is there too. It is what a point of a workspace or of a
// branch is chosen from.
func (c *Contents) Along(lineage string) topology.Timeline {
	t := topology.Timeline{Workspace: c.Workspace, Region: c.Region}
	c.along(&t, lineage)
	return t
}

func (c *Contents) along(t *topology.Timeline, lineage string) {
	way := c.group.Ancestry(c.Workspace, lineage)
	if len(way) == 0 {
		return
	}
	if before := c.before(way[0]); before != nil {
		c.along(t, before.ID)
	}
	for i, l := range way {
		s := c.survey(l, 0, 0)
		if i+1 < len(way) {
			fork := way[i+1].Parent.At
			s = c.survey(l, fork.Timeline, fork.LSN)
		}
		c.add(t, s)
	}
}

// before returns the lineage that came before one which began anew, or nil.
func (c *Contents) before(l topology.Lineage) *topology.Lineage {
	all := c.group.Workspace(c.Workspace).Lineages
	i := slices.IndexFunc(all, func(o topology.Lineage) bool { return o.ID == l.ID })
	if l.Parent != nil || i <= 0 {
		return nil
	}
	return &all[i-1]
}

// Without returns the contents as if the objects of those keys were not there, to find out what is lost with them: what Timeline says of both
// is to be compared.
func (c *Contents) Without(keys ...string) *Contents {
	gone := map[string]bool{}
	for _, k := range keys {
		gone[k] = true
	}
	less := *c
	less.surveys = map[view]survey{}
	less.held = map[string]archive.Inventory{}
	for id, inv := range c.held {
		less.held[id] = archive.Inventory{
			Entries:   slices.DeleteFunc(slices.Clone(inv.Entries), func(e archive.Entry) bool { return gone[e.Key] }),
			Histories: c.historiesBut(id, gone),
		}
	}
	less.snapshots = slices.DeleteFunc(slices.Clone(c.snapshots), func(m *snapshot.Manifest) bool {
		return gone[snapshot.ManifestKey(m.Group, m.Workspace, m.ID)]
	})
	return &less
}

func (c *Contents) historiesBut(lineage string, gone map[string]bool) map[wal.Timeline][]byte {
	left := map[wal.Timeline][]byte{}
	for t, b := range c.held[lineage].Histories {
		if !gone[snapshot.Prefix(c.group.Name, c.Workspace)+"wal/"+lineage+"/"+wal.HistoryFileName(t)] {
			left[t] = b
		}
	}
	return left
}
