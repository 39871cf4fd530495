package restore

import (
	"cmp"
	"context"
	"slices"

	"github.com/smartdr/smartdr/internal/archive"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/wal"
)

const opRecords = "read WAL records"

// Records are the WAL records on a way, as a bucket holds them. The legs lead from the oldest lineage that it comes from to its own; each has
// a To, which is where the next one left it, and the last one's is the end of what is read. How much of the first ones is there is found out.
type Records struct {
	Legs        []Leg
	SegmentSize wal.SegmentSize
}

// Oldest returns the first position from which the bucket has all records up to the end of the way: the start of a WAL segment file. Where it has
// nothing at all that is the end.
func (r Records) Oldest(ctx context.Context) (wal.LSN, error) {
	if err := r.check(); err != nil {
		return 0, err
	}
	oldest := r.end()
	for _, leg := range slices.Backward(r.Legs) {
		inv, err := leg.whole(ctx)
		if err != nil {
			return 0, err
		}
		line, err := inv.Line(leg.Lineage.Start.Timeline)
		if err != nil {
			return 0, err
		}
		begin := leg.Lineage.Start.LSN
		from := backTo(inv.Entries, line, leg.To, begin)
		if oldest = min(oldest, from); from > begin {
			break
		}
	}
	return min(r.SegmentSize.Start(oldest+wal.LSN(r.SegmentSize)-1), r.end()), nil
}

func (r Records) end() wal.LSN { return r.Legs[len(r.Legs)-1].To }

func (r Records) check() error {
	if len(r.Legs) == 0 || !r.SegmentSize.Valid() || slices.ContainsFunc(r.Legs, func(l Leg) bool { return l.To == 0 }) {
		return fault.Newf(fault.Invalid, opRecords, "%d legs, of which each needs an end, and segment size %d", len(r.Legs), r.SegmentSize)
	}
	return nil
}

// backTo returns from where entries hold all of a line's bytes before to, no further back than least.
func backTo(entries []archive.Entry, line archive.Line, to, least wal.LSN) wal.LSN {
	entries = slices.SortedFunc(slices.Values(entries), func(a, b archive.Entry) int { return cmp.Compare(b.Range.End, a.Range.End) })
	reach := map[wal.Timeline]wal.LSN{} // how far back those go that end at or behind where we are
	for at := to; ; {
		for len(entries) > 0 && entries[0].Range.End >= at {
			e := entries[0]
			if was, seen := reach[e.Timeline]; !seen || e.Range.Start < was {
				reach[e.Timeline] = e.Range.Start
			}
			entries = entries[1:]
		}
		t := line.At(at - min(at, 1))
		back, any := reach[t]
		back = max(back, began(line, t), least)
		if !any || back >= at {
			return at
		}
		at = back
	}
}

// began returns where a line went to a timeline; 0 for the first one.
func began(line archive.Line, t wal.Timeline) (at wal.LSN) {
	for _, s := range line.History {
		if s.Timeline < t {
			at = s.LSN
		}
	}
	return at
}

// Walk visits the records that begin at or behind from, and end at or before to, in order, each once. What visit returns ends it. It is
// fault.Missing where the bucket does not have all of them, and fault.Corrupt where they are damaged.
func (r Records) Walk(ctx context.Context, from, to wal.LSN, visit func(wal.Record) error) error {
	if err := r.check(); err != nil {
		return err
	}
	legs := r.between(r.SegmentSize.Start(from), to)
	if len(legs) == 0 || to <= from {
		return nil
	}
	next := from
	w := walk{legs: legs, size: r.SegmentSize, from: legs[0].From.LSN, to: to, visit: func(_ int, _ archive.Line, rec wal.Record) error {
		if rec.Start < next { // also what was visited before objects were merged
			return nil
		}
		next = rec.End
		return visit(rec)
	}}
	return w.run(ctx, func() {})
}

// between returns the legs that lead from the start of a segment file to a position. The first one is the last lineage that has that file: its
// first file repeats what came before it.
func (r Records) between(from, to wal.LSN) (legs []Leg) {
	for i, leg := range r.Legs {
		begin := leg.Lineage.Start.LSN
		passed := leg.To <= from || i+1 < len(r.Legs) && r.Legs[i+1].Lineage.Start.LSN <= from
		if passed || len(legs) > 0 && legs[len(legs)-1].To >= to {
			continue
		}
		leg.From = wal.Position{Timeline: leg.Lineage.Start.Timeline, LSN: max(begin, from)}
		leg.To = min(leg.To, to)
		legs = append(legs, leg)
	}
	return legs
}
