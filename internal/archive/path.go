package archive

import (
	"cmp"
	"slices"

	"github.com/smartdr/smartdr/internal/wal"
)

// Entry is a segment object as its key names it.
type Entry struct {
	Timeline wal.Timeline
	Range    wal.Range
	Size     int64 // stored bytes
	Key      string
}

// Step is one object of a path, and which of its bytes the path uses.
type Step struct {
	Entry Entry
	Use   wal.Range
}

// Chain is the longest unbroken path that a set of objects holds from a position on.
type Chain struct {
	Steps []Step
	End   wal.Position // first byte that is not there
	// Beyond is the start of the first object of the path's timelines after End, or 0: with it, End is a hole and not
	// merely where shipping stands.
	Beyond wal.LSN
}

// Line is the sequence of timelines that a lineage's path goes through: History up to Timeline.
type Line struct {
	Timeline wal.Timeline
	History  wal.History
}

// At returns the timeline that the byte at l belongs to.
func (n Line) At(l wal.LSN) wal.Timeline { return n.History.TimelineAt(l, n.Timeline) }

// Until returns where the timeline that holds l ends, and false when it is the last one.
func (n Line) Until(l wal.LSN) (wal.LSN, bool) {
	for _, s := range n.History {
		if l < s.LSN {
			return s.LSN, true
		}
	}
	return 0, false
}

// NewestLine returns the line that a lineage follows: that of its newest timeline. histories holds the parsed history
// files by timeline; start is the timeline that the lineage began on. What came before is not on the line: the lineage
// has the bytes of its first segment file under its own timeline, also those that came from the one before.
func NewestLine(start wal.Timeline, histories map[wal.Timeline]wal.History) Line {
	n := Line{Timeline: start}
	for t := range histories {
		n.Timeline = max(n.Timeline, t)
	}
	for _, s := range histories[n.Timeline] {
		if s.Timeline >= start {
			n.History = append(n.History, s)
		}
	}
	return n
}

// Path finds the longest unbroken path through entries along line from a position on, using as few objects as it can:
// of those that hold the next byte, the one that reaches furthest. It looks at keys only; what is in the objects is
// verified when they are read.
func Path(entries []Entry, line Line, from wal.LSN) Chain {
	byTimeline := map[wal.Timeline][]Entry{}
	for _, e := range entries {
		byTimeline[e.Timeline] = append(byTimeline[e.Timeline], e)
	}
	for _, es := range byTimeline {
		slices.SortFunc(es, func(a, b Entry) int { return cmp.Compare(a.Range.Start, b.Range.Start) })
	}
	c := Chain{End: wal.Position{Timeline: line.At(from), LSN: from}}
	for {
		at := c.End.LSN
		t := line.At(at)
		c.End.Timeline = t
		e, ok := furthest(byTimeline, t, at)
		if !ok {
			c.Beyond = beyond(byTimeline, line, at)
			return c
		}
		to := e.Range.End
		if end, ends := line.Until(at); ends && end < to {
			to = end
		}
		c.Steps = append(c.Steps, Step{e, wal.Range{Start: at, End: to}})
		c.End.LSN = to
	}
}

// furthest returns the entry of timeline t that holds the byte at l and ends last. It drops entries that it has passed.
func furthest(byTimeline map[wal.Timeline][]Entry, t wal.Timeline, l wal.LSN) (best Entry, ok bool) {
	es := byTimeline[t]
	n := 0
	for _, e := range es {
		if e.Range.Start > l {
			break
		}
		n++
		if e.Range.Contains(l) && (!ok || e.Range.End > best.Range.End) {
			best, ok = e, true
		}
	}
	byTimeline[t] = es[n:] // all of them end at or before best's end
	return best, ok
}

// beyond returns where the first object of the line after l starts, or 0.
func beyond(byTimeline map[wal.Timeline][]Entry, line Line, l wal.LSN) (first wal.LSN) {
	for t, es := range byTimeline {
		for _, e := range es {
			if s := e.Range.Start; s > l && line.At(s) == t && (first == 0 || s < first) {
				first = s
			}
		}
	}
	return first
}
