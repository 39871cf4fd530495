package ship

import (
	"context"

	"golang.org/x/sync/errgroup"

	"github.com/smartdr/smartdr/internal/snapshot"
)

// mirrorParallel is how many packs are copied at a time, each held in memory whole (about 64 MiB).
const mirrorParallel = 3

// MirrorSnapshot copies a published snapshot: the packs that hold chunks that to lacks, or what deltas there stand on, then the manifest.
// It can be killed and called again. It returns the bytes sent. Errors: fault.Missing or fault.Corrupt, naming the object, when
// from does not hold all of it.
func MirrorSnapshot(ctx context.Context, from, to Destination, group, workspace, id string) (int64, error) {
	m, err := snapshot.Load(ctx, from.Store, group, workspace, id)
	if err != nil {
		return 0, err
	}
	watch, err := snapshot.WatchCondemned(ctx, to.Store, group, workspace)
	if err != nil {
		return 0, err
	}
	packs, err := packsLacking(ctx, from, to, m, watch)
	if err != nil {
		return 0, err
	}
	sent := make([]int64, len(packs))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(mirrorParallel)
	for i, p := range packs {
		g.Go(func() error {
			err := watch.Spare(gctx, p)
			if err == nil {
				sent[i], err = snapshot.CopyPack(gctx, from.Store, to.Store, group, workspace, p)
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return sum(sent), err
	}
	return sum(sent), watch.Publish(ctx, m)
}

// packsLacking returns the packs of from that hold what to lacks of a snapshot. What lies there in packs that are condemned counts as lacking.
func packsLacking(ctx context.Context, from, to Destination, m *snapshot.Manifest, watch *snapshot.Watch) ([]string, error) {
	var there, here []snapshot.Index
	err := snapshot.EachIndex(ctx, to.Store, m.Group, m.Workspace, func(p snapshot.Index) {
		if !watch.Condemned(p.ID) {
			there = append(there, p)
		}
	})
	if err != nil {
		return nil, err
	}
	_, lacking := snapshot.Needed(m.Wanted(), there)
	if len(lacking) == 0 {
		return nil, nil
	}
	err = snapshot.EachIndex(ctx, from.Store, m.Group, m.Workspace, func(p snapshot.Index) { here = append(here, p) })
	if err != nil {
		return nil, err
	}
	return snapshot.Lacking(lacking, here, there)
}

func sum(ns []int64) (total int64) {
	for _, n := range ns {
		total += n
	}
	return total
}
