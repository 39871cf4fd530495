package retention

import (
	"strings"

	"github.com/smartdr/smartdr/internal/missing"
	"github.com/smartdr/smartdr/internal/wal"
)

// MissingObject is what is kept of rows that a failover left behind: a set, a report, an undo record or decisions, or a part of one.
type MissingObject struct {
	Object
	missing.Key
}

// missing notes such an object; false for one that is not of the known layout.
func (r *reader) missing(o Object, name string) bool {
	rest, is := strings.CutPrefix(name, "missing/")
	k, known := missing.ParseKey(rest)
	if !is || !known {
		return false
	}
	r.b.Missing = append(r.b.Missing, MissingObject{o, k})
	return true
}

// missing keeps what tells of the rows that system-managed databases have: of merges what leads back, and of comparisons those of the newest tip
// of which there is a set of the database, and of later ones.
func (k *marker) missing() {
	left := map[string]bool{}
	for _, sm := range k.g.SystemManaged {
		if sm.Workspace == k.workspace {
			left[sm.Lineage] = true
		}
	}
	type of struct{ lineage, database string }
	newest := map[of]wal.LSN{}
	for _, o := range k.b.Missing {
		if at := (of{o.Lineage, o.Database}); o.Kind == missing.SetObject && o.Part == "" {
			newest[at] = max(newest[at], o.Tip)
		}
	}
	for _, o := range k.b.Missing {
		if left[o.Lineage] && (o.Kind == missing.UndoObject || o.Tip >= newest[of{o.Lineage, o.Database}]) || o.Kind == missing.DecisionsObject && len(left) > 0 {
			k.m.Keys[o.Object.Key] = true
		}
	}
}
