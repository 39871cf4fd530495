package missing

import (
	"context"
	"fmt"
	"strings"

	"github.com/smartdr/smartdr/internal/fault"
)

// comparison finds out what one side has of a table and the other lacks. Rows that both have, in whichever partition, cancel each other.
type comparison struct {
	t      *tipReading
	table  int
	g      *group
	bag    *bag
	single bool  // places are of the table itself, not of partitions
	same   []int // places in a row that count, of old rows and of new ones
	news   []int
}

func (t *tipReading) group(ctx context.Context, i int, g *group) error {
	c := &comparison{t: t, table: i, g: g, bag: newBag()}
	for place, column := range g.table.Columns {
		if column.Generated {
			continue
		}
		c.news = append(c.news, place)
		if g.old != nil {
			c.same = append(c.same, g.common[place])
		}
	}
	if g.old != nil {
		c.single = g.old.top.Kind == "r"
	} else {
		c.single = t.plan.tip.root(g.members[0].at).Kind == "r"
	}
	return c.run(ctx)
}

func (c *comparison) run(ctx context.Context) error {
	at := sides{old: func(visit func(*row) error) error { return c.kept(visit) }, new: func(visit func(*row) error) error { return c.members(ctx, visit) }}
	if n := c.t.plan.fork.Kept[c.root()]; n > bagRows {
		return c.parted(at, int(min(n/bagRows+1, maxParts)))
	}
	return c.compare(at)
}

// sides read the row versions that the fork and the tip have, as often as wanted.
type sides struct {
	old, new func(visit func(*row) error) error
}

// compare writes what only one side has.
func (c *comparison) compare(of sides) error {
	c.bag.clear()
	if err := of.old(func(r *row) error { c.bag.add(c.bag.hash(r.Values, c.same)); return nil }); err != nil {
		return err
	}
	if err := of.new(c.made); err != nil {
		return err
	}
	return of.old(c.gone)
}

// root is the OID at the fork of what is listed; 0: it was not there.
func (c *comparison) root() uint32 {
	if c.g.old == nil {
		return 0
	}
	return c.g.old.top.OID
}

// kept reads the old row versions.
func (c *comparison) kept(visit func(*row) error) error {
	if c.t.plan.fork.Kept[c.root()] == 0 || len(c.g.members) == 0 {
		return nil
	}
	return readRows(rowsFile(c.t.in.Dir, c.t.plan.fork.Database.OID, c.root()), visit)
}

// members reads the new row versions.
func (c *comparison) members(ctx context.Context, visit func(*row) error) error {
	for _, m := range c.g.members {
		if err := c.member(ctx, m, visit); err != nil {
			return err
		}
	}
	return nil
}

// member reads the new row versions of one table or partition.
func (c *comparison) member(ctx context.Context, m member, visit func(*row) error) error {
	q := &rowQuery{conn: c.t.conn, table: m.at, columns: c.expressions(m)}
	if m.whole {
		return q.whole(ctx, c.t.in.counted(c.t.name, m.at, m.at.Rows, visit))
	}
	return q.at(ctx, m.places, c.t.in.counted(c.t.name, m.at, m.places.Len(), func(r *row) error {
		if _, committed := c.t.in.Changes.Commits[r.XID]; !committed {
			return fault.Newf(fault.Corrupt, opRead, "row version (%d,%d) of %s is of transaction %d, which did not commit after the fork: WAL was read wrongly",
				r.TID.Block, r.TID.Offset, m.at.object(), r.XID)
		}
		return visit(r)
	}))
}

func (c *comparison) expressions(m member) []string {
	var all []string
	for i := range c.g.table.Columns {
		at := i
		if c.g.old != nil {
			at = c.g.common[i]
		}
		all = append(all, expression(m.at, m.names[at]))
	}
	return all
}

// made takes in a row version at the tip, and writes it if the fork has none like it.
func (c *comparison) made(r *row) error {
	if c.bag.take(c.bag.hash(r.Values, c.news)) {
		return nil
	}
	l := Line{Side: New, Values: values(r.Values, nil)}
	if _, committed := c.t.in.Changes.Commits[r.XID]; committed {
		l.XID = r.XID
	}
	return c.line(l, r)
}

// gone takes in a row version at the fork, and writes it if the tip has none like it.
func (c *comparison) gone(r *row) error {
	if !c.bag.take(c.bag.hash(r.Values, c.same)) || c.g.gone[r.Table] {
		return nil
	}
	return c.line(Line{Side: Old, Values: values(r.Values, c.g.common), XID: c.remover(r)}, r)
}

// remover is the transaction that removed a row version; 0: not known.
func (c *comparison) remover(r *row) uint32 {
	at := c.t.plan.fork.Relations[r.Table]
	if at == nil || c.t.in.Changes.touched(at) == nil {
		return 0
	}
	return c.t.in.Changes.touched(at).Old.XID(r.TID)
}

// line writes a line, behind that of its transaction.
func (c *comparison) line(l Line, r *row) error {
	l.Table = c.table
	if c.single {
		l.TID = fmt.Sprintf("(%d,%d)", r.TID.Block, r.TID.Offset)
	}
	if commit, ok := c.t.in.Changes.Commits[l.XID]; ok && !c.t.named[l.XID] {
		c.t.named[l.XID] = true
		if err := c.t.set.Write(Line{Table: c.table, Commit: &commit}); err != nil {
			return err
		}
	}
	return c.t.set.Write(l)
}

// values are those at places, or all, as a line has them.
func values(of [][]byte, places []int) []*string {
	n := len(places)
	if places == nil {
		n = len(of)
	}
	all := make([]*string, n)
	for i := range all {
		at := i
		if places != nil {
			at = places[i]
		}
		if v := of[at]; v != nil {
			s := strings.Clone(string(v))
			all[i] = &s
		}
	}
	return all
}
