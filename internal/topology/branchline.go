package topology

import (
	"slices"

	"github.com/smartdr/smartdr/internal/wal"
)

// BranchLine returns what Branch.Line is of a branch that begins on a lineage: those of the lineage and its ancestors that are not the
// workspace's own.
func (g *Group) BranchLine(workspace, lineage string) (line []Lineage) {
	w := g.Workspace(workspace)
	for _, l := range g.Ancestry(workspace, lineage) {
		if w != nil && w.FindLineage(l.ID) == nil {
			line = append(line, l)
		}
	}
	return line
}

// OwnLine are the lineages that were written by the branch itself, oldest first.
func (b *Branch) OwnLine() []Lineage { return b.Line[len(b.Line)-min(b.Own, len(b.Line)):] }

// Referable reports whether something new may refer to a point in a region's bucket: retention has not given it up, or a branch or a
// system-managed database that is there needs it too.
func (g *Group) Referable(workspace, region string, at Fork) bool {
	w := g.Workspace(workspace)
	if w == nil {
		return false
	}
	if floor := w.Floor(region, at.Lineage); floor != Gone && at.At.LSN >= floor {
		return true
	}
	for i := range g.Branches {
		if b := &g.Branches[i]; b.Workspace == workspace && b.Region == region && (b.Base == at || b.passes(at)) {
			return true
		}
	}
	return slices.ContainsFunc(g.SystemManaged, func(s SystemManaged) bool {
		return s.Workspace == workspace && s.Lineage == at.Lineage && at.At.LSN >= s.Fork.LSN
	})
}

// passes reports whether a point lies on the way to the branch's newest one, where that is not the workspace's own: all of it is replayed
// whenever the branch is attached.
func (b *Branch) passes(at Fork) bool {
	for i, l := range b.Line {
		if l.ID == at.Lineage {
			return behindFork(l, at.At) && b.leaves(i, at.At)
		}
	}
	return false
}

func behindFork(l Lineage, at wal.Position) bool { return l.Parent == nil || at.LSN >= l.Parent.At.LSN }

// leaves reports whether the branch's way leaves the lineage of its line at a point or behind it.
func (b *Branch) leaves(i int, at wal.Position) bool {
	switch {
	case i+1 < len(b.Line):
		return within(at, b.Line[i+1].Parent)
	case b.Own == 0:
		return within(at, &b.Base)
	}
	return true
}

// within reports whether a point of a lineage lies at or before the one where it is left.
func within(at wal.Position, left *Fork) bool {
	return left != nil && at.LSN <= left.At.LSN && at.Timeline <= left.At.Timeline
}
