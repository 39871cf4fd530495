package missing_test

import (
	"maps"
	"slices"

	"github.com/smartdr/smartdr/internal/missing"
)

// decided previews a merge in which somebody decided about each conflict between two versions of a row.
func (o *opening) decided(database string, set []byte) {
	r := random(o.t.Name(), "decide", database)
	active := stateOf(o.t, o.active, database)
	m := o.model(o.tips[0], database, active, missing.Keep)
	m.changes, m.decisions = nil, map[string]missing.Policy{}
	found, err := o.merge(set, database, missing.MergeInput{}).byName(m)
	check(o.t, err)
	var list []missing.Decision
	for _, name := range slices.Sorted(maps.Keys(found)) {
		c := found[name][0]
		if !slices.Contains([]missing.Class{missing.BothInserted, missing.BothUpdated, missing.UpdatedDeleted, missing.DeletedUpdated}, c.Class) {
			continue
		}
		p := []missing.Policy{missing.Keep, missing.Theirs}[r.IntN(2)]
		m.decisions[name] = p
		list = append(list, missing.Decision{ID: c.ID, Decide: p})
	}
	m.compare()
	report(o.t, database+", preview with decisions", m.judge(o.merge(set, database, missing.MergeInput{Decisions: list})))
}

// whole previews a merge that keeps transactions whole: of one that has a change which can't be merged none is, and nothing is merged that
// would not be otherwise.
func (o *opening) whole(database string, set []byte) {
	m := o.model(o.tips[0], database, stateOf(o.t, o.active, database), missing.Keep)
	loose, err := o.merge(set, database, missing.MergeInput{}).byName(m)
	check(o.t, err)
	kept, err := o.merge(set, database, missing.MergeInput{Whole: true}).byName(m)
	check(o.t, err)
	merges, stays := map[uint32]string{}, map[uint32]string{}
	for name, changes := range kept {
		could := 0
		for _, c := range loose[name] {
			if c.Applied {
				could++
			}
		}
		for _, c := range changes {
			switch {
			case c.Commit == nil:
			case c.Applied:
				merges[c.Commit.Top] = name
			case !c.Class.There():
				stays[c.Commit.Top] = name
			}
			if c.Applied {
				could--
			}
		}
		if could < 0 {
			o.t.Errorf("%s: %q is merged only where transactions are kept whole", database, name)
		}
	}
	for top, name := range merges {
		if other, both := stays[top]; both {
			o.t.Errorf("%s: of transaction %d %q is merged, and %q is not", database, top, name, other)
		}
	}
}
