package missing_test

import (
	"slices"
	"testing"

	"github.com/smartdr/smartdr/internal/missing"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/postgres/postgrestest"
)

// WAL of the old line that arrives in three parts is merged in three runs, and the side that serves goes on between them.
func TestLateWAL(t *testing.T) {
	postgrestest.InTurn(t, func(t *testing.T, bin postgres.Binaries) {
		o := open(t, bin, 4, 3, false, variant{})
		o.goOn(10)
		undos := map[string][]*missing.Undo{}
		earlier := map[string]*merges{}
		for _, d := range databases {
			earlier[d] = &merges{rows: map[string]map[string][]*string{}, counts: map[string]map[string]int{}}
		}
		for i, tip := range o.tips {
			found := o.find(tip)
			for _, d := range databases {
				o.mergePart(d, found[d], tip, earlier[d], undos)
			}
			t.Logf("part %d is merged", i+1)
			o.run(o.others, 5)
			for _, h := range o.others {
				check(t, h.settle())
			}
		}
	})
}

// mergePart merges what arrived, and checks what came of it.
func (o *opening) mergePart(database string, set []byte, tip tip, earlier *merges, undos map[string][]*missing.Undo) {
	t := o.t
	t.Helper()
	m := o.modelAfter(tip, database, stateOf(t, o.active, database), missing.Keep, earlier)
	done := o.merge(set, database, missing.MergeInput{Apply: true, Merged: merged(undos[database]...)})
	undos[database] = append(undos[database], done.undo)
	if diff := diffStates(m.after(), stateOf(t, o.active, database)); diff != "" {
		t.Errorf("%s after the merge up to %s:\n%s", database, tip.at, diff)
	}
	o.sound(database)
	before := stateOf(t, o.active, database)
	again := o.merge(set, database, missing.MergeInput{Apply: true, Merged: merged(undos[database]...)})
	undos[database] = append(undos[database], again.undo)
	if diff := diffStates(before, stateOf(t, o.active, database)); diff != "" {
		t.Errorf("%s: a second merge up to %s changed something:\n%s", database, tip.at, diff)
	}
	earlier.add(m)
}

// merges is what earlier merges brought.
type merges struct {
	rows   map[string]map[string][]*string // of tables with keys, by key: what the row became; nil: it was removed
	counts map[string]map[string]int       // of tables without: how many rows of each content came, or went
}

func (e *merges) add(m *model) {
	for _, c := range m.changes {
		switch {
		case !c.applied:
		case c.row == nil:
			if e.rows[c.table] == nil {
				e.rows[c.table] = map[string][]*string{}
			}
			e.rows[c.table][c.key] = slices.Clone(c.theirs)
		default:
			if e.counts[c.table] == nil {
				e.counts[c.table] = map[string]int{}
			}
			if c.op == missing.Insert {
				e.counts[c.table][c.key]++
			} else {
				e.counts[c.table][c.key]--
			}
		}
	}
}
