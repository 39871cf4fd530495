package ship

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/smartdr/smartdr/internal/archive"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

const (
	// fencedEvery is how often a newer epoch is looked for.
	fencedEvery = 5 * time.Second
	// lastTry is how long Run goes on after its ctx is done, to store what was received.
	lastTry = 5 * time.Second
	// holeGrace is how long a bucket that does not answer is waited for before a hole is called one: it may hold more.
	holeGrace = time.Minute
)

// errRejudge ends a leg: what the buckets and the server say must be looked at again.
var errRejudge = errors.New("the timeline is to be judged again")

// shipper runs a WAL as a sequence of legs, each of which streams one timeline.
type shipper struct {
	*WAL
	counters []*objectstore.Counters // by destination
	lag      lagMeter
	patience time.Duration // for a request to a bucket, at first
	welcomed bool          // the server let us in once: what it refuses now may pass
	tail     bool          // of a lineage that was left
	dir      string        // of WAL files that are read instead of a server; empty for a server

	mu      sync.Mutex
	leg     *leg // nil between legs
	server  wal.Position
	slot    topology.SlotState
	closed  time.Time          // since when the server refuses connections because it shuts down
	err     error              // why shipping stands still
	cursors []topology.Cursor  // by destination: as last announced
	applied []topology.Applied // oldest first

	ends wal.Position // of what the files have; zero while that is not known

	holeSince time.Time
	diverged  int // how many legs in a row the server refused to continue
}

func newShipper(w *WAL) *shipper {
	c := *w
	c.Destinations = append([]Destination(nil), w.Destinations...)
	s := &shipper{WAL: &c, patience: 30 * time.Second}
	defaults(&c)
	for i := range c.Destinations {
		n := new(objectstore.Counters)
		c.Destinations[i].Store = objectstore.WithCounters(c.Destinations[i].Store, n)
		s.counters = append(s.counters, n)
		s.cursors = append(s.cursors, topology.Cursor{Region: c.Destinations[i].Region, Mode: "catching up", Point: topology.RecoveryPoint{Lineage: c.Lineage.ID}})
	}
	if c.Announced.Lineage == c.Lineage.ID {
		s.resume(c.Announced)
	}
	return s
}

// resume goes on from what was announced before: until the buckets and the server have spoken, it is all that is known.
func (s *shipper) resume(before topology.WALProgress) {
	s.server = before.Server
	s.applied = before.Applied
	oldest := 0.0
	for i := range s.cursors {
		if c := before.Cursor(s.cursors[i].Region); c != nil {
			s.cursors[i].Point = s.cursors[i].Point.NotBehind(c.Point)
			oldest = max(oldest, c.LagSeconds)
		}
	}
	s.lag.seen(before.Server.LSN, before.MeasuredAt.Add(-time.Duration(oldest*float64(time.Second))))
}

func defaults(w *WAL) {
	if w.CutAfter <= 0 {
		w.CutAfter = time.Second
	}
	if w.CutSize <= 0 {
		w.CutSize = 16 << 20
	}
	if w.Memory <= 0 {
		w.Memory = 256 << 20
	}
	if w.AnnounceEvery <= 0 {
		w.AnnounceEvery = 2 * time.Second
	}
	if w.Log == nil {
		w.Log = slog.New(slog.DiscardHandler)
	}
	w.Log = w.Log.With("group", w.Group, "workspace", w.Workspace, "lineage", w.Lineage.ID)
}

func (w *WAL) check() error {
	const op = "ship WAL"
	switch {
	case len(w.Destinations) == 0:
		return fault.Newf(fault.Invalid, op, "no bucket to ship to")
	case !w.Lineage.SegmentSize.Valid():
		return fault.Newf(fault.Invalid, op, "WAL segment size %d", w.Lineage.SegmentSize)
	case w.CutSize&(w.CutSize-1) != 0 || w.CutSize < wal.PageSize:
		return fault.Newf(fault.Invalid, op, "cut size %d is not a power of two", w.CutSize)
	case w.Lineage.Start.LSN != w.Lineage.SegmentSize.Start(w.Lineage.Start.LSN):
		return fault.Newf(fault.Invalid, op, "lineage %s begins at %s, inside a segment file", w.Lineage.ID, w.Lineage.Start)
	}
	return nil
}

