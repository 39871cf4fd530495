package missing

import (
	"slices"
	"strings"
)

// paired returns what the group's columns are called at the tip, in a table that was there at the fork.
func (g *oldGroup) paired(before, at *relation) []string {
	return g.names(func(name string) *attribute {
		if was := before.named(name); was != nil {
			return at.column(was.Number)
		}
		return nil
	})
}

// partition returns what the group's columns are called in a partition that was made after the fork. Its columns have the names of those of its
// root, whose numbers stay.
func (g *oldGroup) partition(was, top, at *relation) []string {
	return g.names(func(name string) *attribute {
		if a := was.named(name); a != nil && top.column(a.Number) != nil {
			return at.named(top.column(a.Number).Name)
		}
		return nil
	})
}

// byName returns the group's columns that a table has which was made after the fork.
func (g *oldGroup) byName(at *relation) []string { return g.names(at.named) }

func (g *oldGroup) names(find func(name string) *attribute) []string {
	all := make([]string, len(g.columns))
	for i, a := range g.columns {
		if found := find(a.Name); found != nil {
			all[i] = found.Name
		}
	}
	return all
}

// describe says columns as a set lists them.
func describe(r *relation, columns []attribute, numbered bool) []Column {
	all := make([]Column, 0, len(columns))
	for _, a := range columns {
		c := Column{Name: a.Name, Type: a.Type, Generated: a.Generated != "", Identity: a.Identity, Text: a.Text}
		if numbered {
			c.Number = a.Number
		}
		if r.OID == largeObjectOwner && a.Name == "lomowner" {
			c.Type = "name"
		}
		all = append(all, c)
	}
	return all
}

// keyOf returns the places in columns of the best key that they hold whole and that is allowed; nil if there is none.
func keyOf(r *relation, columns []attribute, allowed func(names []string) bool) []int {
	for _, k := range r.Keys {
		var places []int
		var names []string
		for _, number := range k.Columns {
			i := slices.IndexFunc(columns, func(a attribute) bool { return a.Number == number })
			if i < 0 {
				break
			}
			places, names = append(places, i), append(names, columns[i].Name)
		}
		if len(places) == len(k.Columns) && allowed(names) {
			return places
		}
	}
	return nil
}

// kept says which keys of the fork, by the names of their columns there, the tip has too.
func (p *plan) kept(g *group) func(names []string) bool {
	at, name := p.tip.Relations[g.old.top.OID], func(a *attribute) string {
		if was := g.old.top.column(a.Number); was != nil {
			return was.Name
		}
		return ""
	}
	if g.remade {
		at, name = p.tip.root(g.members[0].at), func(a *attribute) string { return a.Name }
	}
	there := map[string]bool{}
	if at != nil {
		for _, k := range at.Keys {
			there[joined(k.names(at, name))] = true
		}
	}
	return func(names []string) bool { return there[joined(names)] }
}

func (k key) names(at *relation, name func(*attribute) string) []string {
	var all []string
	for _, number := range k.Columns {
		if a := at.column(number); a != nil {
			all = append(all, name(a))
		}
	}
	return all
}

// joined is a set of names as one string.
func joined(names []string) string {
	names = slices.Sorted(slices.Values(names))
	return strings.Join(names, "\x00")
}

// object names a relation as a person reads it.
func (r *relation) object() string {
	kind := map[string]string{"S": "sequence", "m": "materialized view", "f": "foreign table"}[r.Kind]
	if kind == "" {
		kind = "table"
	}
	return kind + " " + r.Schema + "." + r.Name
}
