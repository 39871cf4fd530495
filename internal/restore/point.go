package restore

import (
	"context"
	"time"

	"github.com/smartdr/smartdr/internal/archive"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/wal"
)

const opPoint = "find point"

// PointChoice is the place that somebody wants to go to. Without LSN and Time it is the end of what the bucket has.
type PointChoice struct {
	LSN  wal.LSN   // no record is wanted that ends after it
	Time time.Time // the first commit record whose time is later ends it, as PostgreSQL's recovery_target_time does
	// Consistent is the end LSN of the snapshot: a point before it cannot be reached.
	Consistent wal.LSN
}

// Point is a place where recovery can end: the end of a record.
type Point struct {
	End        wal.Position   `json:"end"`                 // of the last record; all WAL behind it is left out
	LastCommit archive.Commit `json:"lastCommit,omitzero"` // the last one at or before End, since the first leg's start; zero when there is none
	NextCommit archive.Commit `json:"nextCommit,omitzero"` // the first one behind End; zero when the bucket has none or it was not looked for
	Leg        int            `json:"leg"`                 // the one that End lies on
	// Latest means that the bucket has no WAL behind the point (LSN), or no commit (Time): what the server wrote since
	// is not known.
	Latest bool `json:"latest"`
}

// FindPoint finds the place that choice means on the way that legs describe, in a bucket.
func FindPoint(ctx context.Context, legs []Leg, size wal.SegmentSize, choice PointChoice) (Point, error) {
	return Point{}, fault.Newf(fault.Invalid, opPoint, "not there yet")
}

// CutLegs returns legs that end at a point.
func CutLegs(legs []Leg, p Point) []Leg {
	cut := append([]Leg(nil), legs[:p.Leg+1]...)
	cut[p.Leg].To = p.End.LSN
	return cut
}

// CountCommits counts the commit records that end behind from and at or before to; 0 means the end of what the bucket has. By
// database it counts under OID 0 those of which no record between the two says where they wrote.
func CountCommits(ctx context.Context, legs []Leg, size wal.SegmentSize, from, to wal.LSN) (total int64, byDatabase map[uint32]int64, err error) {
	return 0, nil, fault.Newf(fault.Invalid, opPoint, "not there yet")
}
