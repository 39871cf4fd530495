package retention

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
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

// A bucket that did not have what is needed, or could not tell what that is, is looked at again when the other one has told, and its WAL stays
// from then on; one that has it, or of which nothing new is known, is not.
func TestABucketIsLookedAtAgainWhenItIsKnownWhatItHasToHave(t *testing.T) {
	lacks := fault.Newf(fault.Missing, "look", "it begins later")
	for what, c := range map[string]struct {
		back  map[string]bool
		needs wal.LSN
		finds error
		asked bool
		want  map[string]bool
	}{
		"new, and has it":         {nil, 0, nil, true, map[string]bool{"east": true}},
		"new, and lacks it":       {nil, 0, lacks, true, map[string]bool{"east": false}},
		"nobody has told":         {map[string]bool{"east": false}, 0, nil, false, map[string]bool{"east": false}},
		"has it now":              {map[string]bool{"east": false, "west": true}, 0x2000000, nil, true, map[string]bool{"east": true, "west": true}},
		"lacks it still":          {map[string]bool{"east": false, "west": true}, 0x2000000, lacks, true, map[string]bool{"east": false, "west": true}},
		"had it":                  {map[string]bool{"east": true}, 0x2000000, lacks, false, map[string]bool{"east": true}},
		"does not answer, lacked": {map[string]bool{"east": false}, 0x2000000, fault.Newf(fault.Transient, "look", "silent"), true, map[string]bool{"east": false}},
	} {
		g := topology.Group{SystemManaged: []topology.SystemManaged{{Name: "app_1", Workspace: "orders", Lineage: "0001-89abcdef", Needs: c.needs, Back: c.back}}}
		asked := false
		s := Sweep{Region: "east", Needed: func(_ context.Context, _ *topology.Group, sm topology.SystemManaged) (wal.LSN, error) {
			asked = true
			return sm.Needs, c.finds
		}}
		r := round{Sweep: s.withDefaults(), workspace: "orders"}
		found, err := r.needs(t.Context(), g)
		if err != nil {
			t.Fatal(err)
		}
		r.noteNeeds(&g, found)
		if diff := cmp.Diff(c.want, g.SystemManaged[0].Back); diff != "" || asked != c.asked || len(r.notes) > 0 {
			t.Errorf("%s: asked %t, notes %q\n%s", what, asked, r.notes, diff)
		}
	}
}
