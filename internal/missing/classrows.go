package missing

import (
	"context"
	"fmt"
	"strings"
)

// classify reads the rows of the active side that the changes meet, and gives each change its class by them alone.
func (m *merger) classify(ctx context.Context) error {
	if err := m.script(ctx, `create temp table smartdr_s (n int8, t int4, class text, why text, p bool, forced bool, x int8, y int8) on commit drop;
		create temp table smartdr_w (n int8, v text[]) on commit drop;
		create temp table smartdr_ref (k int4, n int8, tb oid, ct tid) on commit drop`); err != nil {
		return err
	}
	for i, t := range m.tables {
		if t.changes == 0 {
			continue
		}
		m.progress("compare "+t.said(), i, len(m.tables))
		if err := m.meet(ctx, t); err != nil {
			return err
		}
		if _, err := m.exec(ctx, t.classSQL(m.waitingList())); err != nil {
			return err
		}
	}
	return m.script(ctx, "create index on pg_temp.smartdr_s (n); analyze pg_temp.smartdr_s")
}

// waitingList lists the transactions that wait on the active side.
func (m *merger) waitingList() string {
	list := "-1"
	for x := range m.waiting {
		list += fmt.Sprintf(", %d", x)
	}
	return list
}

// meet finds the active row of each change. A merge locks them in order of their keys, but those that a prepared transaction holds.
func (m *merger) meet(ctx context.Context, t *mergeTable) error {
	if err := m.script(ctx, fmt.Sprintf("create temp table smartdr_a%d (n int8, tb oid, ct tid, v text[]) on commit drop", t.n)); err != nil {
		return err
	}
	meet := m.meetKeys
	if !t.keyed() {
		meet = m.meetBag
	}
	if t.usable() {
		if err := meet(ctx, t); err != nil {
			return err
		}
	}
	return m.script(ctx, fmt.Sprintf("create index on %s (n); analyze %[1]s", t.temp("a")))
}

func (m *merger) meetKeys(ctx context.Context, t *mergeTable) error {
	const sql = `insert into %s select c.n, a.tableoid, a.ctid, %s from %s c join %s a on %s where %s order by c.n`
	held := heldSQL(m.waitingList())
	found := fmt.Sprintf(sql, t.temp("a"), t.values("a"), t.temp("c"), t.from(), t.active("a", "c"), "true")
	if m.in.Apply {
		if _, err := m.exec(ctx, fmt.Sprintf(sql, t.temp("a"), t.values("a"), t.temp("c"), t.from(), t.active("a", "c"), "not "+held)+" for update of a"); err != nil {
			return err
		}
		found = fmt.Sprintf(sql, t.temp("a"), t.values("a"), t.temp("c"), t.from(), t.active("a", "c"), held)
	}
	if _, err := m.exec(ctx, found); err != nil {
		return err
	}
	return m.oneEach(ctx, t)
}

// heldSQL says that a change c is of a transaction that waits on the active side.
func heldSQL(waiting string) string {
	return fmt.Sprintf(`exists (select from pg_temp.smartdr_commit k where k.x in (nullif(c.tx, 0), nullif(c.ox, 0)) and k.top in (%s))`, waiting)
}

// oneEach gives up on a table whose key names several rows of the active side: its unique index is not there any more.
func (m *merger) oneEach(ctx context.Context, t *mergeTable) error {
	var twice bool
	err := m.rows(ctx, fmt.Sprintf("select exists (select from %s group by n having count(*) > 1)", t.temp("a")), nil, []any{&twice}, func() error { return nil })
	if err != nil || !twice {
		return err
	}
	t.refusal = "its key names several rows of the active side"
	m.drift(t, t.refusal)
	return m.script(ctx, "truncate "+t.temp("a"))
}

// sought says which changes c of a table without a key look for a row: those that delete one, and those that an earlier merge inserted. Each gets
// a row of its own, first those that delete.
const sought = "(o is not null) <> me"

// meetBag finds rows of the contents that are sought. Rows that somebody changed before they were locked are left out.
func (m *merger) meetBag(ctx context.Context, t *mergeTable) error {
	_, err := m.exec(ctx, fmt.Sprintf(`insert into %[1]s select c.n, a.tb, a.ct, a.full_v from (
			select n, v, row_number() over (partition by v order by me, n) as r from (select n, me, %[2]s as v from %[3]s where %[8]s) c) c
		join (select tb, ct, full_v, v, row_number() over (partition by v order by tb, ct) as r from (
			select tb, ct, v as full_v, %[4]s as v from (select a.tableoid as tb, a.ctid as ct, %[5]s as v from %[6]s a where %[7]s) a) a
			where v in (select %[2]s from %[3]s where %[8]s)) a on a.v = c.v and a.r = c.r`,
		t.temp("a"), t.compared("(coalesce(o, t))"), t.temp("c"), t.compared("v"), t.values("a"), t.from(), t.likely(), sought))
	if err != nil || !m.in.Apply {
		return err
	}
	_, err = m.exec(ctx, fmt.Sprintf(`with held as materialized (select x.n from %s x join %s a on a.ctid = x.ct and a.tableoid = x.tb for update of a)
		delete from %[1]s x where not exists (select from held where held.n = x.n)`, t.temp("a"), t.from()))
	return err
}

