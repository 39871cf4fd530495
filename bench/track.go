package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/smartdr/smartdr/internal/archive"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

// track follows what a shipper announces of one region's bucket.
type track struct {
	region string

	mu      sync.Mutex
	held    []sample // ends of the bucket's WAL, both fields increase
	sent    int64    // stored bytes, both buckets
	failed  string   // what the shipper said last of why it stands still
	changed chan struct{}
}

func newTrack(region string) *track { return &track{region: region, changed: make(chan struct{})} }

func (t *track) heard(p topology.WALProgress) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.failed, t.sent = p.Error, 0
	for _, c := range p.Cursors {
		t.sent += c.BytesSent
		at := c.Point.At.LSN
		if c.Region == t.region && (len(t.held) == 0 || at > t.held[len(t.held)-1].lsn) {
			t.held = append(t.held, sample{time.Now(), at})
		}
	}
	close(t.changed)
	t.changed = make(chan struct{})
}

// last returns the end of what the bucket holds, 0 before anything was announced.
func (t *track) last() wal.LSN {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.held) == 0 {
		return 0
	}
	return t.held[len(t.held)-1].lsn
}

func (t *track) samples() []sample {
	t.mu.Lock()
	defer t.mu.Unlock()
	return append([]sample(nil), t.held...)
}

// heldAt returns the end of what the bucket was known to hold at a moment.
func (t *track) heldAt(when time.Time) (l wal.LSN) {
	for _, s := range t.samples() {
		if !s.at.After(when) {
			l = s.lsn
		}
	}
	return l
}

// wait returns when the bucket was first known to hold everything up to l.
func (t *track) wait(ctx context.Context, l wal.LSN) (time.Time, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	for {
		t.mu.Lock()
		changed, failed := t.changed, t.failed
		for _, s := range t.held {
			if s.lsn >= l {
				t.mu.Unlock()
				return s.at, nil
			}
		}
		t.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return time.Time{}, fmt.Errorf("the bucket of %s does not get to %s: %w %s", t.region, l, ctx.Err(), failed)
		}
	}
}

// check compares from time to time what was announced with what the bucket's objects say. It ends with ctx, and
// returns how often it looked.
func (t *track) check(ctx context.Context, b bucket, l topology.Lineage) (n int, err error) {
	store, err := b.open(ctx)
	if err != nil {
		return 0, err
	}
	a := archive.Open(store, group, workspace, l.ID)
	for ; ; n++ {
		announced := t.last()
		tip, err := a.Tip(ctx, l)
		if ctx.Err() != nil {
			return n, nil
		}
		if err != nil {
			return n, fmt.Errorf("look into the bucket: %w", err)
		}
		if tip.Position.LSN < announced {
			return n, fmt.Errorf("announced %s, but the objects in the bucket of %s end at %s", announced, t.region, tip.Position.LSN)
		}
		select {
		case <-time.After(3 * time.Second):
		case <-ctx.Done():
			return n, nil
		}
	}
}
