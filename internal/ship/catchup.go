package ship

import (
	"context"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/smartdr/smartdr/internal/archive"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/wal"
)

// copiesAtOnce is how many segments are copied between buckets at a time; each takes up to twice CutSize of memory.
const copiesAtOnce = 3

// catchUp copies from the other buckets what this one lacks, until what is in memory joins on, and returns where that is.
// It waits while no other bucket has more. from is the bucket's tip where it is known.
func (c *cursor) catchUp(ctx context.Context, from *archive.Tip) (tip archive.Tip, err error) {
	if from != nil {
		tip = *from
	} else if tip, err = c.readTip(ctx); err != nil {
		return tip, err
	}
	for {
		c.board.reached(c.i, tip.Point(c.archive.Lineage()))
		if tip.Position.Timeline == c.leg.timeline && c.board.serves(tip.Position.LSN) {
			return tip, nil
		}
		var moved bool
		err := c.retry(ctx, "copy segments", func(ctx context.Context) (err error) {
			tip, moved, err = c.copySome(ctx, tip)
			return err
		})
		if err != nil {
			return tip, err
		}
		if !moved {
			if err := c.awaitMore(ctx, tip.Position.LSN); err != nil {
				return tip, err
			}
		}
	}
}

// readTip finds out where the bucket stands, after giving it the history files that are known.
func (c *cursor) readTip(ctx context.Context) (tip archive.Tip, err error) {
	err = c.retry(ctx, "read its tip", func(ctx context.Context) (err error) {
		if err := putHistories(ctx, c.archive, c.leg.histories); err != nil {
			return err
		}
		tip, err = c.archive.Tip(ctx, c.leg.w.Lineage)
		return err
	})
	if err == nil && tip.Line.Timeline > c.leg.line.Timeline {
		err = errRejudge // it knows of a timeline that the others did not
	}
	return tip, err
}

// awaitMore waits until another bucket or the memory may have what follows l.
func (c *cursor) awaitMore(ctx context.Context, l wal.LSN) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	_ = c.board.wait(ctx, func() bool { // a timeout means: look again
		for i, p := range c.board.at {
			if i != c.i && p.durable > l && p.live {
				return true
			}
		}
		return l >= c.board.end || len(c.board.segs) > 0 && c.board.segs[0].Header.Start <= l
	})
	return context.Cause(c.leg.ctx)
}

// copySome copies what some other bucket has after tip and returns the new one, and whether it moved.
func (c *cursor) copySome(ctx context.Context, tip archive.Tip) (archive.Tip, bool, error) {
	var failed error
	for _, other := range c.leg.cursors {
		if other == c {
			continue
		}
		inv, err := other.archive.List(ctx)
		if err != nil {
			failed = err
			continue
		}
		chain := archive.Path(inv.Entries, c.leg.line, tip.Position.LSN)
		if len(chain.Steps) == 0 {
			continue
		}
		next, err := c.copyChain(ctx, other, tip, chain)
		return next, next.Position != tip.Position, err
	}
	return tip, false, failed
}

// copyChain copies a chain's objects in order, a few at a time, each verified against the path so far. It returns as far
// as it came, also with an error. An object that was merged away meanwhile is no error: the next list has it.
func (c *cursor) copyChain(ctx context.Context, from *cursor, tip archive.Tip, chain archive.Chain) (archive.Tip, error) {
	v := archive.NewVerifier(tip.Position.LSN, tip.Digest)
	for steps := chain.Steps; len(steps) > 0; {
		n := min(copiesAtOnce, len(steps))
		got, err := fetch(ctx, from.archive, steps[:n])
		if fault.Is(err, fault.Missing) {
			return tip, nil
		}
		if err != nil {
			return tip, err
		}
		if err := c.store(ctx, v, steps[:n], got); err != nil {
			return tip, err
		}
		last := got[n-1].segment
		tip.Position = wal.Position{Timeline: c.leg.line.At(steps[n-1].Use.End - 1), LSN: steps[n-1].Use.End}
		if t := c.leg.line.At(tip.Position.LSN); t != tip.Position.Timeline {
			tip.Position.Timeline = t // exactly at a switch
		}
		_, tip.Digest = v.At()
		tip.RecordEnd, tip.LastCommit, tip.AsOf = min(last.Header.RecordEnd, tip.Position.LSN), last.Header.LastCommit, last.Header.AsOf
		c.board.reached(c.i, tip.Point(c.archive.Lineage()))
		if tip.Position.Timeline == c.leg.timeline && c.board.serves(tip.Position.LSN) {
			return tip, nil
		}
		steps = steps[n:]
	}
	return tip, nil
}

// copied is an object read from one bucket for another.
type copied struct {
	sealed  archive.Sealed
	segment *archive.Segment
}

func fetch(ctx context.Context, a *archive.Archive, steps []archive.Step) ([]copied, error) {
	got := make([]copied, len(steps))
	g, ctx := errgroup.WithContext(ctx)
	for i, s := range steps {
		g.Go(func() (err error) {
			got[i].sealed.Bytes, got[i].segment, err = a.GetBoth(ctx, s.Entry)
			if err == nil {
				got[i].sealed.Header = got[i].segment.Header
			}
			return err
		})
	}
	return got, g.Wait()
}

// store verifies that the objects continue the path and puts them into the bucket.
func (c *cursor) store(ctx context.Context, v *archive.Verifier, steps []archive.Step, got []copied) error {
	for i, s := range steps {
		if _, err := v.Next(got[i].segment, s.Use); err != nil {
			return err
		}
	}
	g, ctx := errgroup.WithContext(ctx)
	for i := range got {
		g.Go(func() error {
			e, err := c.archive.Put(ctx, got[i].sealed)
			if err == nil {
				c.merge.add(e)
			}
			return err
		})
	}
	return g.Wait()
}
