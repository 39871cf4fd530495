package missing

import (
	"context"
	"slices"

	"github.com/smartdr/smartdr/internal/wal"
)

// older compares transactions' numbers, which go round at 2^32.
func older(a, b uint32) bool { return int32(a-b) < 0 }

// backwards reads before the fork what transactions did that committed behind it, as far back as the record of running transactions that
// comes before all of them.
func (s *scan) backwards(ctx context.Context) error {
	found, err := s.search(ctx)
	if err != nil {
		return err
	}
	if !found {
		s.out.Expired = true
		clear(s.out.Tables)
	}
	for _, p := range s.ended {
		s.out.Prepared = append(s.out.Prepared, *p)
	}
	for _, p := range s.prepared {
		s.out.Prepared = append(s.out.Prepared, *p)
	}
	slices.SortFunc(s.out.Prepared, func(a, b Prepared) int { return int(int32(a.XID - b.XID)) })
	return nil
}

// search does so, and reports false when WAL from there is not kept.
func (s *scan) search(ctx context.Context) (bool, error) {
	oldest, any := s.oldest()
	if !any {
		return true, nil
	}
	b := back{walk: s.in.Walk, oldest: s.in.Oldest, size: s.in.Segment, read: func(n wal.LSN) {
		done := int64(s.in.Tip - s.in.Fork + n)
		s.tell(done, done)
	}}
	last, found, err := b.lastBefore(ctx, s.in.Fork, func(x wal.Running) bool { return !older(oldest, x.NextXID) }, s.seeBefore)
	if found {
		s.out.From = last.end
	}
	return found, err
}

// oldest is the first transaction that committed.
func (s *scan) oldest() (xid uint32, any bool) {
	for x := range s.out.Commits {
		if !any || older(x, xid) {
			xid, any = x, true
		}
	}
	return xid, any
}

// seeBefore takes a record before the fork. Windows may be read twice: what is kept is a set.
func (s *scan) seeBefore(r wal.Record) error {
	if c, ok, err := r.RowChange(); ok || err != nil {
		if _, committed := s.out.Commits[c.XID]; !committed || err != nil {
			return err
		}
		return s.work.each(r, c, func(d deed) { s.work.settle(d, c.XID, 0) })
	}
	if p, ok, err := r.Preparation(); ok || err != nil {
		for _, e := range s.ended {
			if e.XID == p.XID {
				e.GID, e.Database = p.GID, p.Database
			}
		}
		return err
	}
	n, ok, err := r.Sequence()
	if _, committed := s.out.Commits[r.XID]; ok && committed { // a new file of it, made before the fork
		s.out.Sequences[n] = true
	}
	return err
}
