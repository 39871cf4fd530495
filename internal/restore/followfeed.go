package restore

import (
	"context"
	"time"

	"github.com/smartdr/smartdr/internal/archive"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/wal"
)

// feedAtOnce is how many objects are fed before the server is looked at again.
const feedAtOnce = 32

// feed writes the next objects, if there are any.
func (f *follow) feed(ctx context.Context) error {
	if f.complete() {
		return nil
	}
	if len(f.pending) == 0 {
		if time.Now().Before(f.listAt) {
			return nil
		}
		if err := f.look(ctx); err != nil {
			return err
		}
	}
	return f.pour(ctx)
}

// pour writes some of what was listed. An object that is gone was merged meanwhile: then it is looked for anew.
func (f *follow) pour(ctx context.Context) error {
	some := f.pending[:min(len(f.pending), feedAtOnce)]
	if len(some) == 0 {
		return nil
	}
	err := f.fetch.pour(ctx, f.writer, some)
	if fault.Is(err, errMerged) && f.merged < 3 {
		f.Log.Info("a segment was merged while it was fetched: looking anew", "error", err)
		f.merged++
		f.pending, f.listAt, f.whole = nil, time.Time{}, true
		return nil
	}
	if err != nil {
		return err
	}
	f.merged, f.pending = 0, f.pending[len(some):]
	return f.writer.sync()
}

// complete reports whether everything up to the target was written.
func (f *follow) complete() bool {
	return f.Target != nil && len(f.pending) == 0 && f.writer.leg >= 0 && (f.writer.limited() || f.writer.at >= f.writer.grow.limit)
}

// before is called with verified bytes that the server is about to see: what it needs to replay them must be there.
func (f *follow) before(to wal.LSN) error {
	out, state := &f.fetch.out, &f.server.state
	if to > state.Fed || out.RecordEnd > state.FedRecord.LSN {
		leg := f.writer.leg
		state.Fed, state.Lineage = max(state.Fed, to), f.Legs[leg].Lineage.ID
		if end := out.RecordEnd; end > state.FedRecord.LSN {
			state.FedRecord = wal.Position{Timeline: f.writer.lines[leg].At(end - 1), LSN: end}
		}
		if err := f.server.saveState(); err != nil {
			return err
		}
	}
	if len(f.server.Tablespaces) != len(out.Tablespaces) {
		f.server.Tablespaces = out.Tablespaces
		if err := f.server.placeTablespaces(); err != nil {
			return err
		}
	}
	f.server.FileCopies, f.server.Minimums = out.FileCopies, out.MaxParameters // serve starts the server anew where it has less
	return nil
}

// added dates the objects up to there.
func (f *follow) added(to wal.LSN, h archive.Header) {
	for i := range f.fed {
		if o := &f.fed[i]; o.end <= to && o.created.IsZero() {
			o.created = h.CreatedAt
		}
	}
}
