package missing

import (
	"cmp"
	"maps"
	"slices"

	"github.com/jackc/pgx/v5"
)

// oldGroup is a table at the fork, or a tree of partitions, which is listed as its root.
type oldGroup struct {
	top     *relation
	columns []attribute
	members []*relation // logged heaps
}

// group is what is listed as one table, at the tip.
type group struct {
	table   Table
	old     *oldGroup       // nil: it was made later
	common  []int           // places in old.columns of what table.Columns lists
	members []member        // what is read at the tip
	gone    map[uint32]bool // members at the fork that are not there at the tip: their rows were not deleted one by one
	remade  bool            // another table of the same name stands for the one of the fork, which was dropped
}

// member is one file of rows of a group at the tip.
type member struct {
	at     *relation
	names  []string // of its columns, by old.columns, or by table.Columns of a group that was made later; "" is not there
	whole  bool
	places *Places // that are read, if it is not whole
}

// oldGroups are the tables of a catalog, by OID of what they are listed as.
func (c *catalog) oldGroups() map[uint32]*oldGroup {
	all := map[uint32]*oldGroup{}
	for _, oid := range slices.Sorted(maps.Keys(c.Relations)) {
		r := c.Relations[oid]
		top := c.root(r)
		if all[top.OID] == nil && (r.merged() || r.Kind == "p") {
			all[top.OID] = &oldGroup{top: top, columns: top.readable()}
		}
		if r.merged() {
			all[top.OID].members = append(all[top.OID].members, r)
		}
	}
	return all
}

// readable are the columns that have values. Virtual generated ones are computed when they are read, which may fail.
func (r *relation) readable() []attribute {
	return slices.DeleteFunc(slices.Clone(r.Columns), func(a attribute) bool { return a.Generated == "v" })
}

// replaced reports whether a table as at the fork has to be compared as a whole.
func (c *Changes) replaced(at *relation) bool { return c.Expired || c.Replaced[at.Node] }

// touched returns what changed in a file; nil: nothing.
func (c *Changes) touched(at *relation) *Touched { return c.Tables[at.Node] }

// old reports whether a group had rows at the fork that may be gone at the tip.
func (g *oldGroup) old(c *Changes) bool {
	return slices.ContainsFunc(g.members, func(r *relation) bool {
		t := c.touched(r)
		return c.replaced(r) || t != nil && t.Old.Len() > 0
	})
}

// expressions are the columns of one of its tables as they are selected, in order of the group's.
func (g *oldGroup) expressions(r *relation) []string {
	var all []string
	for _, a := range g.columns {
		all = append(all, expression(r, a.Name))
	}
	return all
}

// expression reads a column; NULL if it is not there.
func expression(r *relation, name string) string {
	switch {
	case r.named(name) == nil:
		return "null"
	case r.OID == largeObjectOwner && name == "lomowner":
		return "pg_get_userbyid(lomowner)" // numbers of roles mean something else on another server
	}
	return pgx.Identifier{name}.Sanitize()
}

// plan pairs the tables of fork and tip.
type plan struct {
	changes   *Changes
	fork, tip *catalog
	old       map[uint32]*oldGroup
	groups    map[uint32]*group // by OID of the root: at the fork if it was there
	blind     []Blind
	dropped   map[string]*relation // what the fork lists and the tip does not have, by name
}

// newPlan says which tables are read at the tip, and how.
func newPlan(c *Changes, fork, tip *catalog) *plan {
	p := &plan{changes: c, fork: fork, tip: tip, old: fork.oldGroups(), groups: map[uint32]*group{}}
	for _, oid := range slices.Sorted(maps.Keys(tip.Relations)) {
		if r := tip.Relations[oid]; r.merged() {
			p.add(r)
		}
	}
	p.addDropped()
	for _, g := range p.groups {
		p.finish(g)
	}
	return p
}

