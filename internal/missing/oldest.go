package missing

import (
	"context"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/wal"
)

// OldestNeeded returns the LSN from which WAL has to be kept so that a later Scan can begin, for any fork at or behind the one given: what is
// known is only WAL up to there. A transaction that is open at the fork may commit on the old line; its first record is not before the
// RUNNING_XACTS record that is returned. oldest is the first LSN from which records can be read; fault.Missing when what is needed lies
// before it.
func OldestNeeded(ctx context.Context, walk Walk, fork, oldest wal.LSN, size wal.SegmentSize) (wal.LSN, error) {
	return 0, fault.Newf(fault.Invalid, opScan, "not there yet")
}
