package history

import (
	"context"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/smartdr/smartdr/internal/archive"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/internal/wal"
)

// place is a position in a segment.
type place struct {
	key string
	lsn wal.LSN
}

// known is what was read of segments.
type known struct {
	headers map[string]archive.Header // by key; zero for one that cannot be read
	commits map[place]time.Time       // of the last commit at or before a position, where the header tells of a later one only
	lacks   *lacks                    // what was asked for and is not known; nil: nobody wants to know
}

// lacks is what is to be read.
type lacks struct {
	headers map[string]wanted
	commits map[place]wanted
}

// wanted is a step of a lineage's way, with the one before it.
type wanted struct {
	lineage string
	size    wal.SegmentSize
	steps   []archive.Step
}

func newKnown() *known {
	return &known{headers: map[string]archive.Header{}, commits: map[place]time.Time{}}
}

// learn reads what the timeline needs to tell times. What that is shows while it is put together.
func (c *Contents) learn(ctx context.Context, store objectstore.Store) error {
	for {
		want := &lacks{map[string]wanted{}, map[place]wanted{}}
		c.known.lacks = want
		c.Timeline()
		for _, l := range c.lineages {
			c.Along(l.ID)
		}
		c.known.lacks = nil
		if len(want.headers)+len(want.commits) == 0 {
			return nil
		}
		if err := c.read(ctx, store, want); err != nil {
			return err
		}
	}
}

func (c *Contents) read(ctx context.Context, store objectstore.Store, want *lacks) error {
	var mu sync.Mutex
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(readAtOnce)
	open := func(w wanted) *archive.Archive { return archive.Open(store, c.group.Name, c.Workspace, w.lineage) }
	for key, w := range want.headers {
		g.Go(func() error {
			h, err := open(w).Header(ctx, w.steps[0].Entry)
			mu.Lock()
			defer mu.Unlock()
			c.known.headers[key] = h
			return butDamage(err)
		})
	}
	for p, w := range want.commits {
		g.Go(func() error {
			t, err := lastCommit(ctx, open(w), w, p.lsn)
			mu.Lock()
			defer mu.Unlock()
			c.known.commits[p] = t
			return butDamage(err)
		})
	}
	return g.Wait()
}

// butDamage passes over a damaged object: a time is not known then, and whoever restores will say more.
func butDamage(err error) error {
	if fault.Is(err, fault.Corrupt) {
		return nil
	}
	return err
}

// lastCommit reads a segment, and the one before for the records that cross into it.
func lastCommit(ctx context.Context, a *archive.Archive, w wanted, until wal.LSN) (t time.Time, err error) {
	scanner := wal.NewScanner(w.size)
	for _, s := range w.steps {
		seg, err := a.Get(ctx, s.Entry)
		if err != nil {
			return t, err
		}
		raw := seg.Raw[s.Use.Start-seg.Header.Start : s.Use.End-seg.Header.Start]
		err = scanner.Feed(s.Use.Start, raw, func(r wal.Record) {
			if r.Commit != nil && r.End <= until {
				t = r.Commit.Time
			}
		})
		if err != nil {
			return t, fault.New(fault.Corrupt, s.Entry.Key, err)
		}
	}
	return t, nil
}

// header returns the header of a step of a lineage, if it is known.
func (c *Contents) header(lineage string, step archive.Step) (archive.Header, bool) {
	h, ok := c.known.headers[step.Entry.Key]
	if !ok && c.known.lacks != nil {
		c.known.lacks.headers[step.Entry.Key] = wanted{lineage: lineage, steps: []archive.Step{step}}
	}
	return h, ok && h.End != 0
}

// commitAt is the moment of the last commit at or before a position of a lineage; zero when it is not known.
func (c *Contents) commitAt(s survey, at wal.LSN) time.Time {
	for _, r := range s.runs {
		i := slices.IndexFunc(r.steps, func(p archive.Step) bool { return p.Use.Start < at && at <= p.Use.End })
		if i < 0 {
			continue
		}
		h, ok := c.header(s.lineage.ID, r.steps[i])
		if !ok || h.LastCommit.LSN <= at {
			return h.LastCommit.Time
		}
		p := place{r.steps[i].Entry.Key, at}
		t, ok := c.known.commits[p]
		if !ok && c.known.lacks != nil {
			c.known.lacks.commits[p] = wanted{s.lineage.ID, s.lineage.SegmentSize, r.steps[max(0, i-1) : i+1]}
		}
		return t
	}
	return time.Time{}
}

// newest is where the points of a run end, and the newest moment that can be chosen: all of it had been written by then.
func (c *Contents) newest(s survey, r run) (wal.LSN, time.Time) {
	last := r.steps[len(r.steps)-1]
	if last.Use.End < last.Entry.Range.End { // a fork, or a timeline's end: a record ends there
		return r.end, c.commitAt(s, r.end)
	}
	h, ok := c.header(s.lineage.ID, last)
	if !ok || h.RecordEnd == 0 {
		return r.end, time.Time{}
	}
	return h.RecordEnd, later(h.AsOf, h.LastCommit.Time)
}