// add takes in what is to be read of a table at the tip.
func (p *plan) add(r *relation) {
	before := p.fork.Relations[r.OID]
	switch {
	case before == nil:
		p.addMade(r)
	case !before.merged():
		p.blind = append(p.blind, Blind{Object: r.object(), Reason: "it was not a logged heap at the fork: what it held there is not known"})
	case p.changes.replaced(before):
		g := p.group(p.fork.root(before))
		g.table.How = ByWhole
		g.members = append(g.members, member{at: r, names: g.old.paired(before, r), whole: true})
	case before.Node != r.Node:
		p.blind = append(p.blind, Blind{Object: r.object(), Reason: "it has another file than at the fork, and WAL does not say which transaction replaced it"})
	case p.changes.touched(before) != nil:
		g := p.group(p.fork.root(before))
		g.members = append(g.members, member{at: r, names: g.old.paired(before, r), places: &p.changes.touched(before).New})
	}
}

// addMade takes in a table that was made after the fork: by itself, in place of one of the same name, or as a partition.
func (p *plan) addMade(r *relation) {
	top := p.tip.root(r)
	if was := p.fork.Relations[top.OID]; was != nil && p.old[p.fork.root(was).OID] != nil {
		g := p.group(p.fork.root(was))
		g.members = append(g.members, member{at: r, names: g.old.partition(was, top, r), whole: true})
		return
	}
	if was := p.predecessor(top); was != nil {
		g := p.group(was)
		g.table.How, g.remade = ByWhole, true
		g.members = append(g.members, member{at: r, names: g.old.byName(r), whole: true})
		return
	}
	g := p.groups[top.OID]
	if g == nil {
		g = &group{table: Table{Schema: top.Schema, Name: top.Name, How: Made}}
		p.groups[top.OID] = g
	}
	var names []string
	for _, a := range top.readable() {
		names = append(names, a.Name)
	}
	g.members = append(g.members, member{at: r, names: names, whole: true})
}

// predecessor is a table of the fork that was dropped, and that another one of the same name stands for.
func (p *plan) predecessor(top *relation) *relation {
	if p.dropped == nil {
		p.dropped = map[string]*relation{}
		for _, g := range p.old {
			if p.tip.Relations[g.top.OID] == nil {
				p.dropped[g.top.object()] = g.top
			}
		}
	}
	return p.dropped[top.object()]
}

// group returns what a table of the fork is listed as.
func (p *plan) group(top *relation) *group {
	g := p.groups[top.OID]
	if g == nil {
		g = &group{table: Table{OID: top.OID, Schema: top.Schema, Name: top.Name, How: ByWAL}, old: p.old[top.OID], gone: map[uint32]bool{}}
		p.groups[top.OID] = g
	}
	return g
}

// addDropped lists tables that are not there any more.
func (p *plan) addDropped() {
	for oid, old := range p.old {
		if p.groups[oid] == nil && p.tip.Relations[oid] == nil {
			p.group(old.top).table.How = Dropped
		}
	}
}

// finish settles which columns and which key a group has.
func (p *plan) finish(g *group) {
	if g.old == nil {
		top := p.tip.root(g.members[0].at)
		g.table.Columns = describe(top, top.readable(), false)
		g.table.Key = keyOf(top, top.readable(), func([]string) bool { return true })
		return
	}
	for _, r := range g.old.members {
		g.gone[r.OID] = p.tip.Relations[r.OID] == nil && !g.remade
	}
	var columns []attribute
	for i, a := range g.old.columns {
		if !slices.ContainsFunc(g.members, func(m member) bool { return m.names[i] == "" }) {
			g.common, columns = append(g.common, i), append(columns, a)
		}
	}
	g.table.Columns = describe(g.old.top, columns, true)
	g.table.Key = keyOf(g.old.top, columns, p.kept(g))
}

// sorted are the groups in order of their names.
func (p *plan) sorted() []*group {
	return slices.SortedFunc(maps.Values(p.groups), func(a, b *group) int {
		return cmp.Or(cmp.Compare(a.table.Schema, b.table.Schema), cmp.Compare(a.table.Name, b.table.Name), cmp.Compare(a.table.OID, b.table.OID))
	})
}
