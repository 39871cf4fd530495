package ship

import (
	"context"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

const (
	// tailEvery is how often a tail is compared with where it ends.
	tailEvery = 250 * time.Millisecond
	// tailPatience is for how long a bucket that does not move holds up the end of a tail that another one holds whole.
	tailPatience = 20 * time.Second
)

// Brought is how far the WAL of a lineage that was left is in the buckets.
type Brought struct {
	Points []topology.RecoveryPoint // by destination; zero where the bucket did not answer
	// End is where the lineage's WAL ends: a server that is fenced, or files that nobody writes. Zero while that is not known.
	End wal.Position
}

// In reports whether destination i holds everything up to the end.
func (b Brought) In(i int) bool {
	return b.End.LSN != 0 && b.Points[i].At.Compare(b.End) >= 0
}

// Whole reports whether every bucket holds everything up to the end.
func (b Brought) Whole() bool {
	for i := range b.Points {
		if !b.In(i) {
			return false
		}
	}
	return true
}

// Furthest returns the destination that holds most.
func (b Brought) Furthest() (best int) {
	for i, p := range b.Points {
		if p.At.Compare(b.Points[best].At) > 0 {
			best = i
		}
	}
	return best
}

// ShipTail ships what the server of a lineage that was left wrote and goes on to write: a newer epoch does not stop it. That it was
// left is for the caller to know. end says where the WAL ends that counts, or zero while that is not known: since the server is
// not fenced yet. ShipTail returns once every bucket that answers holds everything up to there, or when ctx is done. Errors
// are those of Run. Two at once, and a Run beside it, are harmless: they put the same bytes under the same keys.
func (w *WAL) ShipTail(ctx context.Context, end func(context.Context) (wal.Position, error)) (Brought, error) {
	s := newShipper(w)
	s.tail = true
	return s.bring(ctx, end)
}

// ShipFiles is ShipTail from the pg_wal folder of a server that does not run: what its whole records hold. The folder may be a
// data directory, too. It is only read.
func (w *WAL) ShipFiles(ctx context.Context, dir string) (Brought, error) {
	s := newShipper(w)
	s.tail, s.dir = true, dir
	return s.bring(ctx, func(context.Context) (wal.Position, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.ends, nil
	})
}

// setEnd says that the files have no more.
func (s *shipper) setEnd(p wal.Position) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ends = p
}

func (s *shipper) bring(ctx context.Context, end func(context.Context) (wal.Position, error)) (b Brought, err error) {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var watch errgroup.Group
	watch.Go(func() error {
		b.End = s.awaitTail(ctx, end)
		stop()
		return nil
	})
	err = s.run(ctx)
	stop()
	_ = watch.Wait()
	for _, c := range s.progress(time.Now()).Cursors {
		b.Points = append(b.Points, c.Point)
	}
	return b, err
}

// awaitTail waits until every bucket that moves holds everything up to the end, and returns that; zero when ctx was done before
// it was known.
func (s *shipper) awaitTail(ctx context.Context, end func(context.Context) (wal.Position, error)) (at wal.Position) {
	t := time.NewTicker(tailEvery)
	defer t.Stop()
	still := stillness{}
	for {
		select {
		case now := <-t.C:
			found, err := end(ctx)
			if err != nil && ctx.Err() == nil {
				s.Log.Warn("where the tail ends is not known", "error", err)
			}
			if err == nil && found.LSN != 0 {
				at = found
			}
			if at.LSN != 0 && still.over(s.progress(now).Cursors, at, now) {
				return at
			}
		case <-ctx.Done():
			return at
		}
	}
}

// stillness is since when no bucket that lacks something has moved.
type stillness struct {
	points []topology.RecoveryPoint
	since  time.Time
}

// over reports whether all buckets hold everything up to end, or one does and the others have not moved for a while.
func (s *stillness) over(cursors []topology.Cursor, end wal.Position, now time.Time) bool {
	some, all, moved := false, true, len(s.points) != len(cursors)
	points := make([]topology.RecoveryPoint, len(cursors))
	for i, c := range cursors {
		points[i] = c.Point
		in := c.Point.At.Compare(end) >= 0
		some, all = some || in, all && in
		moved = moved || c.Point.At != s.points[i].At
	}
	if moved {
		s.points, s.since = points, now
	}
	return all || some && now.Sub(s.since) > tailPatience
}

// CopyTail brings every bucket that answers as far along the lineage as the one that has most, without its server. Every object is
// verified against the path so far. A bucket that does not answer at first has a zero point afterwards; one that ends to answer holds it
// up, for as long as ctx allows.
func (w *WAL) CopyTail(ctx context.Context) (Brought, error) {
	s := newShipper(w)
	s.tail = true
	if err := s.check(); err != nil {
		return Brought{}, err
	}
	t, err := s.readTips(ctx)
	if err != nil {
		return Brought{}, err
	}
	t.doubt(t.furthest().Line.Timeline)
	l, err := s.newLeg(ctx, t)
	if err != nil {
		return Brought{}, err
	}
	return l.level(ctx, t)
}

// level copies to each bucket what it lacks.
func (l *leg) level(ctx context.Context, t tips) (Brought, error) {
	b := Brought{Points: make([]topology.RecoveryPoint, len(l.cursors))}
	g, gctx := errgroup.WithContext(ctx)
	l.ctx = gctx
	for i, c := range l.cursors {
		if !slices.Contains(t.silent, c.region) {
			g.Go(func() error {
				tip, err := c.catchUp(gctx, t.all[i])
				b.Points[i] = tip.Point(l.w.Lineage.ID)
				return err
			})
		}
	}
	return b, g.Wait()
}
