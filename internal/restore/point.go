package restore

import (
	"context"
	"errors"
	"time"

	"github.com/smartdr/smartdr/internal/archive"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/wal"
)

const opPoint = "find point"

// PointChoice is the place that somebody wants to go to. Without LSN, Time, XID and Name it is the end of what the bucket has.
type PointChoice struct {
	LSN wal.LSN // no record is wanted that ends after it
	// Time is the last moment that is wanted: the first commit record whose time is later ends it, as PostgreSQL's
	// recovery_target_time does. Commits are written in an order that differs a little from that of their times, so one that is behind
	// it and of an earlier time is left out too; none that is later is ever in.
	Time time.Time
	// XID is the transaction that is the last one wanted: the point is the end of the record that committed or aborted it, of several
	// with that number the newest. A subtransaction ends with the one that it is part of.
	XID uint32
	// Name is that of a restore point: the point is the end of its record, of several with that name the newest.
	Name string
	// Consistent is the end LSN of the snapshot: no point before it can be reached.
	Consistent wal.LSN
	// StartedAt is when the snapshot began: it may hold all that was committed until then, so no earlier Time can be reached.
	StartedAt time.Time
}

var (
	// ErrTooEarly is in the tree of errors about points that the snapshot does not lead to: an older one may.
	ErrTooEarly = errors.New("the snapshot is of a later moment")
	// ErrTooLate is in the tree of errors about LSNs that the bucket does not have.
	ErrTooLate = errors.New("behind the end of what the bucket has")
)

// Point is a place where recovery can end: the end of a record.
type Point struct {
	End        wal.Position   `json:"end"`                 // of the last record; all WAL behind it is left out
	LastCommit archive.Commit `json:"lastCommit,omitzero"` // the last one at or before End that was met; zero when there was none
	NextCommit archive.Commit `json:"nextCommit,omitzero"` // the first one behind End; zero when the bucket has none, or it was not looked for
	Leg        int            `json:"leg"`                 // the one that End lies on
	// Latest means that the bucket has no record (no commit, where a time was chosen) behind the point: what the server wrote
	// since is not known.
	Latest bool `json:"latest"`
}

// FindPoint finds the place that choice means on the way that legs describe, in a bucket. For an LSN it reads only what is around
// it, for a time the WAL from the first leg's start on, and without either all of it: archive.Tip is for that. CutLegs and
// FetchWAL then go there.
//
// Errors: fault.Invalid for a point that the snapshot does not lead to, or that lies behind the bucket's end, with the nearest
// one in the hint; fault.Missing and fault.Corrupt as in FetchWAL.
func FindPoint(ctx context.Context, legs []Leg, size wal.SegmentSize, choice PointChoice) (Point, error) {
	if len(legs) == 0 || !size.Valid() || choice.LSN != 0 && !choice.Time.IsZero() {
		return Point{}, fault.Newf(fault.Invalid, opPoint, "%d legs, segment size %d, LSN %s and time %s", len(legs), size, choice.LSN, choice.Time)
	}
	s := &search{choice: choice}
	s.walk = walk{legs: legs, size: size, visit: s.visit}
	for before := wal.LSN(1 << 20); ; before <<= 4 {
		s.walk.from = s.start(before)
		if err := s.walk.run(ctx, s.begin); err != nil {
			return Point{}, err
		}
		// A record may be longer than what was looked at; at the beginning of the way there is nothing more to look at.
		if s.found.End.LSN != 0 && s.found.LastCommit.LSN != 0 || s.walk.from <= legs[0].From.LSN {
			return s.point()
		}
	}
}

// CutLegs returns legs that end at a point.
func CutLegs(legs []Leg, p Point) []Leg {
	cut := append([]Leg(nil), legs[:p.Leg+1]...)
	cut[p.Leg].To = p.End.LSN
	return cut
}

// search is one call of FindPoint.
type search struct {
	choice   PointChoice
	walk     walk
	found    Point
	passed   bool           // the record that ends it was met, and the walk goes on for what can be said about it
	earliest archive.Commit // the last one at or before Consistent
}

// start is where to look from: for an LSN a little earlier, else the beginning.
func (s *search) start(before wal.LSN) wal.LSN {
	return s.choice.LSN - min(s.choice.LSN, before)
}

func (s *search) begin() { s.found, s.passed, s.earliest = Point{}, false, archive.Commit{} }

