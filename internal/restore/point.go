package restore

import (
	"context"
	"errors"
	"time"

	"github.com/smartdr/smartdr/internal/archive"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
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
	// Searched is the error of a search for the same XID or Name from a newer snapshot: what was looked through there is not read again.
	Searched error
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
// it; for a time too, where segments tell of which times their commits are, else the WAL from the first leg's start on; for a
// transaction or a restore point all that is behind it. Without any of these it reads everything: archive.Tip is for that. CutLegs
// and FetchWAL then go there.
//
// Errors: fault.Invalid for a point that the snapshot does not lead to, that lies behind the bucket's end, or that is not there, with the
// nearest ones in the hint; fault.Missing and fault.Corrupt as in FetchWAL.
func FindPoint(ctx context.Context, legs []Leg, size wal.SegmentSize, choice PointChoice) (Point, error) {
	if err := choice.check(legs, size); err != nil {
		return Point{}, err
	}
	s := &search{choice: choice}
	s.walk = walk{legs: legs, size: size, visit: s.visit}
	near, err := s.near(ctx)
	if err != nil {
		return Point{}, err
	}
	for before := wal.LSN(1 << 20); ; before <<= 4 {
		s.walk.from = near - min(near, before)
		if err := s.walk.run(ctx, s.begin); err != nil {
			return Point{}, err
		}
		// A record may be longer than what was looked at; at the beginning of the way there is nothing more to look at.
		if s.found.End.LSN != 0 && s.found.LastCommit.LSN != 0 || s.walk.from <= legs[0].From.LSN {
			return s.point()
		}
	}
}

func (c PointChoice) check(legs []Leg, size wal.SegmentSize) error {
	t := topology.Target{Time: c.Time, LSN: c.LSN, XID: c.XID, Name: c.Name}
	if len(legs) == 0 || !size.Valid() {
		return fault.Newf(fault.Invalid, opPoint, "%d legs, segment size %d", len(legs), size)
	}
	return t.Check()
}

// near returns a position at or before which nothing has to be read to find the point, save for a record that tells where
// others begin. What a transaction or a restore point means is an LSN from here on.
func (s *search) near(ctx context.Context) (wal.LSN, error) {
	c := &s.choice
	switch {
	case c.XID != 0 || c.Name != "":
		at, err := findNamed(ctx, s.walk, *c)
		c.LSN = at
		return at, err
	case !c.Time.IsZero() && !c.Time.Before(c.StartedAt):
		return notBefore(ctx, &s.walk, c.Time)
	}
	return c.LSN, nil
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
	switch {
	case c.LSN > s.walk.end():
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
