package ship

import (
	"context"

	"golang.org/x/sync/errgroup"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/snapshot"
)

// mirrorParallel is how many packs are copied at a time, each held in memory whole (about 64 MiB).
const mirrorParallel = 3

// MirrorSnapshot copies a published snapshot: the packs that hold chunks that to lacks, then the manifest. It can be
// killed and called again. It returns the bytes sent. Errors: fault.Missing or fault.Corrupt, naming the object, when
// from does not hold all of it.
func MirrorSnapshot(ctx context.Context, from, to Destination, group, workspace, id string) (int64, error) {
	m, err := snapshot.Load(ctx, from.Store, group, workspace, id)
	if err != nil {
		return 0, err
	}
	packs, err := packsLacking(ctx, from, to, m)
	if err != nil {
		return 0, err
	}
	sent := make([]int64, len(packs))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(mirrorParallel)
	for i, p := range packs {
		g.Go(func() (err error) {
			sent[i], err = snapshot.CopyPack(gctx, from.Store, to.Store, group, workspace, p.ID)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return sum(sent), err
	}
	return sum(sent), snapshot.Publish(ctx, to.Store, m)
}

// packsLacking returns the packs of from that hold what to lacks of a snapshot.
func packsLacking(ctx context.Context, from, to Destination, m *snapshot.Manifest) ([]snapshot.PackPart, error) {
	wanted := m.Wanted()
	_, err := snapshot.Locate(ctx, to.Store, m.Group, m.Workspace, wanted)
	if err != nil && !fault.Is(err, fault.Missing) && !fault.Is(err, fault.Corrupt) {
		return nil, err
	}
	return snapshot.Locate(ctx, from.Store, m.Group, m.Workspace, wanted)
}

func sum(ns []int64) (total int64) {
	for _, n := range ns {
		total += n
	}
	return total
}