func (s *search) visit(leg int, line archive.Line, r wal.Record) error {
	if r.Commit != nil && r.End <= s.choice.Consistent {
		s.earliest = archive.Commit{LSN: r.End, Time: r.Commit.Time}
	}
	s.passed = s.passed || s.beyond(r)
	if !s.passed {
		s.found.End, s.found.Leg = wal.Position{Timeline: line.At(r.End - 1), LSN: r.End}, leg
		if r.Commit != nil {
			s.found.LastCommit = archive.Commit{LSN: r.End, Time: r.Commit.Time}
		}
		return nil
	}
	if r.Commit != nil && s.found.NextCommit.LSN == 0 {
		s.found.NextCommit = archive.Commit{LSN: r.End, Time: r.Commit.Time}
	}
	if (s.found.NextCommit.LSN != 0 || s.choice.LSN != 0) && r.End >= s.choice.Consistent {
		return errEnough
	}
	return nil
}

// beyond reports whether a record is behind what is wanted.
func (s *search) beyond(r wal.Record) bool {
	switch {
	case !s.choice.Time.IsZero():
		return r.Commit != nil && r.Commit.Time.After(s.choice.Time)
	case s.choice.LSN != 0:
		return r.End > s.choice.LSN
	}
	return false
}

// point judges what was found.
func (s *search) point() (Point, error) {
	p, c := s.found, s.choice
	p.Latest = !s.passed
	end := s.walk.ends[len(s.walk.ends)-1]
	switch {
	case c.LSN > end.LSN:
		return Point{}, fault.Newf(fault.Invalid, opPoint, "%s lies %w", c.LSN, ErrTooLate).
			WithHint("The last point that can be reached is %s.", p.describe())
	case p.End.LSN == 0, p.End.LSN < c.Consistent, !c.Time.IsZero() && c.Time.Before(c.StartedAt):
		return Point{}, s.tooEarly()
	}
	return p, nil
}

// describe says where a point is, and when.
func (p Point) describe() string {
	if p.LastCommit.LSN == 0 {
		return p.End.LSN.String()
	}
	return p.End.LSN.String() + ", whose last commit was at " + p.LastCommit.Time.UTC().Format(time.RFC3339Nano)
}

func (s *search) tooEarly() error {
	want := "at " + s.choice.LSN.String()
	if !s.choice.Time.IsZero() {
		want = s.choice.Time.UTC().Format(time.RFC3339Nano)
	}
	hint := "The earliest point that this snapshot leads to is " + s.choice.Consistent.String()
	if s.earliest.LSN == 0 && !s.choice.StartedAt.IsZero() {
		hint += ", of " + s.choice.StartedAt.UTC().Format(time.RFC3339Nano)
	}
	if s.earliest.LSN != 0 {
		hint += ", whose last commit was at " + s.earliest.Time.UTC().Format(time.RFC3339Nano)
	}
	return fault.Newf(fault.Invalid, opPoint, "the snapshot does not lead to a point %s: %w, consistent from %s on", want, ErrTooEarly, s.choice.Consistent).
		WithHint("%s; for an earlier one take an older snapshot.", hint)
}

// CountCommits counts the commit records that end behind from and at or before to; 0 means the end of what the bucket has. It reads
// what lies between them, and no more. A transaction counts for the database that its records between the two name, and for OID
// 0 where none of them does.
func CountCommits(ctx context.Context, legs []Leg, size wal.SegmentSize, from, to wal.LSN) (total int64, byDatabase map[uint32]int64, err error) {
	if len(legs) == 0 || !size.Valid() || to != 0 && to < from {
		return 0, nil, fault.Newf(fault.Invalid, opPoint, "%d legs, segment size %d, from %s to %s", len(legs), size, from, to)
	}
	var c census
	w := walk{legs: legs, size: size, from: from, visit: func(_ int, _ archive.Line, r wal.Record) error {
		if to != 0 && r.End > to {
			return errEnough
		}
		c.see(r, r.End > from)
		return nil
	}}
	err = w.run(ctx, func() { c = census{writes: map[uint32]uint32{}, by: map[uint32]int64{}} })
	return c.total, c.by, err
}

// census counts commits.
type census struct {
	writes map[uint32]uint32 // by transaction that has not ended: the database
	by     map[uint32]int64
	total  int64
}

func (c *census) see(r wal.Record, counts bool) {
	e, ends := r.Ending()
	if !ends {
		if r.XID == 0 {
			return
		}
		if db := r.Database(); db != 0 {
			c.writes[r.XID] = db
		}
		return
	}
	db := e.Database
	for _, xid := range e.XIDs {
		if db == 0 {
			db = c.writes[xid]
		}
		delete(c.writes, xid)
	}
	if e.Committed && counts {
		c.by[db]++
		c.total++
	}
}
