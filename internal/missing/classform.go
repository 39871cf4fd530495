package missing

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/smartdr/smartdr/internal/fault"
)

// numbered is the column of f that says which change its row is of; no column of a user's table should be called so.
const numbered = `"smartdr n"`

// form makes the rows that are to be, with the types and the constraints of the active side. A row that these refuse is drift.
func (m *merger) form(ctx context.Context) error {
	for _, t := range m.tables {
		if !merges(t) {
			continue
		}
		if err := m.formTable(ctx, t); err != nil {
			return err
		}
	}
	return nil
}

func (m *merger) formTable(ctx context.Context, t *mergeTable) error {
	sql := fmt.Sprintf("create temp table smartdr_f%d (like %s including generated including constraints, %s int8) on commit drop", t.n, t.full(), numbered)
	for _, c := range t.extra {
		sql += fmt.Sprintf("; alter table %s alter column %s drop not null", t.temp("f"), quote(c.name))
	}
	if err := m.script(ctx, sql); err != nil {
		return err
	}
	if err := m.lacking(ctx, t); err != nil {
		return err
	}
	fill := t.formSQL()
	err := m.within(ctx, "form", func() error { _, err := m.exec(ctx, fill); return err })
	if refused(err) {
		err = m.probe(ctx, t, fill)
	}
	if err != nil {
		return err
	}
	if err := m.roundTrip(ctx, t); err != nil {
		return err
	}
	if err := m.placeless(ctx, t); err != nil {
		return err
	}
	return m.script(ctx, fmt.Sprintf("create index on %s (%s); analyze %[1]s", t.temp("f"), numbered))
}

// lacking gives up on inserts into a table that has a column of which the set knows nothing, and which has to hold something.
func (m *merger) lacking(ctx context.Context, t *mergeTable) error {
	i := slices.IndexFunc(t.extra, func(c mergeColumn) bool { return c.required })
	if i < 0 {
		return nil
	}
	_, err := m.exec(ctx, fmt.Sprintf(`update pg_temp.smartdr_s s set p = false, class = 'schema-drift', why = %s from %s c
		where c.n = s.n and s.p and c.t is not null and not exists (select from %s a where a.n = s.n)`,
		literal(fmt.Sprintf("column %s of the active side has to hold something, has no default, and the old line has no such column", t.extra[i].name)), t.temp("c"), t.temp("a")))
	return err
}

// formSQL fills f. Columns of the active side that the set knows nothing of keep what they have.
func (t *mergeTable) formSQL() string {
	names, values := []string{numbered}, []string{"c.n"}
	for i, c := range t.columns {
		if c.written() {
			names = append(names, quote(c.name))
			values = append(values, c.value(fmt.Sprintf("(coalesce(w.v, c.t))[%d]", i+1)))
		}
	}
	join := ""
	if len(t.extra) > 0 {
		join = fmt.Sprintf("left join %s a using (n) left join %s x on x.ctid = a.ct and x.tableoid = a.tb", t.temp("a"), t.from())
		for _, c := range t.extra {
			names, values = append(names, quote(c.name)), append(values, "x."+quote(c.name))
		}
	}
	return fmt.Sprintf(`insert into %s (%s) select %s from %s c join pg_temp.smartdr_s s using (n) left join pg_temp.smartdr_w w using (n) %s
		where s.p and c.t is not null and (w.v is not null or s.class not in %s)`, t.temp("f"), strings.Join(names, ", "), strings.Join(values, ", "), t.temp("c"), join, there)
}

// probe fills f in pieces, and row by row where a piece is refused, to find the rows that are. The rows of a person's own values are not to be
// among them.
func (m *merger) probe(ctx context.Context, t *mergeTable, fill string) error {
	const piece = 5000
	body := fmt.Sprintf(`do $smartdr$ declare lo int8; hi int8; r int8; begin
		for lo in select min(n) from (select n, (row_number() over (order by n) - 1) / %d as g from %s) g group by g order by 1 loop
			select coalesce(max(n), lo) into hi from (select n from %[2]s where n >= lo order by n limit %[1]d) h;
			begin
				%[3]s and c.n between lo and hi;
			exception when data_exception or integrity_constraint_violation or undefined_object or raise_exception then
				for r in select n from %[2]s where n between lo and hi order by n loop
					begin
						%[3]s and c.n = r;
					exception when data_exception or integrity_constraint_violation or undefined_object or raise_exception then
						update pg_temp.smartdr_s s set p = false, class = 'schema-drift', why = 'the active side refuses the row: ' || sqlerrm where s.n = r;
					end;
				end loop;
			end;
		end loop; end $smartdr$`, piece, t.temp("c"), fill)
	if err := m.script(ctx, body); err != nil || !m.edits {
		return err
	}
	var why string
	err := m.rows(ctx, `select s.why from pg_temp.smartdr_s s join pg_temp.smartdr_w w using (n) where s.t = $1 and s.class = 'schema-drift' and not s.p limit 1`,
		[]any{int32(t.n)}, []any{&why}, func() error { return nil })
	if err == nil && why != "" {
		err = fault.Newf(fault.Invalid, opDecide, "values that were chosen for a row of table %s cannot be written: %s", t.said(), why)
	}
	return err
}

// placeless gives up on rows for which a partitioned table has no partition.
func (m *merger) placeless(ctx context.Context, t *mergeTable) error {
	if t.kind != "p" {
		return nil
	}
	var anywhere string
	err := m.rows(ctx, `select coalesce(string_agg('(' || coalesce(pg_get_partition_constraintdef(relid), 'true') || ')', ' or '), 'false')
		from pg_partition_tree($1::oid::regclass) where isleaf`, []any{t.oid}, []any{&anywhere}, func() error { return nil })
	if err != nil {
		return err
	}
	_, err = m.drop(ctx, SchemaDrift, "'the active side has no partition for the row'", fmt.Sprintf("select %s from %s where (%s) is not true", numbered, t.temp("f"), anywhere))
	return err
}

// roundTrip gives up on rows of which a column of another type would hold something else.
func (m *merger) roundTrip(ctx context.Context, t *mergeTable) error {
	for i, c := range t.columns {
		if !c.written() || c.typ == c.Type {
			continue
		}
		_, err := m.exec(ctx, fmt.Sprintf(`update pg_temp.smartdr_s s set p = false, class = 'schema-drift', why = %s from %s f, %s c left join pg_temp.smartdr_w w using (n)
			where f.%s = s.n and c.n = s.n and s.p and %s is distinct from (coalesce(w.v, c.t))[%d]`,
			literal(fmt.Sprintf("column %s is of another type on the active side, and would hold something else", c.name)), t.temp("f"), t.temp("c"), numbered, c.text("f"), i+1))
		if err != nil {
			return err
		}
	}
	return nil
}
