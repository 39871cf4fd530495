package ship

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/smartdr/smartdr/internal/wal"
)

// chunk is a run of WAL that becomes one segment.
type chunk struct {
	start wal.LSN
	raw   []byte
	asOf  time.Time // everything that the server had flushed by then lies before the chunk's end; zero when it was behind
}

func (c chunk) end() wal.LSN { return c.start + wal.LSN(len(c.raw)) }

// cutter collects what is received into chunks. They end at multiples of size, so that segments neither straddle these nor
// need merging under load, and otherwise wherever a cut is asked for. The number of chunks under way is bounded: append
// waits for one that has been sealed.
type cutter struct {
	size int64
	out  chan chunk
	free chan []byte // empty buffers

	got atomic.Uint64 // next, for those who must not wait for mu

	mu    chan struct{} // a mutex that can be waited for with a context; it guards what follows
	next  wal.LSN       // first byte that was not received
	buf   []byte        // nil, or the bytes before next that were not cut off yet
	since time.Time
	asOf  time.Time
}

func newCutter(start wal.LSN, size int64, buffers int) *cutter {
	c := &cutter{size: size, out: make(chan chunk), free: make(chan []byte, buffers), mu: make(chan struct{}, 1), next: start}
	c.got.Store(uint64(start))
	for range buffers {
		c.free <- nil // made when first used
	}
	return c
}

func (c *cutter) lock(ctx context.Context) error {
	select {
	case c.mu <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *cutter) unlock() { <-c.mu }

// received returns the position after the last byte taken. It does not wait for append, which may wait for a bucket.
func (c *cutter) received() wal.LSN { return wal.LSN(c.got.Load()) }

// append takes the bytes at position at that it does not have yet.
func (c *cutter) append(ctx context.Context, at wal.LSN, b []byte) error {
	if err := c.lock(ctx); err != nil {
		return err
	}
	defer c.unlock()
	if at > c.next {
		return fmt.Errorf("the server sent %s after %s", at, c.next)
	}
	b = b[min(wal.LSN(len(b)), c.next-at):]
	for len(b) > 0 {
		if err := c.room(ctx); err != nil {
			return err
		}
		if c.full() { // an earlier append was interrupted before it could cut
			if err := c.cut(ctx); err != nil {
				return err
			}
			continue
		}
		n := min(len(b), int(c.size-int64(c.next)%c.size))
		c.buf = append(c.buf, b[:n]...)
		c.next += wal.LSN(n)
		c.got.Store(uint64(c.next))
		b = b[n:]
		if c.full() {
			if err := c.cut(ctx); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *cutter) full() bool { return len(c.buf) > 0 && int64(c.next)%c.size == 0 }

// room makes sure that there is a buffer.
func (c *cutter) room(ctx context.Context) error {
	if c.buf != nil {
		return nil
	}
	select {
	case b := <-c.free:
		if b == nil {
			b = make([]byte, 0, c.size)
		}
		c.buf, c.since = b[:0], time.Now()
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// current notes that at a moment the server had nothing flushed beyond what was received.
func (c *cutter) current(ctx context.Context, now time.Time) error {
	if err := c.lock(ctx); err != nil {
		return err
	}
	defer c.unlock()
	c.asOf = now
	return nil
}

// cutOlder cuts off what there is if it began before a moment.
func (c *cutter) cutOlder(ctx context.Context, than time.Time) error {
	if err := c.lock(ctx); err != nil {
		return err
	}
	defer c.unlock()
	if c.buf == nil || c.since.After(than) {
		return nil
	}
	return c.cut(ctx)
}

// cut hands over what there is.
func (c *cutter) cut(ctx context.Context) error {
	k := chunk{c.next - wal.LSN(len(c.buf)), c.buf, c.asOf}
	select {
	case c.out <- k:
		c.buf = nil
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// release takes back the buffer of a chunk that was sealed.
func (c *cutter) release(k chunk) { c.free <- k.raw[:0] }

// run cuts by time until ctx is done.
func (c *cutter) run(ctx context.Context, after time.Duration) error {
	t := time.NewTicker(max(after/20, 5*time.Millisecond))
	defer t.Stop()
	for {
		select {
		case now := <-t.C:
			if err := c.cutOlder(ctx, now.Add(-after)); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
