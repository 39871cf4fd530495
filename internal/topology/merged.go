package topology

import (
	"fmt"
	"slices"
	"time"

	"github.com/smartdr/smartdr/internal/wal"
)

// Merged says that what a system-managed database has was merged into the one that serves, up to a point of its own lineage.
type Merged struct {
	At      wal.Position `json:"at"`      // all that a bucket held of the lineage then
	Commits int64        `json:"commits"` // commit records between Fork and At, of the whole server
	Time    time.Time    `json:"time"`
	Applied int64        `json:"applied"` // rows that this merge changed
	// Conflicts is how many rows are left that somebody has to decide about.
	Conflicts int64 `json:"conflicts,omitempty"`
	// Lineage and LSN are where the merge had surely happened on the side that serves. One that goes on from an earlier point lacks it.
	Lineage string  `json:"lineage"`
	LSN     wal.LSN `json:"lsn"`
}

// Has reports whether what serves a workspace now goes on from behind a point of a lineage.
func (g *Group) Has(workspace, lineage string, at wal.LSN) bool {
	w := g.Workspace(workspace)
	if w == nil {
		return false
	}
	for l := w.CurrentLineage(); l != nil; {
		switch {
		case l.ID == lineage:
			return true
		case l.Parent == nil:
			l = w.beforeHole(*l)
		case l.Parent.Lineage == lineage:
			return l.Parent.At.LSN >= at
		default:
			l = g.FindLineage(workspace, l.Parent.Lineage)
		}
	}
	return false
}

// beforeHole returns the lineage that the same server wrote before one that comes from none; nil when that was its first.
func (w *Workspace) beforeHole(l Lineage) *Lineage {
	i := slices.IndexFunc(w.Lineages, func(o Lineage) bool { return o.ID == l.ID })
	if i < 1 || w.Lineages[i-1].Epoch != l.Epoch {
		return nil
	}
	return &w.Lineages[i-1]
}

// standing returns the merge of a system-managed database that what serves now has; nil when there is none.
func (s SystemManaged) standing(g *Group) *Merged {
	if m := s.Merged; m != nil && g.Has(s.Workspace, m.Lineage, m.LSN) {
		return m
	}
	return nil
}

// less returns how far a system-managed database is, less what was merged of it.
func (w Waits) less(m *Merged) Waits {
	if w.Merged = m; m == nil {
		return w
	}
	w.Commits, w.Bytes = max(0, w.Commits-m.Commits), max(0, int64(w.At.LSN)-int64(m.At.LSN))
	if w.Bytes == 0 {
		w.Commits = 0
	}
	if w.Commits == 0 {
		w.Time = time.Time{}
	}
	return w
}

// sentence says what was merged.
func (m *Merged) sentence() string {
	s := fmt.Sprintf("merged up to %s at %s", m.At.LSN, m.Time.UTC().Format(time.RFC3339))
	switch m.Conflicts {
	case 0:
		return s
	case 1:
		return s + ", with 1 conflict left"
	}
	return s + fmt.Sprintf(", with %d conflicts left", m.Conflicts)
}

// mergedSentence is Sentence after a merge.
func (w Waits) mergedSentence() string {
	switch s := w.Merged.sentence(); {
	case w.NothingMissing():
		return "nothing missing: " + s
	case w.Commits > 0:
		return s + "; more has arrived since"
	case w.Complete:
		return s + "; nothing more will arrive"
	case w.Reason != "":
		return s + "; goes on receiving: " + w.Reason
	default:
		return s + "; goes on receiving"
	}
}
