package ship

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/smartdr/smartdr/internal/archive"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/wal"
)

// tipTimeout limits how long a bucket may take to say where it stands before shipping starts without it.
const tipTimeout = 20 * time.Second

// tips is where the buckets stand: a tip by destination, nil where the bucket did not answer.
type tips struct {
	all    []*archive.Tip
	best   int // index of the furthest
	silent []string
	err    error // of the silent ones
}

func (t tips) furthest() *archive.Tip { return t.all[t.best] }

// readTips asks all buckets where they stand. It fails when none answers.
func (s *shipper) readTips(ctx context.Context) (tips, error) {
	ctx, cancel := context.WithTimeout(ctx, tipTimeout)
	defer cancel()
	t := tips{all: make([]*archive.Tip, len(s.Destinations)), best: -1}
	errs := make([]error, len(s.Destinations))
	var wg sync.WaitGroup
	for i := range s.Destinations {
		wg.Go(func() {
			if tip, err := s.archive(i).Tip(ctx, s.Lineage); err == nil {
				t.all[i] = &tip
			} else {
				errs[i] = err
			}
		})
	}
	wg.Wait()
	for i, tip := range t.all {
		if tip == nil {
			t.silent = append(t.silent, s.Destinations[i].Region)
		} else if t.best < 0 || further(tip, t.all[t.best]) {
			t.best = i
		}
	}
	if t.err = errors.Join(errs...); t.best < 0 {
		return t, fault.New(fault.KindOf(errs[0]), "read where the buckets stand", t.err)
	}
	return t, nil
}

// further reports whether a is further along the lineage than b: on a newer line, or beyond on the same.
func further(a, b *archive.Tip) bool {
	if a.Line.Timeline != b.Line.Timeline {
		return a.Line.Timeline > b.Line.Timeline
	}
	return a.Position.LSN > b.Position.LSN
}

// origin is where a lineage's WAL comes from: a connection to its server, or its files.
type origin interface {
	timeline() wal.Timeline // the newest
	TimelineHistory(ctx context.Context, t wal.Timeline) ([]byte, error)
	// firstBytes returns up to n bytes of WAL from a position on, that were flushed there; none when there are none yet.
	firstBytes(ctx context.Context, s *shipper, from wal.Position, n int) ([]byte, error)
	// feed gives a leg its WAL, until that ends or ctx is done, and waits until that is stored. work is the context of that.
	feed(ctx, work context.Context, l *leg) error
	close()
}

// prepare finds out where the buckets stand and what the origin says to that, and makes a leg that goes on from there.
func (s *shipper) prepare(ctx context.Context) (*leg, origin, error) {
	for {
		t, err := s.readTips(ctx)
		if err != nil {
			return nil, nil, err
		}
		o, err := s.open(ctx)
		if err != nil {
			return nil, nil, err
		}
		known, err := s.learnTimeline(ctx, o, t)
		if err == nil && !known {
			var l *leg
			if l, err = s.newLeg(ctx, t); err == nil {
				return l, o, nil
			}
		}
		o.close()
		if err != nil {
			return nil, nil, err
		}
	}
}

// open connects to the server, or looks at its files.
func (s *shipper) open(ctx context.Context) (origin, error) {
	if s.dir != "" {
		return openFiles(ctx, s.dir, s.Lineage)
	}
	return s.dial(ctx)
}

// learnTimeline stores the history of the server's timeline when the buckets do not know it yet, and reports whether it did:
// then their tips are different ones. A server whose timeline does not continue the lineage's is fault.Diverged.
func (s *shipper) learnTimeline(ctx context.Context, o origin, t tips) (learned bool, err error) {
	line, at := t.furthest().Line, o.timeline()
	if at < line.Timeline {
		return false, fault.Newf(fault.Diverged, "check timeline", "the server is on timeline %d, which lineage %s has left for %d", at, s.Lineage.ID, line.Timeline).
			WithHint("An old primary is running again: stop it, or let the connection string name the current one.")
	}
	missing := at > line.Timeline
	if at == 1 || !missing && len(t.furthest().Histories) > 0 {
		t.doubt(at)
		return false, nil
	}
	files, err := s.fetchHistories(ctx, o, at)
	if err != nil {
		return false, err
	}
	h, err := wal.ParseHistory(files[at])
	if err != nil {
		return false, fault.New(fault.Diverged, "read timeline history", err)
	}
	if _, on := h.EndOf(line.Timeline); missing && !on {
		return false, fault.Newf(fault.Diverged, "check timeline", "timeline %d of the server does not come from timeline %d of lineage %s", at, line.Timeline, s.Lineage.ID).
			WithHint("The server was restored or another one took its place. A new lineage is needed.")
	}
	if err := s.checkForeign(ctx, o, at, h); err != nil {
		return false, err
	}
	if missing {
		s.Log.Info("following the server to its new timeline", "timeline", at, "stored", t.furthest().Position)
	}
	return true, s.putHistories(ctx, files, t)
}

// doubt forgets the tips of buckets that do not know of timeline at yet: they get its history when they catch up.
func (t tips) doubt(at wal.Timeline) {
	for i, tip := range t.all {
		if tip != nil && tip.Line.Timeline != at {
			t.all[i] = nil
		}
	}
}

// fetchHistories reads from the server the history files of timeline t and, where it has them, those t came through.
func (s *shipper) fetchHistories(ctx context.Context, o origin, t wal.Timeline) (map[wal.Timeline][]byte, error) {
	b, err := o.TimelineHistory(ctx, t)
	if err != nil {
		return nil, err
	}
	files := map[wal.Timeline][]byte{t: b}
	h, err := wal.ParseHistory(b)
	if err != nil {
		return nil, fault.New(fault.Corrupt, "read timeline history", err)
	}
	for _, old := range h {
		if old.Timeline == 1 {
			continue
		}
		b, err := o.TimelineHistory(ctx, old.Timeline)
		if err != nil && !fault.Is(err, fault.Missing) {
			return nil, err
		}
		if err == nil {
			files[old.Timeline] = b
		}
	}
	return files, nil
}

// putHistories stores history files, older timelines first, in every bucket that answered. They must arrive in the
// furthest one; the others get them when they catch up.
func (s *shipper) putHistories(ctx context.Context, files map[wal.Timeline][]byte, t tips) error {
	for i, tip := range t.all {
		if tip == nil {
			continue
		}
		err := putHistories(ctx, s.archive(i), files)
		if err != nil && (i == t.best || fault.Is(err, fault.Diverged)) {
			return err
		}
	}
	return nil
}
