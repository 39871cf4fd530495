package restore

import (
	"context"
	"time"

	"github.com/smartdr/smartdr/internal/archive"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/wal"
)

// Committed is a commit on a way, and the point right behind it.
type Committed struct {
	At   wal.Position `json:"at"` // end of its record
	Time time.Time    `json:"time"`
	XID  uint32       `json:"xid,omitempty"` // 0 where nobody gave the transaction a number
}

// ListCommits returns commits that end behind from and at or before to, in order: all of them, or every nth when there are more than most;
// the last one is always there. It reads what lies between the two.
func ListCommits(ctx context.Context, legs []Leg, size wal.SegmentSize, from, to wal.LSN, most int) (list []Committed, err error) {
	if len(legs) == 0 || !size.Valid() || to < from || most < 2 {
		return nil, fault.Newf(fault.Invalid, opPoint, "%d legs, segment size %d, from %s to %s, at most %d", len(legs), size, from, to, most)
	}
	s := sample{most: most}
	w := walk{legs: legs, size: size, from: from, to: to, visit: func(_ int, line archive.Line, r wal.Record) error {
		if r.Commit == nil || r.End <= from {
			return nil
		}
		c := Committed{At: wal.Position{Timeline: line.At(r.End - 1), LSN: r.End}, Time: r.Commit.Time}
		if e, ends := r.Ending(); ends && len(e.XIDs) > 0 {
			c.XID = e.XIDs[len(e.XIDs)-1]
		}
		s.add(c)
		return nil
	}}
	if err := w.run(ctx, func() { s = sample{most: most, every: 1} }); err != nil {
		return nil, err
	}
	return s.all(), nil
}

// sample keeps every nth of many, with n doubling so that no more than most are kept.
type sample struct {
	most, every, n int
	kept           []Committed
	last           Committed
}

func (s *sample) add(c Committed) {
	if s.n%s.every == 0 {
		if len(s.kept) == s.most-1 { // a place is for the last one
			half := s.kept[:0]
			for i := 0; i < len(s.kept); i += 2 {
				half = append(half, s.kept[i])
			}
			s.kept, s.every = half, 2*s.every
		}
		if s.n%s.every == 0 {
			s.kept = append(s.kept, c)
		}
	}
	s.n++
	s.last = c
}

func (s *sample) all() []Committed {
	if n := len(s.kept); n > 0 && s.kept[n-1].At != s.last.At {
		return append(s.kept, s.last)
	}
	return s.kept
}
