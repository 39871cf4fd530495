package ship

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/smartdr/smartdr/internal/archive"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

// putsInFlight is how many segments a bucket is sent at a time: the latency of object stores is far above the time that a
// segment takes to arrive.
const putsInFlight = 4

// errNoAnswer is shown of a bucket while a request to it hangs.
var errNoAnswer = fault.Newf(fault.Transient, "wait for the bucket", "no answer for %s", localGrace)

// cursor brings one bucket forward.
type cursor struct {
	i       int // its place on the board
	region  string
	archive *archive.Archive
	board   *board
	leg     *leg
	merge   *merger
	log     *slog.Logger
}

// run brings the bucket forward until ctx is done. It returns what nobody can wait out: fault.Diverged or errRejudge.
// Everything else, damaged objects too, holds up this bucket alone and is shown as its error.
func (c *cursor) run(ctx context.Context, tip *archive.Tip) error {
	for {
		if tip == nil || !c.board.serves(tip.Position.LSN) {
			t, err := c.catchUp(ctx, tip)
			if err != nil {
				return err
			}
			tip = &t
		}
		c.board.join(c.i, tip.Point(c.archive.Lineage()))
		err := c.follow(ctx, tip.Position.LSN)
		if !errors.Is(err, errEvicted) {
			return err
		}
		tip = nil
		c.board.leave(c.i)
		c.log.Warn("bucket is too far behind to be served from memory: catching up from another one", "region", c.region)
	}
}

// sending is a segment on its way to the bucket.
type sending struct {
	s    archive.Sealed
	e    archive.Entry
	done chan struct{}
	err  error
}

// follow sends what is sealed from position l on, as it comes.
func (c *cursor) follow(ctx context.Context, l wal.LSN) error {
	g, gctx := errgroup.WithContext(ctx)
	order := make(chan *sending, putsInFlight-1)
	g.Go(func() error {
		defer close(order)
		for {
			s, err := c.board.next(gctx, l)
			if err != nil {
				return err
			}
			p := &sending{s: s, done: make(chan struct{})}
			select {
			case order <- p: // bounds the number in flight
			case <-gctx.Done():
				return gctx.Err()
			}
			go c.send(gctx, p)
			l = s.Header.End
		}
	})
	g.Go(func() error { return c.settle(order) })
	return g.Wait()
}

// settle advances the cursor in order as segments arrive.
func (c *cursor) settle(order <-chan *sending) error {
	for p := range order {
		<-p.done
		if p.err != nil {
			return p.err
		}
		h := p.s.Header
		c.board.reached(c.i, pointOf(h))
		c.merge.add(p.e)
	}
	return nil
}

// send stores a segment, however long that takes. Only what waiting cannot cure ends it.
func (c *cursor) send(ctx context.Context, p *sending) {
	defer close(p.done)
	p.err = c.retry(ctx, "put segment", func(ctx context.Context) (err error) {
		p.e, err = c.archive.Put(ctx, p.s)
		return err
	})
}

// retry does f until it succeeds, ctx is done, or it fails for good.
func (c *cursor) retry(ctx context.Context, what string, f func(context.Context) error) error {
	for n := 0; ; n++ {
		err := c.attempt(ctx, n, f)
		if err == nil {
			c.board.worked(c.i)
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if fault.Is(err, fault.Diverged) || errors.Is(err, errRejudge) {
			return err
		}
		c.board.failed(c.i, err)
		c.log.Warn("bucket does not take what it is sent", "region", c.region, "request", what, "attempt", n+1, "error", err)
		if !pause(ctx, n) {
			return ctx.Err()
		}
	}
}

// attempt does f once. A bucket that does not answer for long counts as away, and is asked again in the end, each time
// with more patience, so that a slow line gets there too.
func (c *cursor) attempt(ctx context.Context, n int, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, c.leg.w.patience<<min(n, 4))
	defer cancel()
	defer time.AfterFunc(localGrace, func() { c.board.failed(c.i, errNoAnswer) }).Stop()
	return f(ctx)
}

// pause waits before attempt n+2, up to about 5 s, and reports whether ctx is still alive.
func pause(ctx context.Context, n int) bool {
	d := min(200*time.Millisecond<<min(n, 10), 5*time.Second)
	t := time.NewTimer(d/2 + rand.N(d/2))
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// pointOf returns the recovery point that a bucket has once it holds everything up to a segment's end.
func pointOf(h archive.Header) topology.RecoveryPoint {
	return topology.RecoveryPoint{Lineage: h.Lineage, At: wal.Position{Timeline: h.Timeline, LSN: h.End},
		RecordEnd: h.RecordEnd, LastCommit: h.LastCommit.Time, AsOf: h.AsOf}
}
