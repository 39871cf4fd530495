package missing

import (
	"cmp"
	"maps"
	"slices"
)

// blindness lists what a comparison cannot see.
func (p *plan) blindness() []Blind {
	all := slices.Clone(p.blind)
	for _, oid := range slices.Sorted(maps.Keys(p.tip.Relations)) {
		if why := p.whyBlind(p.tip.Relations[oid]); why != "" {
			all = append(all, Blind{Object: p.tip.Relations[oid].object(), Reason: why})
		}
	}
	slices.SortStableFunc(all, func(a, b Blind) int { return cmp.Compare(a.Object, b.Object) })
	return all
}

func (p *plan) whyBlind(r *relation) string {
	switch {
	case r.Kind == "f":
		return "a foreign table: its rows are elsewhere"
	case r.Persistence == "u":
		return "unlogged: its changes are not in WAL"
	case (r.Kind == "r" || r.Kind == "m") && !r.Heap:
		return "its access method is " + r.Method + ", and only heap is read"
	case r.Kind == "m" && p.refreshed(r):
		return "what it holds is computed, and changed after the fork: refresh it"
	}
	return ""
}

// refreshed reports whether the contents of a materialized view changed.
func (p *plan) refreshed(r *relation) bool {
	was := p.fork.Relations[r.OID]
	return was == nil || was.Node != r.Node || p.changes.touched(was) != nil
}
