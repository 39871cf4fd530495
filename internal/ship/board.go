package ship

import (
	"context"
	"errors"
	"sort"
	"sync"
	"time"

	"github.com/smartdr/smartdr/internal/archive"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

// errEvicted means that the segment a bucket wants next is not in memory any more: it is in another bucket.
var errEvicted = errors.New("segment is no longer in memory")

// localGrace is for how long the slot waits for the local bucket before it follows another one.
const localGrace = 10 * time.Second

// board is what the shipper and its cursors share while one timeline is streamed: the sealed segments that some bucket
// still needs, and where every bucket stands. A segment leaves memory when all buckets have it, or, when memory is short,
// when one has it; while none has, push waits, which in the end stops reading from the server.
type board struct {
	mu    sync.Mutex
	wake  chan struct{} // closed and replaced at every change
	segs  []archive.Sealed
	bytes int64
	limit int64
	start wal.LSN // where the leg began
	end   wal.LSN // of the last segment pushed
	at    []place // by destination

	flushed wal.LSN // the highest flush position ever given out
}

// place is where one bucket stands.
type place struct {
	durable wal.LSN // end of what is stored without a gap; 0 while unknown
	live    bool    // it takes segments as they come; otherwise it catches up
	point   topology.RecoveryPoint
	away    time.Time // since when it does not take segments; zero when it does
	err     error     // why not
}

func newBoard(places int, start wal.LSN, limit int64, now time.Time) *board {
	b := &board{wake: make(chan struct{}), limit: limit, start: start, end: start, at: make([]place, places)}
	for i := range b.at {
		b.at[i].away = now
	}
	return b
}

// changed must be called with mu held.
func (b *board) changed() {
	close(b.wake)
	b.wake = make(chan struct{})
}

// wait calls cond with mu held until it is true or ctx is done.
func (b *board) wait(ctx context.Context, cond func() bool) error {
	for {
		b.mu.Lock()
		ok, wake := cond(), b.wake
		b.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-wake:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// push adds the next segment once there is room for it.
func (b *board) push(ctx context.Context, s archive.Sealed) error {
	size := int64(cap(s.Bytes))
	return b.wait(ctx, func() bool {
		b.evict(size)
		if b.bytes+size > b.limit && len(b.segs) > 0 {
			return false
		}
		b.segs = append(b.segs, s)
		b.bytes += size
		b.end = s.Header.End
		b.changed()
		return true
	})
}

// evict drops what nobody needs, and what somebody may need but has to fetch elsewhere when size bytes more have no room.
func (b *board) evict(size int64) {
	least, most := b.at[0].durable, wal.LSN(0)
	for _, p := range b.at {
		least, most = min(least, p.durable), max(most, p.durable)
	}
	n := 0
	for ; n < len(b.segs); n++ {
		end := b.segs[n].Header.End
		if end > least && (end > most || b.bytes+size <= b.limit) {
			break
		}
		b.bytes -= int64(cap(b.segs[n].Bytes))
		b.segs[n] = archive.Sealed{}
	}
	b.segs = b.segs[n:]
}

// next returns the segment that holds the byte at l, as soon as there is one.
func (b *board) next(ctx context.Context, l wal.LSN) (s archive.Sealed, err error) {
	waitErr := b.wait(ctx, func() bool {
		if l >= b.end {
			return false
		}
		i := sort.Search(len(b.segs), func(i int) bool { return b.segs[i].Header.End > l })
		if i == len(b.segs) || b.segs[i].Header.Start > l {
			err = errEvicted
		} else {
			s = b.segs[i]
		}
		return true
	})
	return s, errors.Join(waitErr, err)
}

// serves reports whether a bucket that holds everything up to l can go on with what is in memory.
func (b *board) serves(l wal.LSN) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return l >= b.end || len(b.segs) > 0 && b.segs[0].Header.Start <= l
}

// join says that destination i holds everything up to the point and takes segments from now on.
func (b *board) join(i int, p topology.RecoveryPoint) {
	b.set(i, func(at *place) { *at = place{durable: p.At.LSN, live: true, point: p} })
}

// leave says that destination i catches up from another bucket.
func (b *board) leave(i int) {
	b.set(i, func(at *place) { at.live, at.away = false, time.Now() })
}

// reached says that destination i holds everything up to the point.
func (b *board) reached(i int, p topology.RecoveryPoint) {
	b.set(i, func(at *place) {
		if p.At.LSN > at.durable {
			at.durable, at.point = p.At.LSN, p
		}
	})
}

// failed says that a request to destination i failed, and worked that one succeeded.
func (b *board) failed(i int, err error) {
	b.set(i, func(at *place) {
		at.err = err
		if at.away.IsZero() {
			at.away = time.Now()
		}
	})
}

func (b *board) worked(i int) {
	b.mu.Lock()
	clean := b.at[i].err == nil
	b.mu.Unlock()
	if !clean {
		b.set(i, func(at *place) {
			if at.err = nil; at.live {
				at.away = time.Time{}
			}
		})
	}
}

func (b *board) set(i int, f func(*place)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	f(&b.at[i])
	b.changed()
}

// places returns a copy of where all buckets stand, and of the end of what was pushed.
func (b *board) places() ([]place, wal.LSN) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]place(nil), b.at...), b.end
}

// flush returns the position up to which the server may forget its WAL: what the local bucket holds, or, once that has
// been away for localGrace, what any bucket holds. It never goes back.
func (b *board) flush(now time.Time) wal.LSN {
	b.mu.Lock()
	defer b.mu.Unlock()
	local := b.at[0]
	l := local.durable
	if !local.away.IsZero() && now.Sub(local.away) > localGrace {
		for _, p := range b.at {
			l = max(l, p.durable)
		}
	}
	b.flushed = max(b.flushed, min(l, b.end))
	return b.flushed
}

// stored waits until some bucket, or every bucket that takes segments, holds everything up to l.
func (b *board) stored(ctx context.Context, l wal.LSN, everywhere bool) error {
	return b.wait(ctx, func() bool {
		some, all := false, true
		for _, p := range b.at {
			some = some || p.durable >= l
			all = all && (!p.away.IsZero() || p.durable >= l)
		}
		return some && (all || !everywhere)
	})
}
