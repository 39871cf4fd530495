package topology

import (
	"time"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/wal"
)

// LineageEnd is where a lineage ends by decision, whatever of it comes into the bucket later. Nobody can tell a server that does not answer, or what
// ships its WAL, to stop: so the end is fixed by one write of the document that all readers go by.
type LineageEnd struct {
	At         wal.Position `json:"at"`
	LastCommit time.Time    `json:"lastCommit,omitzero"` // of the last one before At, if that is known
	// Announced: the bucket did not answer, and this is what it was last said to have.
	Announced bool `json:"announced,omitempty"`
}

// Ends returns where the lineage ends for ever, or zero for one that goes on as the bucket has it.
func (l Lineage) Ends() wal.Position {
	if l.End == nil {
		return wal.Position{}
	}
	return l.End.At
}

// Discard ends a lineage that a branch wrote, wherever it is named. What others have begun at is never behind the end: it was found in the bucket.
func (g *Group) Discard(lineage string, end LineageEnd) {
	end = g.behindForks(lineage, end)
	for i := range g.Branches {
		line := &g.Branches[i].Line
		for n, l := range *line {
			if l.ID == lineage {
				*line = replaced(*line, n, &end)
			}
		}
	}
}

// behindForks returns the end of a lineage, or the last point at which something begins in it if that lies behind.
func (g *Group) behindForks(lineage string, end LineageEnd) LineageEnd {
	further := func(f Fork, moment time.Time) {
		if f.Lineage == lineage && f.At.Compare(end.At) > 0 {
			end = LineageEnd{At: f.At, LastCommit: moment, Announced: end.Announced}
		}
	}
	for _, b := range g.Branches {
		further(b.Base, b.Moment)
		for _, l := range b.Line {
			if l.Parent != nil {
				further(*l.Parent, time.Time{})
			}
		}
	}
	return end
}

// replaced returns a line of which one lineage ends there. The line that it is given stays: others read it.
func replaced(line []Lineage, n int, end *LineageEnd) []Lineage {
	line = append([]Lineage(nil), line...)
	line[n].End = end
	return line
}

// settled gives a branch that is about to be added the lineages as the group knows them: one may have ended since its point was looked for.
// Errors: fault.Missing for a lineage, and fault.Invalid for a point, that was given up meanwhile.
func (g *Group) settled(b Branch) (Branch, error) {
	b.Line = append([]Lineage(nil), b.Line...)
	for i := range b.Line {
		l := g.FindLineage(b.Workspace, b.Line[i].ID)
		if l == nil {
			return b, fault.Newf(fault.Missing, opBranch, "lineage %s, which it comes from, was given up meanwhile", b.Line[i].ID).
				WithHint("Ask again for the point: what it comes from was detached with discard.")
		}
		b.Line[i] = *l
	}
	if last := len(b.Line) - 1; last >= 0 && behind(b.Base.At, b.Line[last]) {
		return b, fault.Newf(fault.Invalid, opBranch, "%s of lineage %s was given up: that ends at %s", b.Base.At.LSN, b.Base.Lineage, b.Line[last].Ends().LSN).
			WithHint("Choose a point at or before that.")
	}
	return b, nil
}

// behind reports whether a point of a lineage lies behind its end.
func behind(at wal.Position, l Lineage) bool { return l.End != nil && at.Compare(l.End.At) > 0 }
