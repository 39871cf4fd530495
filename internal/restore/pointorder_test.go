package restore

import (
	"testing"
	"time"

	"github.com/smartdr/smartdr/internal/archive"
	"github.com/smartdr/smartdr/internal/wal"
)

// Commits are not in the order of their times: what is later than the chosen time is never in, and ends the way.
func TestTheFirstLaterCommitEndsTheWay(t *testing.T) {
	at := func(s int) time.Time { return time.Date(2026, 11, 23, 10, 0, s, 0, time.UTC) }
	s := &search{choice: PointChoice{Time: at(11)}}
	s.begin()
	for i, second := range []int{10, 12, 11, 9, 13} {
		start := wal.LSN(100 * i)
		err := s.visit(0, archive.Line{Timeline: 1}, wal.Record{Start: start, End: start + 50, Commit: &wal.Commit{Time: at(second)}})
		if err != nil {
			break
		}
	}
	if s.found.End.LSN != 50 || s.found.LastCommit.Time != at(10) || s.found.NextCommit.Time != at(12) {
		t.Errorf("found %+v", s.found)
	}
}
