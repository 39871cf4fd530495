package topology

import (
	"slices"

	"github.com/smartdr/smartdr/internal/wal"
)

// Applied is a proof about one subscription: whoever has a server's WAL up to At has everything of the subscription's
// publisher up to UpTo.
type Applied struct {
	Database string       `json:"database"`
	Name     string       `json:"name"`
	Slot     string       `json:"slot"` // on the publisher
	UpTo     wal.LSN      `json:"upTo"` // in the publisher's WAL
	At       wal.Position `json:"at"`   // in the server's own WAL
}

// keepApplied is how many proofs of one subscription are kept. They are made every second: what is in a bucket is seldom
// older than that.
const keepApplied = 30

func (a Applied) sameSubscription(b Applied) bool {
	return a.Database == b.Database && a.Name == b.Name && a.Slot == b.Slot
}

// AddApplied returns known, oldest first, with what was seen last. Of proofs of the same position the first one is kept: it asks
// for the least WAL. The result is never nil: nil is to know nothing.
func AddApplied(known, seen []Applied) []Applied {
	out := append([]Applied{}, known...)
	for _, s := range seen {
		n, newest := 0, -1
		for i, a := range out {
			if a.sameSubscription(s) {
				n, newest = n+1, i
			}
		}
		if newest >= 0 && out[newest].UpTo == s.UpTo && out[newest].At.Timeline == s.At.Timeline {
			continue
		}
		if n >= keepApplied {
			i := slices.IndexFunc(out, s.sameSubscription)
			out = slices.Delete(out, i, i+1)
		}
		out = append(out, s)
	}
	return out
}

// OnlyApplied returns the proofs of all about subscriptions that are in seen, which lists those that are there now.
func OnlyApplied(all, seen []Applied) []Applied {
	return slices.DeleteFunc(append([]Applied{}, all...), func(a Applied) bool {
		return !slices.ContainsFunc(seen, a.sameSubscription)
	})
}

// AppliedBy returns the position in its publisher's WAL up to which nothing of a subscription is missing on a server that
// was restored to recovered; 0 if none of the proofs shows one.
func AppliedBy(all []Applied, database, name, slot string, recovered wal.Position) (upTo wal.LSN) {
	var newest wal.LSN
	for _, a := range all {
		here := a.At.Timeline == recovered.Timeline && a.At.LSN <= recovered.LSN
		if here && a.At.LSN >= newest && a.sameSubscription(Applied{Database: database, Name: name, Slot: slot}) {
			newest, upTo = a.At.LSN, a.UpTo
		}
	}
	return upTo
}
