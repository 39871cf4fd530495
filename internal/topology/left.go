package topology

import "github.com/smartdr/smartdr/internal/wal"

// Left is a lineage that another side goes on from, or instead of. Its server may have written more than the other side has:
// its tail.
type Left struct {
	Workspace string
	Lineage   Lineage
	// Fork is the first byte that the newer lineage does not share. Where no lineage goes on from this one it is the lineage's
	// own first byte: all of it is tail.
	Fork wal.Position
}

// LeftLineages returns the lineages of a group that were left, oldest first: those of servers whose epoch is over, and those whose server
// was replaced by an earlier state of it. One that ended with a hole is not among them: its server went on in another lineage of the same
// epoch, and no longer has what would come next.
func (g *Group) LeftLineages() (left []Left) {
	for i := range g.Workspaces {
		w := &g.Workspaces[i]
		for n, l := range w.Lineages {
			next := nextInEpoch(w.Lineages[n+1:], l.Epoch)
			over := next == nil && l.Epoch < g.Epoch && l.ID != w.Lineage
			if over || next != nil && next.Parent != nil {
				left = append(left, Left{w.Name, l, w.forkOf(l)})
			}
		}
	}
	return left
}

// Replaced reports whether the server that wrote a lineage was replaced within its epoch: the next lineage of that epoch forked off somewhere.
// After a hole, the same server begins one that comes from none.
func (w *Workspace) Replaced(lineage string) bool {
	for n, l := range w.Lineages {
		if l.ID == lineage {
			next := nextInEpoch(w.Lineages[n+1:], l.Epoch)
			return next != nil && next.Parent != nil
		}
	}
	return false
}

func nextInEpoch(later []Lineage, e Epoch) *Lineage {
	for i := range later {
		if later[i].Epoch == e {
			return &later[i]
		}
	}
	return nil
}

// forkOf returns where the first lineage that goes on from l left it.
func (w *Workspace) forkOf(l Lineage) wal.Position {
	for _, next := range w.Lineages {
		if next.Parent != nil && next.Parent.Lineage == l.ID {
			return next.Parent.At
		}
	}
	return l.Start
}

// FindLeft returns the lineage of that ID if it was left, and false otherwise: when it is written now, or unknown.
func (g *Group) FindLeft(workspace, lineage string) (Left, bool) {
	for _, l := range g.LeftLineages() {
		if l.Workspace == workspace && l.Lineage.ID == lineage {
			return l, true
		}
	}
	return Left{}, false
}
