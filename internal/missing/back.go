package missing

import (
	"context"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/wal"
)

// back reads WAL backwards, in windows that grow, each of them forwards.
type back struct {
	walk   Walk
	oldest wal.LSN // nothing can be read before
	size   wal.SegmentSize
	read   func(n wal.LSN) // is told how far it is behind; nil: nobody wants to know
}

// place is that of a record.
type place struct{ start, end wal.LSN }

// lastBefore returns the last record of running transactions (wal.Running) that ends at or before to and is wanted; false when WAL from there
// is not kept. visit sees all records between it and to, some before, and some twice; nil: nobody wants them.
func (b *back) lastBefore(ctx context.Context, to wal.LSN, want func(wal.Running) bool, visit func(wal.Record) error) (last place, found bool, err error) {
	top, step, single := to, wal.LSN(b.size), false
	for to > b.oldest {
		from := max(b.oldest, b.size.Start(to-min(to, step)))
		w := window{to: to, want: want, visit: visit}
		err := w.read(ctx, b.walk, from)
		switch {
		case fault.Is(err, fault.Missing) && single:
			return last, false, nil
		case fault.Is(err, fault.Missing):
			step, single = 1, true // a part of it may be there: file by file
			continue
		case err != nil:
			return last, false, err
		}
		if b.read != nil {
			b.read(top - from)
		}
		if w.found || from == b.oldest {
			return w.last, w.found, nil
		}
		switch {
		case w.first == 0: // a record is longer
			step += wal.LSN(b.size)
		case single:
			to, step = w.first, 1
		default:
			to, step = w.first, 2*step
		}
	}
	return last, false, nil
}

// window is a stretch of WAL.
type window struct {
	to    wal.LSN
	want  func(wal.Running) bool
	visit func(wal.Record) error

	first, end wal.LSN // of the records in it, where the one before the first ends, and where the last does; 0: there is none
	last       place
	found      bool
}

// read reads it. Where its first record begins does not matter, but from there on nothing may be missing.
func (w *window) read(ctx context.Context, walk Walk, from wal.LSN) error {
	if err := walk(ctx, from, w.to, w.see); err != nil {
		return err
	}
	if w.first != 0 && !wal.Adjacent(w.end, w.to) {
		return fault.Newf(fault.Corrupt, opScan, "the last record before %s ends at %s", w.to, w.end)
	}
	return nil
}

func (w *window) see(r wal.Record) error {
	if w.first == 0 {
		w.first = r.Behind()
	} else if !wal.Adjacent(w.end, r.Behind()) {
		return fault.Newf(fault.Corrupt, opScan, "the record at %s does not follow %s", r.Start, w.end)
	}
	w.end = r.End
	x, ok, err := r.Running()
	if ok && w.want(x) {
		w.last, w.found = place{r.Start, r.End}, true
	}
	if err == nil && w.visit != nil {
		err = w.visit(r)
	}
	return err
}
