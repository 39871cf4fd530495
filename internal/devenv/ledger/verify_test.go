package ledger

import (
	"testing"
	"time"

	"github.com/smartdr/smartdr/internal/wal"
)

func TestJudge(t *testing.T) {
	at := time.Unix(1_700_000_000, 0)
	c := Commit{ID: "w-1", Before: 100, After: 200, At: at}
	for _, test := range []struct {
		name            string
		there           bool
		recovered       uint64
		broken, due, ok int
		lost            bool
	}{
		{"due and there", true, 200, 0, 1, 1, false},
		{"due and missing", false, 200, 1, 1, 0, false},
		{"not due and missing", false, 199, 0, 0, 0, true},
		{"not due and there, as it may be", true, 150, 0, 0, 1, false},
		{"there although recovery ended before it", true, 100, 1, 0, 1, false},
	} {
		var r Report
		r.judge(c, test.there, wal.LSN(test.recovered))
		if len(r.Broken) != test.broken || r.Due != test.due || r.Kept != test.ok || (r.FirstLost != nil) != test.lost {
			t.Errorf("%s: %+v", test.name, r)
		}
	}
}

func TestTheEarliestLostCommitCounts(t *testing.T) {
	var r Report
	for _, seconds := range []int64{30, 10, 20} {
		r.judge(Commit{ID: "w", Before: 500, After: unknownEnd, At: time.Unix(seconds, 0)}, false, wal.LSN(100))
	}
	if r.FirstLost == nil || r.FirstLost.At.Unix() != 10 {
		t.Errorf("the first lost commit is %+v, want the one at 10 s", r.FirstLost)
	}
}
