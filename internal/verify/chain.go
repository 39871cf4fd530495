package verify

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/smartdr/smartdr/internal/archive"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

// place is a position of a timeline.
type place struct {
	timeline wal.Timeline
	at       wal.LSN
}

// claim is what one object says of the digest at a position.
type claim struct {
	entry archive.Entry
	sum   archive.Sum
}

// clash is two objects that contradict each other.
type clash struct {
	a, b archive.Entry
	at   wal.LSN
}

// chains finds the segments that contradict others, by what their headers say of the digest at the positions that they share. Of two it is the one that
// contradicts more of the others, or else the later one.
func (ws *workspace) chains() {
	for _, l := range ws.lineages {
		clashes := l.clashes()
		for len(clashes) > 0 {
			worst := worstOf(clashes)
			var beside []string
			clashes = slices.DeleteFunc(clashes, func(c clash) bool {
				switch worst.Key {
				case c.a.Key:
					beside = append(beside, fmt.Sprintf("at %s with %s", c.at, c.b.Key))
				case c.b.Key:
					beside = append(beside, fmt.Sprintf("at %s with %s", c.at, c.a.Key))
				default:
					return false
				}
				return true
			})
			ws.add(*ws.segment(worst, topology.FindingInconsistent, "it holds other WAL than what lies beside it: its digest disagrees "+few(beside)))
		}
	}
}

// clashes compares the digests at every position that several objects know.
func (l *lineage) clashes() (all []clash) {
	known := map[place][]claim{}
	for _, e := range l.entries {
		h := l.heads[e.Key]
		for _, p := range []struct {
			at  wal.LSN
			sum archive.Sum
		}{{h.start, h.before}, {h.end, h.digest}} {
			at := place{e.Timeline, p.at}
			for _, other := range known[at] {
				if other.sum != p.sum {
					all = append(all, clash{other.entry, e, p.at})
				}
			}
			known[at] = append(known[at], claim{e, p.sum})
		}
	}
	return all
}

func worstOf(clashes []clash) archive.Entry {
	count := map[string]int{}
	var all []archive.Entry
	for _, c := range clashes {
		for _, e := range []archive.Entry{c.a, c.b} {
			count[e.Key]++
			all = append(all, e)
		}
	}
	return slices.MaxFunc(all, func(a, b archive.Entry) int {
		return cmp.Or(cmp.Compare(count[a.Key], count[b.Key]), cmp.Compare(a.Range.Start, b.Range.Start), cmp.Compare(a.Key, b.Key))
	})
}

// namesShown is how many names are written out.
const namesShown = 3

// few writes the first of some things out.
func few(all []string) string {
	out := ""
	for i, s := range all[:min(len(all), namesShown)] {
		if i > 0 {
			out += ", "
		}
		out += s
	}
	if n := len(all) - namesShown; n > 0 {
		out += fmt.Sprintf(" and %d more", n)
	}
	return out
}
