package topology

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/smartdr/smartdr/internal/wal"
)

func proof(name string, upTo, at wal.LSN) Applied {
	return Applied{Database: "d", Name: name, Slot: name, UpTo: upTo, At: wal.Position{Timeline: 1, LSN: at}}
}

// What a restored server is said to have was applied at or before the end of its WAL; and what one bucket's delay hides is
// found as long as proofs are kept.
func TestProofsHoldUpToTheRecoveryPoint(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var kept, all []Applied
		at, upTo := wal.LSN(100), wal.LSN(5000)
		for range rapid.IntRange(1, 80).Draw(t, "looks") {
			at += wal.LSN(rapid.IntRange(0, 2).Draw(t, "own WAL"))
			upTo += wal.LSN(rapid.IntRange(0, 1).Draw(t, "the publisher's"))
			seen := []Applied{proof("a", upTo, at), proof("b", 7, at)}
			all, kept = append(all, seen...), AddApplied(kept, seen)
		}
		end := wal.Position{Timeline: 1, LSN: wal.LSN(rapid.IntRange(90, int(at)).Draw(t, "recovered"))}
		var want wal.LSN
		for _, a := range all {
			if a.Name == "a" && a.At.LSN <= end.LSN {
				want = a.UpTo
			}
		}
		oldest := kept[slices.IndexFunc(kept, proof("a", 0, 0).sameSubscription)]
		if end.LSN < oldest.At.LSN {
			want = 0
		}
		if got := AppliedBy(kept, "d", "a", "a", end); got != want {
			t.Fatalf("up to %d at %d, want %d: %v", got, end.LSN, want, kept)
		}
		if b := AppliedBy(kept, "d", "b", "b", wal.Position{Timeline: 1, LSN: at}); b != 7 || len(kept) > keepApplied+1 {
			t.Fatalf("b up to %d of %d proofs", b, len(kept))
		}
	})
}

func TestProofsOfAnotherTimelineOrSlotSayNothing(t *testing.T) {
	all := []Applied{proof("a", 50, 10)}
	for name, got := range map[string]wal.LSN{
		"another timeline":     AppliedBy(all, "d", "a", "a", wal.Position{Timeline: 2, LSN: 20}),
		"another slot":         AppliedBy(all, "d", "a", "x", wal.Position{Timeline: 1, LSN: 20}),
		"another database":     AppliedBy(all, "x", "a", "a", wal.Position{Timeline: 1, LSN: 20}),
		"before it was proved": AppliedBy(all, "d", "a", "a", wal.Position{Timeline: 1, LSN: 9}),
	} {
		if got != 0 {
			t.Errorf("%s: %d", name, got)
		}
	}
	if left := OnlyApplied(append(all, proof("b", 1, 1)), []Applied{proof("b", 0, 0)}); len(left) != 1 || left[0].Name != "b" || OnlyApplied(nil, nil) == nil {
		t.Errorf("left: %v", left)
	}
}
