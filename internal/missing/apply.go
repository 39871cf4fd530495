package missing

import (
	"context"
	"fmt"
	"strings"
)

// apply writes the changes. Rows go first, whatever changes keeps its place and the columns that the set knows nothing of, and rows come last, so
// that a key is free when somebody takes it. Only a row that wants a key which another row still has is taken out, and put in again.
func (m *merger) apply(ctx context.Context) error {
	if err := m.script(ctx, "create temp table smartdr_h (n int8) on commit drop; create index on pg_temp.smartdr_h (n)"); err != nil {
		return err
	}
	for i, t := range m.tables {
		if !merges(t) {
			continue
		}
		m.progress("merge "+t.said(), i, len(m.tables))
		if err := m.applyTable(ctx, t); err != nil {
			return err
		}
	}
	return nil
}

func (m *merger) applyTable(ctx context.Context, t *mergeTable) error {
	if t.large() {
		return m.applyOwners(ctx, t)
	}
	if err := m.findMovers(ctx, t); err != nil {
		return err
	}
	for _, sql := range []string{t.deleteSQL(), t.updateSQL(), t.insertSQL(false), t.insertSQL(true)} {
		if sql == "" {
			continue
		}
		if _, err := m.exec(ctx, sql); err != nil {
			return err
		}
	}
	return nil
}

// findMovers finds rows that want a key which an active row still has, and rows whose identity changes, which no UPDATE may.
func (m *merger) findMovers(ctx context.Context, t *mergeTable) error {
	find := func(which string) error {
		_, err := m.exec(ctx, "insert into pg_temp.smartdr_h "+which)
		return err
	}
	for _, u := range t.indexes {
		if t.ofKey(u) {
			continue
		}
		which := fmt.Sprintf("select f.n from %s join %s a on a.n = f.n where not (a.tb = h.tb and a.ct = h.ct)", t.holders(u), t.temp("a"))
		if err := find(which); err != nil {
			return err
		}
	}
	for i, c := range t.columns {
		if c.identity == "a" {
			which := fmt.Sprintf(`select s.n from pg_temp.smartdr_s s join %s c using (n) join %s a using (n) left join pg_temp.smartdr_w w using (n)
				where s.p and c.t is not null and a.v[%d] is distinct from (coalesce(w.v, c.t))[%[3]d]`, t.temp("c"), t.temp("a"), i+1)
			if err := find(which); err != nil {
				return err
			}
		}
	}
	return m.script(ctx, "analyze pg_temp.smartdr_h")
}

// met says that row o of the active side is the one that change x has met. Rows with a key are found by it, through its index.
func (t *mergeTable) met() string {
	place := "o.ctid = x.ct and o.tableoid = x.tb"
	if !t.keyed() {
		return place
	}
	return place + " and " + t.active("o", "c")
}

const moved = "exists (select from pg_temp.smartdr_h h where h.n = s.n)"

func (t *mergeTable) deleteSQL() string {
	return fmt.Sprintf(`delete from %s o using %s x, %s c, pg_temp.smartdr_s s where s.n = x.n and c.n = x.n and s.p and %s and (c.t is null or %s)`,
		t.from(), t.temp("a"), t.temp("c"), t.met(), moved)
}

// updateSQL writes what may be written in place, or "" where nothing is.
func (t *mergeTable) updateSQL() string {
	var sets []string
	for _, c := range t.columns {
		if c.written() && c.identity != "a" {
			sets = append(sets, fmt.Sprintf("%s = f.%[1]s", quote(c.name)))
		}
	}
	if len(sets) == 0 {
		return ""
	}
	return fmt.Sprintf(`update %s o set %s from %s x, %s c, %s f, pg_temp.smartdr_s s where s.n = x.n and c.n = x.n and f.%s = x.n and s.p and %s and not %s`,
		t.from(), strings.Join(sets, ", "), t.temp("a"), t.temp("c"), t.temp("f"), numbered, t.met(), moved)
}

// insertSQL writes rows that the active side has not, or those that were taken out, with all that they had.
func (t *mergeTable) insertSQL(again bool) string {
	columns, which := t.columns, fmt.Sprintf("not exists (select from %s x where x.n = s.n)", t.temp("a"))
	if again {
		columns, which = append(columns[:len(columns):len(columns)], t.extra...), moved
	}
	var names []string
	for _, c := range columns {
		if c.written() {
			names = append(names, quote(c.name))
		}
	}
	list := strings.Join(names, ", ")
	return fmt.Sprintf("insert into %s (%s) overriding system value select %s from %s f join pg_temp.smartdr_s s on s.n = f.%s where s.p and %s order by s.n",
		t.full(), list, "f."+strings.Join(names, ", f."), t.temp("f"), numbered, which)
}
