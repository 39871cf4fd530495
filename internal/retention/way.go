package retention

import (
	"slices"

	"github.com/smartdr/smartdr/internal/archive"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

// stretch is how far a way goes along a lineage.
type stretch struct {
	lineage topology.Lineage
	to      wal.LSN      // where the next one forks off, or the way ends; 0: the end of what the bucket has
	upTo    wal.Timeline // newer timelines of the lineage are none of the way; 0: all are
}

// way leads from an oldest ancestor down to a point, along the lineages of one workspace.
type way []stretch

// wayTo returns the way to a point of a lineage; with the zero position to its end. It is empty for a lineage that the group does not know.
func wayTo(g *topology.Group, workspace, lineage string, at wal.Position) (w way) {
	line := g.Ancestry(workspace, lineage)
	if len(line) > 0 && at == (wal.Position{}) {
		at = line[len(line)-1].Ends()
	}
	for i, l := range line {
		s := stretch{l, at.LSN, at.Timeline}
		if i+1 < len(line) {
			s.to, s.upTo = line[i+1].Parent.At.LSN, line[i+1].Parent.At.Timeline
		}
		w = append(w, s)
	}
	return w
}

// find returns the place of a lineage on the way, or -1.
func (w way) find(lineage string) int {
	return slices.IndexFunc(w, func(s stretch) bool { return s.lineage.ID == lineage })
}

// base returns the last snapshot that leads along the way and that passes, and the stretch that it is on; nil when there is none. The last one is
// the furthest along the way: ids are of clocks.
func (b *Bucket) base(w way, pass func(*Snapshot) bool) (at int, last *Snapshot) {
	at = -1
	for n := range b.Snapshots {
		s := &b.Snapshots[n]
		i, on := w.holds(s)
		if !on || pass != nil && !pass(s) || last != nil && (i < at || i == at && s.Manifest.End.LSN < last.Manifest.End.LSN) {
			continue
		}
		if b.consistent(w[i], s) {
			at, last = i, s
		}
	}
	return at, last
}

// holds returns the stretch that a snapshot is on, if it is whole and leads along the way.
func (w way) holds(s *Snapshot) (int, bool) {
	if !s.Whole() {
		return -1, false
	}
	i := w.find(s.Manifest.Lineage)
	return i, i >= 0 && (w[i].to == 0 || s.Manifest.End.LSN <= w[i].to)
}

// consistent reports whether the WAL that a snapshot needs to be consistent is there, and is of the timelines that the stretch goes along: one
// of a timeline that was left before leads nowhere.
func (b *Bucket) consistent(on stretch, s *Snapshot) bool {
	end := s.Manifest.End
	_, chain := b.path(on, start(s))
	return chain.End.LSN >= end.LSN && b.line(on).At(end.LSN-min(end.LSN, 1)) == end.Timeline
}

// start is the first byte of WAL that a restore of the snapshot fetches.
func start(s *Snapshot) wal.LSN { return s.Manifest.SegmentSize.Start(s.Manifest.Start.LSN) }

// path is what a reader would take along a stretch, from a position on. The objects of other timelines are not in entries.
func (b *Bucket) path(on stretch, from wal.LSN) (entries []archive.Entry, chain archive.Chain) {
	l := b.Lineages[on.lineage.ID]
	if l == nil {
		return nil, archive.Chain{End: wal.Position{Timeline: on.lineage.Start.Timeline, LSN: from}}
	}
	for _, s := range l.Segments {
		if s.Range.End > from && (on.upTo == 0 || s.Timeline <= on.upTo) {
			entries = append(entries, archive.Entry{Timeline: s.Timeline, Range: s.Range, Size: s.Size, Key: s.Key})
		}
	}
	return entries, archive.Path(entries, b.line(on), from)
}

// line are the timelines that a stretch goes along.
func (b *Bucket) line(on stretch) archive.Line {
	histories := map[wal.Timeline]wal.History{}
	if l := b.Lineages[on.lineage.ID]; l != nil {
		for t, h := range l.Histories {
			if on.upTo == 0 || t <= on.upTo {
				histories[t] = h.Parsed
			}
		}
	}
	return archive.NewestLine(on.lineage.Start.Timeline, histories)
}
