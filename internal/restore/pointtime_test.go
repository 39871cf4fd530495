package restore

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/smartdr/smartdr/internal/archive"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/wal"
)

// However clocks jump, and whichever segments tell nothing, no commit that is later than the moment lies in what is passed over; and with
// headers that tell everything all is passed over that can be.
func TestNothingLaterIsPassedOver(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		seconds := rapid.SliceOfN(rapid.IntRange(0, 20), 1, 60).Draw(t, "times of the commits at 10, 20, ...")
		behind := wal.LSN(10 * rapid.IntRange(0, len(seconds)).Draw(t, "the way begins behind this many commits"))
		moment := time.Unix(int64(rapid.IntRange(-1, 21).Draw(t, "moment")), 0)
		headers, whole := map[string]archive.Header{}, true
		var steps []archive.Step
		latest := archive.Latest{}
		for i := 0; i < len(seconds); {
			n := min(rapid.IntRange(1, 9).Draw(t, "commits in the segment"), len(seconds)-i)
			r := wal.Range{Start: wal.LSN(10*i) + 1, End: wal.LSN(10*(i+n)) + 1}
			if rapid.IntRange(0, 9).Draw(t, "begins to tell anew") == 0 && i > 0 {
				latest, whole = archive.Latest{Since: r.Start}, false
			}
			for _, s := range seconds[i : i+n] {
				if at := time.Unix(int64(s), 0); at.After(latest.Time) {
					latest.Time = at
				}
			}
			h, told := archive.Header{Start: r.Start, End: r.End}, latest
			if rapid.IntRange(0, 9).Draw(t, "is of an older version") > 0 {
				h.Latest = &told
			} else {
				whole = false
			}
			key := fmt.Sprint(i)
			headers[key] = h
			if i += n; r.End > behind {
				steps = append(steps, archive.Step{Entry: archive.Entry{Key: key, Range: r}, Use: r})
			}
		}
		n, err := firstUnproven(steps, func(e archive.Entry) (archive.Header, error) { return headers[e.Key], nil }, behind, moment)
		if err != nil {
			t.Fatal(err)
		}
		passed := wal.LSN(0)
		if n > 0 {
			passed = steps[n-1].Use.End
		}
		first := wal.LSN(0) // end of the first commit of all that is later
		for i, s := range seconds {
			end := wal.LSN(10 * (i + 1))
			late := time.Unix(int64(s), 0).After(moment)
			if late && end > behind && end <= passed {
				t.Fatalf("the commit at %d, of second %d, is passed over by %d", end, s, passed)
			}
			if late && first == 0 {
				first = end
			}
		}
		if whole && n < len(steps) && (first == 0 || steps[n].Use.End <= first) {
			t.Fatalf("%d of %d segments are passed over, and the first later commit is at %d", n, len(steps), first)
		}
	})
}

// A store that does not answer is not taken for one that says nothing.
func TestFirstUnprovenFails(t *testing.T) {
	steps := []archive.Step{{Entry: archive.Entry{Key: "a"}}}
	for _, c := range []struct {
		kind fault.Kind
		ok   bool
	}{{fault.Transient, false}, {fault.Missing, false}, {fault.Corrupt, true}} {
		n, err := firstUnproven(steps, func(archive.Entry) (archive.Header, error) {
			return archive.Header{}, fault.Newf(c.kind, "read", "it")
		}, 0, time.Now())
		if n != 0 || (err == nil) != c.ok {
			t.Errorf("%s: %d, %v", c.kind, n, err)
		}
	}
}
