package missing

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// pair makes the table's changes of its lines, and of what earlier merges brought. What its key cannot be read from any more is left to be
// listed, by the text of the key.
func (m *merger) pair(ctx context.Context, t *mergeTable) error {
	if err := m.script(ctx, "analyze pg_temp.smartdr_line"); err != nil {
		return err
	}
	err := m.within(ctx, "pair", func() error { return m.pairTable(ctx, t) })
	if refused(err) && t.refusal == "" {
		t.refusal = "the active side cannot read the values of its key: " + condition(err)
		m.drift(t, t.refusal)
		err = m.pairTable(ctx, t)
	}
	if err != nil {
		return err
	}
	return m.script(ctx, "truncate pg_temp.smartdr_line")
}

func (m *merger) pairTable(ctx context.Context, t *mergeTable) error {
	sql := t.bagSQL()
	if t.keyed() {
		sql = t.pairSQL()
	}
	n, err := m.exec(ctx, sql)
	if err != nil {
		return err
	}
	t.changes = n
	if n == 0 {
		return nil
	}
	return m.script(ctx, fmt.Sprintf("create index on %s (n); analyze %[1]s", t.temp("c")))
}

// offset keeps the numbers of tables' changes apart.
func (t *mergeTable) offset() int64 { return int64(t.n) << 40 }

// pairSQL pairs the versions of rows by key.
func (t *mergeTable) pairSQL() string {
	keys := t.names("k", len(t.Key))
	return fmt.Sprintf(`create temp table smartdr_c%d on commit drop as
	select %d + row_number() over (order by %s) as n, %[3]s, o, t, ox, tx, m, mt, me, 0::int8 as dup from (
		select %[4]s, coalesce(p.o, e.base) as o, case when p.has then p.t else e.base end as t, p.ox, p.tx, coalesce(e.written, e.theirs) as m, e.theirs as mt,
			coalesce(e.has, false) as me
		from (select %[5]s, o.v as o, n.v as t, o.x as ox, n.x as tx, true as has
			from (select %[6]s, v, x from pg_temp.smartdr_line where not new) o
			full join (select %[6]s, v, x from pg_temp.smartdr_line where new) n on %[7]s) p
		full join (%[8]s) e on %[9]s) c
	where me or %[10]s is distinct from %[11]s`, t.n, t.offset(), strings.Join(keys, ", "), t.either("p", "e"), t.either("o", "n"), t.keysOf("v"),
		t.joined("o", "n"), t.earlierSQL(), t.joined("p", "e"), t.changed("o"), t.changed("t"))
}

// names returns names with a number behind.
func (t *mergeTable) names(prefix string, n int) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf("%s%d", prefix, i+1)
	}
	return all
}

// keysOf lists the key's columns out of an array of values, with the types of the active side.
func (t *mergeTable) keysOf(array string) string {
	parts := make([]string, len(t.Key))
	for i, k := range t.Key {
		parts[i] = fmt.Sprintf("(%s[%d])::%s as k%d", array, k+1, t.keyType(k), i+1)
	}
	return strings.Join(parts, ", ")
}

func (t *mergeTable) keyType(k int) string {
	if !t.usable() {
		return "text"
	}
	return t.columns[k].cast
}

// either takes the key of one of two that were joined.
func (t *mergeTable) either(a, b string) string {
	parts := make([]string, len(t.Key))
	for i := range t.Key {
		parts[i] = fmt.Sprintf("coalesce(%s.k%d, %s.k%[2]d) as k%[2]d", a, i+1, b)
	}
	return strings.Join(parts, ", ")
}

// joined says that two keys are the same.
func (t *mergeTable) joined(a, b string) string {
	parts := make([]string, len(t.Key))
	for i, k := range t.Key {
		parts[i] = fmt.Sprintf("%s.k%d %s %s.k%[2]d", a, i+1, t.equality(k), b)
	}
	return strings.Join(parts, " and ")
}

// active says that a row of the active side has the key.
func (t *mergeTable) active(a, c string) string {
	parts := make([]string, len(t.Key))
	for i, k := range t.Key {
		parts[i] = fmt.Sprintf("%s.%s %s %s.k%d", a, quote(t.columns[k].name), t.equality(k), c, i+1)
	}
	return strings.Join(parts, " and ")
}

// equality is the operator by which the active side's index tells keys apart.
func (t *mergeTable) equality(k int) string {
	if t.usable() {
		if op := t.keyOperator(k); op != "" {
			return op
		}
	}
	return "OPERATOR(pg_catalog.=)"
}

// keyOperator takes the operator from a unique index over the key's columns.
func (t *mergeTable) keyOperator(k int) string {
	for _, u := range t.indexes {
		if i := slices.Index(u.numbers, t.columns[k].number); i >= 0 && u.unique {
			return u.operators[i]
		}
	}
	return ""
}

// bagSQL counts rows that have no name: how many more, or fewer, of each content there are than at the fork, less what earlier merges brought.
func (t *mergeTable) bagSQL() string {
	return fmt.Sprintf(`create temp table smartdr_c%d on commit drop as
	with b as (select v, count(*) filter (where new) - count(*) filter (where not new) as d, max(x) filter (where not new) as ox, max(x) filter (where new) as tx
			from pg_temp.smartdr_line group by v),
		e as (select coalesce(theirs, base) as v, count(*) filter (where base is null) - count(*) filter (where theirs is null) as d
			from pg_temp.smartdr_prior where t = %[1]d group by 1),
		p as (select coalesce(b.v, e.v) as v, coalesce(b.d, 0) as d, coalesce(e.d, 0) as e, ox, tx from b full join e on b.v = e.v)
	select %[2]d + row_number() over (order by v::text collate "C", me desc) as n, case when not ins then v end as o, case when ins then v end as t, ox, tx,
		null::text[] as m, null::text[] as mt, me, row_number() over (partition by v, ins order by me desc) as dup
	from p, lateral (
		select d > 0 as ins, true as me from generate_series(1, case when sign(d) = sign(e) then least(abs(d), abs(e)) else 0 end)
		union all select d > e, false from generate_series(1, abs(d - e))) g`, t.n, t.offset())
}

// earlierSQL is what earlier merges made of rows, by key: the last one of each.
func (t *mergeTable) earlierSQL() string {
	keys := strings.Join(t.names("k", len(t.Key)), ", ")
	return fmt.Sprintf(`select distinct on (%s) *, true as has from (
		select %s, base, theirs, written, seq from pg_temp.smartdr_prior where t = %d) w order by %[1]s, seq desc`,
		keys, t.keysOf("(coalesce(theirs, base))"), t.n)
}
