package missing

import (
	"context"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/wal"
)

// OldestNeeded returns the LSN from which WAL has to be kept so that a later Scan can begin, for any fork at or behind the one given: what is
// known is only WAL up to there. A transaction that is open at the fork may commit on the old line; its first record is not before the
// one that is returned, which says which transactions run. oldest is the first LSN from which records can be read; fault.Missing when what
// is needed lies before it.
func OldestNeeded(ctx context.Context, walk Walk, fork, oldest wal.LSN, size wal.SegmentSize) (wal.LSN, error) {
	b := back{walk: walk, oldest: oldest, size: size}
	var open uint32
	last, found, err := b.lastBefore(ctx, fork, func(x wal.Running) bool {
		if x.OldestXID != 0 {
			open = x.OldestXID
		}
		return x.OldestXID != 0
	}, nil)
	if err != nil {
		return 0, judge(err)
	}
	if found {
		last, found, err = b.lastBefore(ctx, last.end, func(x wal.Running) bool { return !older(open, x.NextXID) }, nil)
	}
	if err == nil && !found {
		err = fault.Newf(fault.Missing, opScan, "WAL before %s is not kept, and a transaction that is open at %s may reach back to there", oldest, fork)
	}
	return last.start, judge(err)
}
