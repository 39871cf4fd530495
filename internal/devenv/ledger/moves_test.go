package ledger

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/smartdr/smartdr/internal/wal"
)

func at(seconds int64) time.Time { return time.Unix(seconds, 0) }

// commits of three servers: a planned move after 2, an unplanned one after 4.
var (
	commits = []Commit{
		{ID: "a", Timeline: 1, Before: 100, After: 110, At: at(1)},
		{ID: "b", Timeline: 1, Before: 110, After: 120, At: at(2)},
		{ID: "c", Timeline: 2, Before: 130, After: 140, At: at(3)},
		{ID: "d", Timeline: 2, Before: 150, After: 160, At: at(4)},
		{ID: "e", Timeline: 3, Before: 150, After: 160, At: at(9)},
	}
	moves = []Move{{Timeline: 1, Planned: true}, {Timeline: 2, Fork: 150, Cut: at(6)}}
)

func TestJudgeMoves(t *testing.T) {
	for _, test := range []struct {
		name, there string
		now         wal.Timeline
		broken      int
		lost        string
	}{
		{"all is there but what the loss took", "abce", 3, 0, "d"},
		{"a planned move loses a commit", "ace", 3, 1, "d"},
		{"a loss takes a commit before the point", "abe", 3, 1, "cd"},
		{"a commit after the point is there", "abcde", 3, 1, ""},
		{"the server that writes now lost one", "abc", 3, 1, "d"},
		{"a server writes that has no right to", "abce", 2, 1, "d"},
	} {
		there := map[string]bool{}
		for _, id := range strings.Split(test.there, "") {
			there[id] = true
		}
		a := judgeMoves(commits, there, moves, test.now)
		var lost []string
		for _, c := range a.Lost[0].Commits {
			lost = append(lost, c.ID)
		}
		if len(a.Broken) != test.broken || strings.Join(lost, "") != test.lost {
			t.Errorf("%s: broken %q, lost %q", test.name, a.Broken, lost)
		}
	}
}

func TestWhatWasLostIsInTheTailOrNot(t *testing.T) {
	l := Lost{Commits: []Commit{{ID: "a", Before: 150, After: 160}, {ID: "b", Before: 160, After: 170}, {ID: "c", Before: 170, After: unknownEnd}}}
	for end, want := range map[wal.LSN]int{150: 3, 160: 2, 170: 1, 171: 0} {
		if got := len(l.OutsideOf(end)); got != want {
			t.Errorf("a tail up to %s misses %d commits, want %d", end, got, want)
		}
	}
	paged := Lost{Commits: []Commit{{ID: "p", Before: walPage - 10, After: walPage}}} // the server had flushed the head of another record
	for end, want := range map[wal.LSN]int{walPage - 10: 1, walPage - 9: 0, walPage: 0} {
		if got := len(paged.OutsideOf(end)); got != want {
			t.Errorf("a tail up to %s misses %d commits, want %d", end, got, want)
		}
	}
	a := judgeMoves(commits, map[string]bool{"a": true, "b": true, "c": true, "e": true}, moves, 3)
	if a.Lost[0].Loss != 2*time.Second {
		t.Errorf("the loss is %s, want 2s, from the first lost commit to the cut", a.Lost[0].Loss)
	}
}

func TestGaps(t *testing.T) {
	want := []Gap{{From: 1, To: 2, Last: at(2), First: at(3)}, {From: 2, To: 3, Last: at(4), First: at(9)}}
	if diff := cmp.Diff(want, Gaps(commits)); diff != "" {
		t.Errorf("gaps (-want +got):\n%s", diff)
	}
	if l := Gaps(commits)[1].Length(); l != 5*time.Second {
		t.Errorf("the second gap is %s", l)
	}
}
