package restore

import (
	"context"

	"github.com/smartdr/smartdr/internal/archive"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/wal"
)

// ListPoints reads all WAL of the way that legs describe and returns the restore points that somebody made there, oldest first. Errors as
// in FetchWAL.
func ListPoints(ctx context.Context, legs []Leg, size wal.SegmentSize) (points []NamedPoint, err error) {
	if len(legs) == 0 || !size.Valid() {
		return nil, fault.Newf(fault.Invalid, opPoint, "%d legs, segment size %d", len(legs), size)
	}
	from := legs[0].From.LSN
	w := walk{legs: legs, size: size, from: from, visit: func(_ int, _ archive.Line, r wal.Record) error {
		if r.Restore != nil && r.End > from {
			points = append(points, NamedPoint{r.Restore.Name, r.End, r.Restore.Time})
		}
		return nil
	}}
	err = w.run(ctx, func() { points = nil })
	return points, err
}
