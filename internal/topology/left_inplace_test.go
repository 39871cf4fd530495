package topology

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/smartdr/smartdr/internal/wal"
)

func lineageOf(id string, e Epoch, parent string, at wal.LSN) Lineage {
	l := Lineage{ID: id, Epoch: e, Region: "east", Start: wal.Position{Timeline: 1, LSN: 0x1000000}}
	if parent != "" {
		l.Parent = &Fork{Lineage: parent, At: wal.Position{Timeline: 1, LSN: at}}
	}
	return l
}

// A lineage that an earlier state has replaced was left where that state is of it; one that ended with a hole was not.
func TestLeftWithinAnEpoch(t *testing.T) {
	for name, test := range map[string]struct {
		lineages []Lineage
		want     map[string]wal.LSN // by lineage, where it was left
	}{
		"a hole":                            {[]Lineage{lineageOf("a", 1, "", 0), lineageOf("b", 1, "", 0)}, map[string]wal.LSN{}},
		"replaced":                          {[]Lineage{lineageOf("a", 1, "", 0), lineageOf("b", 1, "a", 0x2000000)}, map[string]wal.LSN{"a": 0x2000000}},
		"replaced by a state before a hole": {[]Lineage{lineageOf("a", 1, "", 0), lineageOf("b", 1, "", 0), lineageOf("c", 1, "a", 0x2000000)}, map[string]wal.LSN{"b": 0x1000000}},
		"a hole after it was replaced":      {[]Lineage{lineageOf("a", 1, "", 0), lineageOf("b", 1, "a", 0x2000000), lineageOf("c", 1, "", 0)}, map[string]wal.LSN{"a": 0x2000000}},
		"replaced twice":                    {[]Lineage{lineageOf("a", 1, "", 0), lineageOf("b", 1, "a", 0x2000000), lineageOf("c", 1, "a", 0x1800000)}, map[string]wal.LSN{"a": 0x2000000, "b": 0x1000000}},
		"replaced, then a failover":         {[]Lineage{lineageOf("a", 1, "", 0), lineageOf("b", 1, "a", 0x2000000), lineageOf("c", 2, "b", 0x3000000)}, map[string]wal.LSN{"a": 0x2000000, "b": 0x3000000}},
	} {
		t.Run(name, func(t *testing.T) {
			last := test.lineages[len(test.lineages)-1]
			g := Group{Epoch: last.Epoch, Workspaces: []Workspace{{Name: "main", Lineage: last.ID, Lineages: test.lineages}}}
			got := map[string]wal.LSN{}
			for _, l := range g.LeftLineages() {
				got[l.Lineage.ID] = l.Fork.LSN
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Error(diff)
			}
			for _, l := range test.lineages {
				if _, left := got[l.ID]; l.Epoch == last.Epoch && left != g.Workspaces[0].Replaced(l.ID) {
					t.Errorf("lineage %s: left %v, replaced %v", l.ID, left, !left)
				}
			}
		})
	}
}
