package restore

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/smartdr/smartdr/internal/wal"
)

// However many there are, the sample is as small as wanted, in order, even, and has the last one; when there is room for all it has all.
func TestSample(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		most, n := rapid.IntRange(2, 20).Draw(t, "most"), rapid.IntRange(0, 200).Draw(t, "n")
		s := sample{most: most, every: 1}
		for i := range n {
			s.add(Committed{At: wal.Position{Timeline: 1, LSN: wal.LSN(i + 1)}})
		}
		all := s.all()
		if len(all) > most || n > 0 && (len(all) == 0 || all[len(all)-1].At.LSN != wal.LSN(n)) || n < most && len(all) != n {
			t.Fatalf("%d of %d, at most %d: %v", len(all), n, most, all)
		}
		for i := 1; i < len(all); i++ {
			if gap := int(all[i].At.LSN - all[i-1].At.LSN); gap <= 0 || gap > s.every {
				t.Fatalf("%v", all)
			}
		}
	})
}