// quick are types that are compared fast, each with a value that stands for NULL where it only matters whether rows may be the same.
var quick = map[string]string{"smallint": "0", "integer": "0", "bigint": "0", "text": "", "character varying": "", "uuid": "00000000-0000-0000-0000-000000000000",
	"date": "epoch", "timestamp without time zone": "epoch", "timestamp with time zone": "epoch"}

// likely says of an active row a that it may be one that is sought: by columns that are compared fast, so that not every row has to be written out.
// Each condition is one that PostgreSQL makes a join of, however many rows there are: behind an OR it would go through all of them for each row.
func (t *mergeTable) likely() string {
	condition := "true"
	for i, c := range t.columns {
		null, is := quick[c.cast]
		if !is || !c.compared() || c.typ != c.Type {
			continue
		}
		null = literal(null) + "::" + c.cast
		condition += fmt.Sprintf(" and coalesce(a.%s, %s) in (select coalesce(((coalesce(o, t))[%d])::%s, %[2]s) from %[5]s where %s)", quote(c.name), null, i+1, c.cast, t.temp("c"), sought)
	}
	return condition
}

// classSQL writes down the class of each change, and the transactions that made it: x the last, y the one that removed what the fork had.
func (t *mergeTable) classSQL(waiting string) string {
	class := t.keyClass()
	if !t.keyed() {
		class = "case when c.me and (c.o is not null or a.n is not null) then 'same' when not c.me and (c.o is null or a.n is not null) then 'missing' else 'no-key' end"
	}
	why := "case when c.me and c.o is null and a.n is null and c.t is not null then 'an earlier merge inserted the row, and it is not there any more' end"
	if t.keyed() {
		why = "null"
	}
	if !t.usable() {
		class, why = "'schema-drift'", literal(t.notUsable())
	} else if gone := t.goneSQL(); gone != "false" {
		class = fmt.Sprintf("case when %s then 'schema-drift' else %s end", gone, class)
	}
	class = fmt.Sprintf("case when kx.top in (%s) or ky.top in (%[1]s) then 'two-phase' else %s end", waiting, class)
	return fmt.Sprintf(`insert into pg_temp.smartdr_s select n, t, class, why, class = 'missing', false, x, y from (
		select c.n, %d as t, %s as class, %s as why, coalesce(kx.top, nullif(c.tx, 0)) as x, coalesce(ky.top, nullif(c.ox, 0)) as y,
			c.o is not distinct from c.t as back
		from %s c left join %s a on a.n = c.n left join pg_temp.smartdr_commit kx on kx.x = c.tx left join pg_temp.smartdr_commit ky on ky.x = c.ox) s
		where not (back and class = 'same')`, t.n, class, why, t.temp("c"), t.temp("a"))
}

// notUsable says why nothing of the table can be compared.
func (t *mergeTable) notUsable() string {
	if t.kind == "" {
		return "the active database has no table " + t.said()
	}
	return t.refusal
}

// there lists the classes of what the active database has already.
const there = "('same', 'alike')"

// keyClass compares the three versions of a row. What an earlier merge brought, and nobody changed since, is as good as what the fork had; and
// what a person chose then instead of theirs is as good as theirs. What no merge brought, and both sides have, each side made by itself.
func (t *mergeTable) keyClass() string {
	base, theirs, active, merged := t.compared("c.o"), t.compared("c.t"), t.compared("a.v"), t.compared("c.m")
	same := func(x, y string) string { return fmt.Sprintf("(%s) is not distinct from (%s)", x, y) }
	was := t.compared("c.mt")
	brought := "c.me and " + same(active, merged)
	return "case " + strings.Join([]string{
		"when " + same(active, theirs) + " and c.o is not null and c.t is not null and not " + same(base, theirs) + " and not (" + brought + ") then 'alike'",
		"when " + same(active, theirs) + " then 'same'",
		"when " + brought + " and " + same(was, theirs) + " then 'same'",
		"when " + same(active, base) + " then 'missing'",
		"when " + brought + " and " + same(merged, was) + " then 'missing'",
		"when c.t is null then 'deleted-updated'",
		"when a.v is null then 'updated-deleted'",
		"when c.o is null then 'both-inserted'",
		"else 'both-updated' end",
	}, " ")
}

// goneSQL says that a change is about a column that the active side lacks: it is to hold something there, or something else.
func (t *mergeTable) goneSQL() string {
	gone := []string{}
	for i, c := range t.columns {
		if c.number == 0 || c.generated && !c.Generated {
			gone = append(gone, fmt.Sprintf("c.t is not null and c.t[%d] is distinct from c.o[%[1]d]", i+1))
		}
	}
	if len(gone) == 0 {
		return "false"
	}
	return strings.Join(gone, " or ")
}
