package restore

import (
	"context"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/smartdr/smartdr/internal/archive"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/wal"
)

const opFetch = "fetch WAL"

// piece is one step of the planned path, with the leg that it comes from.
type piece struct {
	leg  int
	step archive.Step
}

// fetch is one run of FetchWAL.
type fetch struct {
	FetchWAL
	pieces []piece
	total  int64 // bytes of WAL on the path
	out    FetchedWAL
}

func newFetch(f FetchWAL) *fetch {
	if f.Parallel <= 0 {
		f.Parallel = 4
	}
	if f.Log == nil {
		f.Log = slog.New(slog.DiscardHandler)
	}
	return &fetch{FetchWAL: f}
}

// run plans and writes. An object that was listed and is gone was merged meanwhile: then it plans anew, and keeps the
// files that are whole.
func (f *fetch) run(ctx context.Context) (FetchedWAL, error) {
	if err := f.check(); err != nil {
		return FetchedWAL{}, err
	}
	for attempt := 0; ; attempt++ {
		err := f.once(ctx)
		if err == nil {
			return f.out, nil
		}
		if !fault.Is(err, errMerged) || attempt == 3 {
			return FetchedWAL{}, err
		}
		f.Log.Info("a segment was merged while it was fetched: planning anew", "error", err)
	}
}

// errMerged is the kind of an object that is gone.
const errMerged = fault.Missing

func (f *fetch) check() error {
	if len(f.Legs) == 0 || !f.SegmentSize.Valid() || f.Dir == "" {
		return fault.Newf(fault.Invalid, opFetch, "%d legs, segment size %d, folder %q", len(f.Legs), f.SegmentSize, f.Dir)
	}
	return nil
}

func (f *fetch) once(ctx context.Context) error {
	if err := os.MkdirAll(f.Dir, 0o700); err != nil {
		return diskFault("make "+f.Dir, err)
	}
	lines, histories, err := f.plan(ctx)
	if err != nil {
		return err
	}
	if err := f.writeHistories(histories); err != nil {
		return err
	}
	return f.write(ctx, lines)
}

// plan lists the legs' objects and finds the path through them, up to the wanted end. It fails when the path ends before.
func (f *fetch) plan(ctx context.Context) (lines []archive.Line, histories map[wal.Timeline][]byte, err error) {
	f.pieces, f.total, histories = nil, 0, map[wal.Timeline][]byte{}
	for i, leg := range f.Legs {
		inv, err := leg.whole(ctx)
		if err != nil {
			return nil, nil, err
		}
		line, err := inv.Line(leg.Lineage.Start.Timeline)
		if err != nil {
			return nil, nil, err
		}
		lines = append(lines, line)
		maps.Copy(histories, inv.Histories)
		if err := f.planLeg(i, inv.Entries, line); err != nil {
			return nil, nil, err
		}
	}
	return lines, histories, nil
}

// planLeg adds one leg's path. A leg that has nothing after the one before adds nothing.
func (f *fetch) planLeg(i int, entries []archive.Entry, line archive.Line) error {
	leg := f.Legs[i]
	from := f.SegmentSize.Start(leg.From.LSN)
	chain := archive.Path(entries, line, from)
	switch {
	case leg.To != 0 && chain.End.LSN < leg.To, i == 0 && leg.To == 0 && chain.End.LSN <= leg.From.LSN:
		return f.gap(leg, chain)
	case i > 0 && from > f.out.End.LSN:
		return fault.Newf(fault.Missing, opFetch, "no WAL from %s to %s, where lineage %s begins", f.out.End.LSN, from, leg.Lineage.ID)
	case i > 0 && chain.End.LSN <= f.out.End.LSN:
		return nil
	case i == 0:
		f.out = FetchedWAL{Start: from}
	}
	f.out.End, f.out.Beyond = chain.End, chain.Beyond
	if leg.To != 0 {
		f.out.End, f.out.Beyond = wal.Position{Timeline: line.At(leg.To - 1), LSN: leg.To}, 0
	}
	for _, s := range chain.Steps {
		if s.Use.End = min(s.Use.End, f.out.End.LSN); s.Use.Start < s.Use.End {
			f.pieces = append(f.pieces, piece{i, s})
			f.total += s.Use.Len()
		}
	}
	return nil
}

// gap says what is missing.
func (f *fetch) gap(leg Leg, chain archive.Chain) error {
	to := leg.To
	if chain.Beyond != 0 {
		to = chain.Beyond
	}
	return fault.Newf(fault.Missing, opFetch, "lineage %s has no WAL from %s to %s", leg.Lineage.ID, chain.End, to).
		WithHint("The WAL up to %s is whole. Restore to a point at or before it, or look for the rest in the other region's bucket.", chain.End.LSN)
}

// writeHistories writes every history file that the legs' lineages have.
func (f *fetch) writeHistories(files map[wal.Timeline][]byte) error {
	f.out.Histories = slices.Sorted(maps.Keys(files))
	for t, b := range files {
		if err := writeWhole(filepath.Join(f.Dir, wal.HistoryFileName(t)), b); err != nil {
			return err
		}
	}
	return nil
}

// loaded is a decoded segment, on its way from those who fetch to the one who verifies and writes.
type loaded struct {
	seg  *archive.Segment
	err  error
	done chan struct{}
}

// write verifies and writes what is not there from an earlier run.
func (f *fetch) write(ctx context.Context, lines []archive.Line) error {
	w := &walWriter{f: f, lines: lines, leg: -1}
	if err := w.resume(); err != nil {
		return err
	}
	defer w.close()
	if err := f.pour(ctx, w, w.skip(f.pieces)); err != nil {
		return err
	}
	return w.finish()
}

// pour fetches pieces in parallel and hands them to the writer in order.
func (f *fetch) pour(ctx context.Context, w *walWriter, todo []piece) error {
	g, ctx := errgroup.WithContext(ctx)
	queue := make(chan *loaded, f.Parallel-1) // bounds the segments in memory
	g.Go(func() error { return f.load(ctx, todo, queue) })
	g.Go(func() error {
		for _, p := range todo {
			select {
			case l := <-queue:
				<-l.done
				if l.err != nil {
					return l.err
				}
				if err := w.add(p, l.seg); err != nil {
					return err
				}
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		return nil
	})
	return g.Wait()
}

// load starts fetching the pieces in order, as many at a time as the queue holds.
func (f *fetch) load(ctx context.Context, todo []piece, queue chan<- *loaded) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	for _, p := range todo {
		l := &loaded{done: make(chan struct{})}
		select {
		case queue <- l:
		case <-ctx.Done():
			return ctx.Err()
		}
		wg.Go(func() {
			l.seg, l.err = f.Legs[p.leg].Archive.Get(ctx, p.step.Entry)
			close(l.done)
		})
	}
	return nil
}