// run ships leg by leg. Beside it run the watch for newer epochs, the watches over the slot and the subscriptions, and the
// announcements.
func (s *shipper) run(ctx context.Context) error {
	if err := s.check(); err != nil {
		return err
	}
	work, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)
	var beside errgroup.Group
	beside.Go(func() error { s.watchEpoch(work, cancel); return nil })
	if s.dir == "" {
		beside.Go(func() error { s.watchSlot(work); return nil })
	}
	if !s.tail {
		beside.Go(func() error { s.watchSubscriptions(work); return nil })
	}
	beside.Go(func() error { s.announceAll(work); return nil })
	err := s.legs(ctx, work)
	if fenced := context.Cause(work); fenced != nil {
		err = fenced
	}
	s.note(err)
	cancel(nil)
	_ = beside.Wait()
	s.announce(context.WithoutCancel(ctx))
	return err
}

// legs runs legs until ctx is done or one ends for good. work outlives ctx for a while.
func (s *shipper) legs(ctx, work context.Context) error {
	for n := 0; ctx.Err() == nil && work.Err() == nil; {
		began := time.Now()
		err := s.oneLeg(ctx, work)
		if err == nil || ctx.Err() != nil || work.Err() != nil {
			return nil
		}
		if s.final(err) {
			return err
		}
		s.note(err)
		if errors.Is(err, errRejudge) && n == 0 {
			n++
			continue // at once the first time
		}
		if time.Since(began) > 30*time.Second {
			n = 0
		}
		s.Log.Warn("shipping stands still", "attempt", n+1, "error", err)
		pauseUntil(ctx, work, n)
		n++
	}
	return nil
}

// pauseUntil is pause that ends when either context does.
func pauseUntil(ctx, work context.Context, n int) {
	both, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(work, cancel)()
	pause(both, n)
}

// final reports whether a leg's error ends Run.
func (s *shipper) final(err error) bool {
	var hole *Hole
	if errors.As(err, &hole) {
		return s.holeIsCertain(hole)
	}
	s.holeSince = time.Time{}
	switch fault.KindOf(err) {
	case fault.Fenced, fault.Diverged:
		return true
	case fault.Invalid:
		return !s.welcomed
	case fault.Transient:
		return false
	}
	return s.dir != "" // files do not change
}

// holeIsCertain waits for silent buckets for a while: one of them may hold what the others lack.
func (s *shipper) holeIsCertain(h *Hole) bool {
	if len(h.Silent) == 0 {
		return true
	}
	if s.holeSince.IsZero() {
		s.holeSince = time.Now()
	}
	return time.Since(s.holeSince) > holeGrace
}

// note remembers why shipping stands still; nil means that it moves.
func (s *shipper) note(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if errors.Is(err, errRejudge) {
		err = nil
	}
	s.err = err
}

func (s *shipper) watchEpoch(ctx context.Context, stop context.CancelCauseFunc) {
	if s.Fenced == nil {
		return
	}
	t := time.NewTicker(fencedEvery)
	defer t.Stop()
	for {
		err := s.Fenced(ctx)
		if fault.Is(err, fault.Fenced) {
			stop(err)
			return
		}
		if err != nil && ctx.Err() == nil {
			s.Log.Warn("could not look for a newer epoch", "error", err)
		}
		select {
		case <-t.C:
		case <-ctx.Done():
			return
		}
	}
}

// oneLeg finds out where to go on, and ships one timeline from there. nil means that ctx is done.
func (s *shipper) oneLeg(ctx, work context.Context) error {
	l, o, err := s.prepare(ctx)
	if err != nil {
		return err
	}
	s.setLeg(l)
	defer func() {
		s.advance(l.standing(time.Now())) // what was stored since somebody asked last is true after the leg, too
		s.setLeg(nil)
	}()
	return l.run(ctx, work, o)
}

func (s *shipper) setLeg(l *leg) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leg = l
}

func (s *shipper) archive(i int) *archive.Archive {
	return archive.Open(s.Destinations[i].Store, s.Group, s.Workspace, s.Lineage.ID)
}
