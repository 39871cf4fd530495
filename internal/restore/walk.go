package restore

import (
	"context"
	"errors"

	"golang.org/x/sync/errgroup"

	"github.com/smartdr/smartdr/internal/archive"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/wal"
)

const (
	// walkAhead is how many objects are read at a time, and how many lie in memory.
	walkAhead = 4
	// walkBefore is how much earlier than wanted a walk begins, so that the record that crosses its start is seen whole. It is one
	// that says something in all but curious cases: a commit with many thousands of subtransactions is longer.
	walkBefore = 64 << 10
)

// errEnough ends a walk.
var errEnough = errors.New("seen enough")

// walk is a look at the records on the way that legs describe, in a bucket. It writes nothing.
type walk struct {
	legs []Leg
	size wal.SegmentSize
	from wal.LSN // records that end at or before it may be left out
	to   wal.LSN // records that end behind it are left out; 0: none
	// visit is called for each record, with its leg; each is on the way, and comes once. It ends the walk by errEnough.
	visit func(leg int, line archive.Line, r wal.Record) error

	// By leg, as far as it was listed; kept from one run to the next.
	lines  []archive.Line
	chains []archive.Chain
}

// run walks. Objects that were merged meanwhile make it begin anew, after a call of begin.
func (w *walk) run(ctx context.Context, begin func()) error {
	return w.again(func() error {
		begin()
		return w.once(ctx)
	})
}

// again does what reads objects that were listed, and lists them anew when some were merged meanwhile.
func (w *walk) again(do func() error) error {
	for attempt := 0; ; attempt++ {
		err := do()
		if !fault.Is(err, errMerged) || attempt == 3 {
			return err
		}
		w.lines, w.chains = nil, nil
	}
}

// end is where the last leg ends that was listed.
func (w *walk) end() wal.LSN {
	i := len(w.chains) - 1
	if to := w.legs[i].To; to != 0 {
		return min(to, w.chains[i].End.LSN)
	}
	return w.chains[i].End.LSN
}

func (w *walk) once(ctx context.Context) error {
	for i := range w.legs {
		err := w.leg(ctx, i)
		if errors.Is(err, errEnough) {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// leg walks through one leg.
func (w *walk) leg(ctx context.Context, i int) error {
	if err := w.list(ctx, i); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	return w.read(ctx, i, w.steps(i))
}

// list finds a leg's way in the bucket, once.
func (w *walk) list(ctx context.Context, i int) error {
	if i < len(w.chains) {
		return nil
	}
	leg := w.legs[i]
	inv, err := leg.whole(ctx)
	if err != nil {
		return err
	}
	line, err := inv.Line(leg.Lineage.Start.Timeline)
	if err != nil {
		return err
	}
	chain := archive.Path(inv.Entries, line, w.size.Start(leg.From.LSN))
	if leg.To != 0 && chain.End.LSN < leg.To {
		return newFetch(FetchWAL{}).gap(leg, chain)
	}
	w.lines, w.chains = append(w.lines, line), append(w.chains, chain)
	return nil
}

// steps are those of a leg's way that hold what is wanted.
func (w *walk) steps(i int) (steps []archive.Step) {
	from := w.size.Start(w.from - min(w.from, walkBefore)) // after a log switch there are no pages in the middle of a file
	for _, s := range w.chains[i].Steps {
		for _, to := range []wal.LSN{w.legs[i].To, w.to} {
			if to != 0 {
				s.Use.End = min(s.Use.End, to)
			}
		}
		if s.Use.Start = max(s.Use.Start, from); s.Use.Start < s.Use.End {
			steps = append(steps, s)
		}
	}
	return steps
}

// read reads objects ahead, and scans them in order.
func (w *walk) read(ctx context.Context, i int, steps []archive.Step) error {
	g, ctx := errgroup.WithContext(ctx)
	queue := make(chan *loaded, walkAhead-1)
	g.Go(func() error {
		defer close(queue)
		for _, s := range steps {
			l := &loaded{done: make(chan struct{})}
			select {
			case queue <- l:
			case <-ctx.Done():
				return nil // who ended it says why
			}
			go func() {
				defer close(l.done)
				l.seg, l.err = w.legs[i].Archive.Get(ctx, s.Entry)
			}()
		}
		return nil
	})
	g.Go(func() error {
		var chain archive.Verifier
		scanner := wal.NewScanner(w.size)
		for _, s := range steps {
			l, ok := <-queue
			if !ok {
				return ctx.Err()
			}
			<-l.done
			if l.err != nil {
				return l.err
			}
			if err := w.scan(i, scanner, &chain, s, l.seg); err != nil {
				return err
			}
		}
		return nil
	})
	return g.Wait()
}

// scan visits the records of one object.
func (w *walk) scan(i int, scanner *wal.Scanner, chain *archive.Verifier, s archive.Step, seg *archive.Segment) error {
	raw, err := chain.Next(seg, s.Use)
	if err != nil {
		return fault.New(fault.KindOf(err), s.Entry.Key, err)
	}
	var stop error
	err = scanner.Feed(s.Use.Start, raw, func(r wal.Record) {
		// Up to the fork a leg repeats the one before.
		if stop != nil || i > 0 && r.End <= w.legs[i-1].To || w.legs[i].To != 0 && r.End > w.legs[i].To || w.to != 0 && r.End > w.to {
			return
		}
		stop = w.visit(i, w.lines[i], r)
	})
	if err != nil {
		return fault.New(fault.Corrupt, s.Entry.Key, err)
	}
	return stop
}
