package retention

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/smartdr/smartdr/internal/topology"
)

// looksFor reports whether WAL before the fork of a system-managed database is wanted from this bucket.
func looksFor(sm topology.SystemManaged) bool {
	here, looked := sm.Back["east"]
	return here || !looked
}

// beforeFork reports whether a segment may have to do with a transaction that was open where a lineage was left.
func (m *model) beforeFork(lineage string, s Segment) bool {
	for _, sm := range m.g.SystemManaged {
		line := m.g.Ancestry("orders", sm.Lineage)
		for i, l := range line {
			to := sm.Fork.LSN
			if i+1 < len(line) {
				to = line[i+1].Parent.At.LSN
			}
			if looksFor(sm) && l.ID == lineage && s.Range.Start < to && s.Range.End > fileSize.Start(sm.Needs) {
				return true
			}
		}
	}
	return false
}

// Every byte before a fork stays that a transaction may have written which was open there, and all of them while nobody knows which those are.
func TestWALOfTransactionsThatWereOpenAtAForkStays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := drawModel(t)
		before := m.b
		after, _ := m.apply(time.Duration(rapid.IntRange(1, 600).Draw(t, "window"))*time.Minute, 0)
		for _, sm := range m.g.SystemManaged {
			line := m.g.Ancestry("orders", sm.Lineage)
			for i, l := range line {
				to := sm.Fork.LSN
				if i+1 < len(line) {
					to = line[i+1].Parent.At.LSN
				}
				for p := max(l.Start.LSN, fileSize.Start(sm.Needs)); looksFor(sm) && p < to; p += mb {
					if stored(before.Lineages[l.ID], p) && !stored(after.Lineages[l.ID], p) {
						t.Fatalf("%s needs %s of lineage %s, from %s on, and that is gone; floors %v", sm.Name, p, l.ID, sm.Needs, m.ws().Floors)
					}
				}
			}
		}
	})
}
