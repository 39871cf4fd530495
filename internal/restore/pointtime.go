package restore

import (
	"context"
	"sort"
	"time"

	"github.com/smartdr/smartdr/internal/archive"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/wal"
)

// notBefore returns a position of the way before which no commit is later than a moment. It reads the headers of a few segments, and
// stays at the beginning where they do not tell: those of older versions, or when a clock that was ahead has been set back.
func notBefore(ctx context.Context, w *walk, moment time.Time) (at wal.LSN, err error) {
	err = w.again(func() error {
		at = w.size.Start(w.legs[0].From.LSN)
		for i := range w.legs {
			if err := w.list(ctx, i); err != nil {
				return err
			}
			behind := at // all before is known
			steps := w.chains[i].Steps
			header := func(e archive.Entry) (archive.Header, error) { return w.legs[i].Archive.Header(ctx, e) }
			n, err := firstUnproven(steps, header, behind, moment)
			if err != nil {
				return err
			}
			if n > 0 {
				at = max(at, steps[n-1].Use.End)
			}
			if n < len(steps) {
				return nil
			}
			if to := w.legs[i].To; to != 0 {
				at = min(at, to)
			}
		}
		return nil
	})
	return at, err
}

// firstUnproven returns how many steps surely have no commit behind a position that is later than a moment. What is said of one
// holds for all steps before it, so that a step that says nothing only costs reading.
func firstUnproven(steps []archive.Step, header func(archive.Entry) (archive.Header, error), behind wal.LSN, moment time.Time) (n int, err error) {
	n = sort.Search(len(steps), func(i int) bool {
		if err != nil {
			return true
		}
		h, e := header(steps[i].Entry)
		if e != nil && !fault.Is(e, fault.Corrupt) { // a damaged one is met again by whoever reads it
			err = e
		}
		return e != nil || h.Latest == nil || h.Latest.Since > behind || h.Latest.Time.After(moment)
	})
	return n, err
}
