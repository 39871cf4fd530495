package history

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/smartdr/smartdr/internal/archive"
	"github.com/smartdr/smartdr/internal/snapshot"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

// survey is what a bucket holds of one lineage, as one that goes on from it sees it, or as its own server does.
type survey struct {
	lineage topology.Lineage
	line    archive.Line
	runs    []run
	broken  string               // why nothing of it can be used, as a sentence without its full stop; else empty
	astray  []*snapshot.Manifest // whose WAL is not there
}

// run is a stretch of WAL without a gap.
type run struct {
	steps     []archive.Step
	start     wal.LSN
	end       wal.LSN
	from      wal.LSN // every point from here on can be restored; 0: none
	forked    bool    // from is where the lineage left its parent
	snapshots []*snapshot.Manifest
	lacks     string // why no point can be restored, or none before the first snapshot, as a sentence without its full stop
}

// view says how a lineage is looked at.
type view struct {
	lineage string
	upTo    wal.Timeline
	until   wal.LSN
}

// survey looks at a lineage without timelines newer than upTo, and up to an LSN; 0 for both leaves nothing out but what lies behind an end that
// is fixed.
func (c *Contents) survey(l topology.Lineage, upTo wal.Timeline, until wal.LSN) survey {
	if end := l.Ends(); until == 0 {
		upTo, until = end.Timeline, end.LSN
	}
	v := view{l.ID, upTo, until}
	s, done := c.surveys[v]
	if !done {
		s = c.look(l, upTo, until)
		c.surveys[v] = s
	}
	return s
}

func (c *Contents) look(l topology.Lineage, upTo wal.Timeline, until wal.LSN) survey {
	s := survey{lineage: l}
	inv := c.upTo(l.ID, upTo)
	err := inv.CheckHistories()
	if err == nil {
		s.line, err = inv.Line(l.Start.Timeline)
	}
	if err != nil {
		s.broken, s.line = err.Error(), archive.Line{Timeline: l.Start.Timeline}
		s.runs = runsOf(inv.Entries, s.line, l, until)
		return s
	}
	s.runs = runsOf(inv.Entries, s.line, l, until)
	s.place(c.snapshots, until)
	for i := range s.runs {
		s.runs[i].begin(c, l)
	}
	return s
}

// upTo returns what is held of a lineage without newer timelines.
func (c *Contents) upTo(lineage string, t wal.Timeline) archive.Inventory {
	inv := c.held[lineage]
	if t == 0 {
		return inv
	}
	cut := archive.Inventory{Histories: maps.Clone(inv.Histories)}
	maps.DeleteFunc(cut.Histories, func(of wal.Timeline, _ []byte) bool { return of > t })
	for _, e := range inv.Entries {
		if e.Timeline <= t {
			cut.Entries = append(cut.Entries, e)
		}
	}
	return cut
}

// runsOf finds the unbroken stretches of a lineage along a line.
func runsOf(entries []archive.Entry, line archive.Line, l topology.Lineage, until wal.LSN) (runs []run) {
	for at := l.Start.LSN; until == 0 || at < until; {
		c := archive.Path(entries, line, at)
		if r := (run{steps: c.Steps, start: at, end: c.End.LSN}); len(c.Steps) > 0 {
			r.clip(until)
			runs = append(runs, r)
		}
		if c.Beyond == 0 {
			break
		}
		at = c.Beyond
	}
	return runs
}

// clip ends a run where the next lineage left.
func (r *run) clip(until wal.LSN) {
	if until == 0 || r.end <= until {
		return
	}
	r.end = until
	for i, s := range r.steps {
		if s.Use.End >= until {
			r.steps = slices.Clone(r.steps[:i+1])
			r.steps[i].Use.End = until
			return
		}
	}
}

// place puts each of the lineage's snapshots into the run that holds the WAL it needs.
func (s *survey) place(all []*snapshot.Manifest, until wal.LSN) {
	for _, m := range all {
		if m.Lineage != s.lineage.ID || s.line.At(m.End.LSN-1) != m.End.Timeline || until != 0 && m.End.LSN > until {
			continue // of another lineage, or of a part of this one that is not on the way
		}
		from := m.SegmentSize.Start(m.Start.LSN)
		at := slices.IndexFunc(s.runs, func(r run) bool { return r.start <= from && m.End.LSN <= r.end })
		if at < 0 {
			s.astray = append(s.astray, m)
			continue
		}
		s.runs[at].snapshots = append(s.runs[at].snapshots, m)
	}
}

// begin finds where the points of a run begin.
func (r *run) begin(c *Contents, l topology.Lineage) {
	if len(r.snapshots) > 0 {
		slices.SortStableFunc(r.snapshots, func(a, b *snapshot.Manifest) int { return cmp.Compare(a.End.LSN, b.End.LSN) })
		r.from = r.snapshots[0].End.LSN
	} else {
		r.lacks = "no snapshot leads into it"
		if c.damaged != nil {
			r.lacks += ": " + c.damaged.Error()
		}
	}
	if l.Parent == nil || r.start > l.Start.LSN {
		return
	}
	if why := c.unreachable(l); why != "" {
		r.lacks = why
	} else if r.end > l.Parent.At.LSN {
		r.from, r.forked, r.lacks = l.Parent.At.LSN, true, ""
	}
}

// unreachable says why the fork at which a lineage began cannot be restored, or "".
func (c *Contents) unreachable(l topology.Lineage) string {
	fork := l.Parent.At
	parent := c.group.FindLineage(c.Workspace, l.Parent.Lineage)
	if parent == nil {
		return fmt.Sprintf("lineage %s, from which it went on at %s, is not known any more", l.Parent.Lineage, fork.LSN)
	}
	s := c.survey(*parent, fork.Timeline, fork.LSN)
	last := s.last()
	switch {
	case s.broken != "":
		return fmt.Sprintf("it goes on from lineage %s, of which nothing can be used: %s", parent.ID, s.broken)
	case last == nil || last.end < fork.LSN:
		return fmt.Sprintf("it goes on from lineage %s, whose WAL from %s to %s is missing", parent.ID, s.heldTo(), fork.LSN)
	case last.from == 0 || last.from > fork.LSN:
		return fmt.Sprintf("it goes on from lineage %s, of which %s cannot be restored: %s", parent.ID, fork.LSN, cmp.Or(last.lacks, "no snapshot leads there"))
	}
	return ""
}

func (s *survey) last() *run {
	if len(s.runs) == 0 {
		return nil
	}
	return &s.runs[len(s.runs)-1]
}

// heldTo is where a lineage's WAL ends.
func (s *survey) heldTo() wal.LSN {
	if r := s.last(); r != nil {
		return r.end
	}
	return s.lineage.Start.LSN
}

// position is where an LSN lies on the line.
func (s *survey) position(l wal.LSN) wal.Position {
	return wal.Position{Timeline: s.line.At(max(l, 1) - 1), LSN: l}
}
