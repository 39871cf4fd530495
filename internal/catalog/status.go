package catalog

import (
	"context"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
)

// Status puts together how a group stands, from the buckets that answer. A bucket that does not costs one timeout.
func (c *Catalog) Status(ctx context.Context, group string, now time.Time) (topology.GroupStatus, error) {
	l, err := c.Load(ctx, group)
	if err != nil {
		return topology.GroupStatus{}, err
	}
	regions := slices.DeleteFunc(groupRegions(&l.Group), func(r string) bool { return l.Silent[r] != "" })
	s := topology.GroupStatus{Group: l.Group, ReadAt: now, ReadFrom: l.From, Silent: l.silentOwn(c)}
	s.Workspaces = make([]topology.WorkspaceStatus, len(l.Group.Workspaces))
	errs := make([]error, len(l.Group.Workspaces))
	var wg sync.WaitGroup
	for i := range l.Group.Workspaces {
		wg.Go(func() { s.Workspaces[i], errs[i] = c.workspaceStatus(ctx, regions, &l.Group, i, now) })
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return topology.GroupStatus{}, err
		}
	}
	return s, c.judgeProtection(ctx, regions, &s, now)
}

// silentOwn leaves out regions that are none of the group's, and adds those that the configuration does not know.
func (l Loaded) silentOwn(c *Catalog) map[string]string {
	out := map[string]string{}
	for _, r := range groupRegions(&l.Group) {
		if why := l.Silent[r]; why != "" {
			out[r] = why
		} else if _, err := c.store(r); err != nil {
			out[r] = err.Error()
		}
	}
	return out
}

func (c *Catalog) workspaceStatus(ctx context.Context, regions []string, g *topology.Group, i int, now time.Time) (topology.WorkspaceStatus, error) {
	w := &g.Workspaces[i]
	s := topology.WorkspaceStatus{Workspace: w.Name}
	o := topology.Observation{Group: g, Workspace: w, Now: now}
	var reads errgroup.Group
	reads.Go(announcedTo(ctx, c, regions, g, w, walFile, func(d walDocument) { s.WAL, o.WAL = &d.WALProgress, &d.WALProgress }))
	reads.Go(announcedTo(ctx, c, regions, g, w, snapshotFile, func(d snapshotDocument) { s.Snapshot, o.Snapshot = &d.SnapshotProgress, &d.SnapshotProgress }))
	reads.Go(announcedTo(ctx, c, regions, g, w, metadataFile, func(d Metadata) { o.Databases = d.Databases }))
	if _, kept := w.Standbys[g.Other(g.Active)]; kept {
		reads.Go(announcedTo(ctx, c, regions, g, w, standbyFile, func(d standbyDocument) { s.Standby = &d.StandbyProgress }))
	}
	reads.Go(func() (err error) { s.Fences, err = c.fencesIn(ctx, regions, g.Name, w); return err })
	reads.Go(func() (err error) { s.Tails, err = c.tailsIn(ctx, regions, g, w.Name); return err })
	if err := reads.Wait(); err != nil {
		return s, err
	}
	s.Databases = topology.DatabaseStatuses(o)
	return s, nil
}

// announcedTo returns a read of what was announced last of a workspace, which goes to take if there is anything.
func announcedTo[T announcement](ctx context.Context, c *Catalog, regions []string, g *topology.Group, w *topology.Workspace, file string, take func(T)) func() error {
	return func() error {
		d, err := newestAnnounced[T](ctx, c, regions, g.Name, w.Name, file)
		if err == nil {
			take(d)
		}
		return known(err)
	}
}

// known drops what only means that there is nothing yet.
func known(err error) error {
	if fault.Is(err, fault.Missing) {
		return nil
	}
	return err
}
