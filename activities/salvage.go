package activities

import (
	"context"
	"path/filepath"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
)

// Salvage brings home what the pg_wal folder of a server that does not run holds of a lineage that was left. It needs the buckets and the
// folder, and no Temporal. It is no method, since every method of a Source is an activity.
func Salvage(ctx context.Context, site Site, in TailInput) (topology.Tail, error) {
	left, err := site.left(ctx, in)
	if err != nil {
		return topology.Tail{}, err
	}
	w, err := site.tailOf(left)
	if err != nil {
		return topology.Tail{}, err
	}
	b, err := w.ShipFiles(ctx, filepath.Clean(in.Files))
	if len(b.Points) == 0 || ctx.Err() != nil {
		return topology.Tail{}, err
	}
	if refused := fault.KindOf(err); refused == fault.Invalid || refused == fault.Conflict || refused == fault.Diverged || refused == fault.Missing {
		return topology.Tail{}, err // it is the folder that is wrong, and says nothing of the tail
	}
	return site.saveTail(ctx, left, w, b, "files", err)
}
