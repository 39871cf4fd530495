package missing

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// uniqueIndex is an index that lets no two rows be alike: a unique one, or that of an excluding constraint.
type uniqueIndex struct {
	name      string
	table     uint32
	unique    bool
	elements  []string // columns, quoted, or expressions
	numbers   []int16  // of the columns; 0 for an expression
	operators []string // by which two rows exclude each other, all together
	predicate string
	nulls     bool // nulls are alike too
}

// elementsSQL gives the operators of an index' elements: of an excluding constraint its own, else the equality of the operator class.
const indexesSQL = `select i.indrelid, c.relname::text, x.conexclop is null, coalesce(pg_get_expr(i.indpred, i.indrelid), ''), i.indnullsnotdistinct,
	array(select pg_get_indexdef(i.indexrelid, k, false) from generate_series(1, i.indnkeyatts) k order by k),
	(i.indkey::int2[])[0:i.indnkeyatts - 1],
	array(select format('OPERATOR(%I.%s)', n.nspname, o.oprname) from generate_series(1, i.indnkeyatts) k
		left join pg_opclass oc on oc.oid = (i.indclass::oid[])[k - 1]
		join pg_operator o on o.oid = coalesce(x.conexclop[k], (select p.amopopr from pg_amop p where p.amopfamily = oc.opcfamily and p.amopmethod = 403
			and p.amopstrategy = 3 and p.amoplefttype = oc.opcintype and p.amoprighttype = oc.opcintype))
		join pg_namespace n on n.oid = o.oprnamespace order by k)
	from pg_index i join pg_class c on c.oid = i.indexrelid
	left join pg_constraint x on x.conindid = i.indexrelid and x.conrelid = i.indrelid and x.conexclop is not null
	where i.indrelid = any ($1::oid[]) and (i.indisunique or i.indisexclusion) and i.indisready order by i.indrelid, c.relname`

// readIndexes reads what makes rows of the tables exclude each other, and what refers to them.
func (m *merger) readIndexes(ctx context.Context) error {
	byOID := map[uint32]*mergeTable{}
	var oids []uint32
	for _, t := range m.tables {
		if t.kind != "" {
			byOID[t.oid], oids = t, append(oids, t.oid)
		}
	}
	var u uniqueIndex
	err := m.rows(ctx, indexesSQL, []any{oids}, []any{&u.table, &u.name, &u.unique, &u.predicate, &u.nulls, &u.elements, &u.numbers, &u.operators}, func() error {
		byOID[u.table].indexes = append(byOID[u.table].indexes, u)
		return nil
	})
	if err != nil {
		return err
	}
	return m.readForeign(ctx, byOID, oids)
}

// ofKey reports whether the index is the one by which the rows are named anyway.
func (t *mergeTable) ofKey(u uniqueIndex) bool {
	if !u.unique || u.predicate != "" || len(u.numbers) != len(t.Key) {
		return false
	}
	for _, k := range t.Key {
		if !slices.Contains(u.numbers, t.columns[k].number) {
			return false
		}
	}
	return true
}

// unique returns the places of the columns, beside those of the key, that other rows may not have alike: all of them where an index is over
// expressions.
func (t *mergeTable) unique() (all []int) {
	for _, u := range t.indexes {
		for i, c := range t.columns {
			if !t.ofKey(u) && !slices.Contains(all, i) && (slices.Contains(u.numbers, c.number) || slices.Contains(u.numbers, 0) || u.predicate != "") {
				all = append(all, i)
			}
		}
	}
	return all
}

// elementsOf selects the index' elements as u1, u2, ... of the rows that it covers.
func (u uniqueIndex) elementsOf(columns, from string) string {
	for i, e := range u.elements {
		columns += fmt.Sprintf(", %s as u%d", e, i+1)
	}
	sql := "select " + columns + " from " + from
	if u.predicate != "" {
		sql += " where " + u.predicate
	}
	return "(" + sql + ")"
}

// alike says that two rows exclude each other.
func (u uniqueIndex) alike(a, b string) string {
	parts := make([]string, len(u.elements))
	for i, op := range u.operators {
		parts[i] = fmt.Sprintf("%s.u%d %s %s.u%[2]d", a, i+1, op, b)
		if u.nulls {
			parts[i] = fmt.Sprintf("(%s or %s.u%d is null and %s.u%[3]d is null)", parts[i], a, i+1, b)
		}
	}
	return strings.Join(parts, " and ")
}

// holders joins rows that are to be (f) with rows of the active side (h) that hold a key of theirs.
func (t *mergeTable) holders(u uniqueIndex) string {
	return fmt.Sprintf("%s f join pg_temp.smartdr_s s on s.n = f.n and s.p join %s h on %s", u.elementsOf(numbered+" as n", t.temp("f")),
		u.elementsOf("tableoid as tb, ctid as ct", t.from()), u.alike("h", "f"))
}

// untouched says that a row of the active side stays as it is: no change that is applied is about it.
func (t *mergeTable) untouched(h string) string {
	return fmt.Sprintf("not exists (select from %s x join pg_temp.smartdr_s y using (n) where y.p and x.tb = %s.tb and x.ct = %[2]s.ct)", t.temp("a"), h)
}

// dropHeld drops changes of which another row of the active side holds a key. Rows that are to be hold no key together, since they stood together
// on the old line, unless a person wrote them.
func (m *merger) dropHeld(ctx context.Context, t *mergeTable, u uniqueIndex) (int64, error) {
	why := literal("another row of the active side holds its key of " + u.name)
	n, err := m.drop(ctx, Unique, why, "select f.n from "+t.holders(u)+" where "+t.untouched("h"))
	if err != nil || !m.edits {
		return n, err
	}
	f := u.elementsOf(numbered+" as n", t.temp("f"))
	more, err := m.drop(ctx, Unique, literal("another row that is to be merged holds its key of "+u.name), fmt.Sprintf(
		`select f.n from %s f join pg_temp.smartdr_w w on w.n = f.n join %s g on g.n <> f.n and %s join pg_temp.smartdr_s s on s.n = f.n join pg_temp.smartdr_s z on z.n = g.n
		where s.p and z.p`, f, f, u.alike("g", "f")))
	return n + more, err
}

// drop takes changes out of what is applied.
func (m *merger) drop(ctx context.Context, class Class, why, which string) (int64, error) {
	return m.exec(ctx, fmt.Sprintf("update pg_temp.smartdr_s s set p = false, class = %s, why = %s where s.p and s.n in (%s)", literal(string(class)), why, which))
}

// converge drops what cannot be applied until nothing more has to be: what is dropped may be what something else relied on.
func (m *merger) converge(ctx context.Context) error {
	if err := m.holdParents(ctx); err != nil {
		return err
	}
	for round := 1; ; round++ {
		m.progress("check keys and references", round-1, 0)
		n, err := m.round(ctx)
		if err != nil || n == 0 {
			return err
		}
	}
}

func (m *merger) round(ctx context.Context) (total int64, err error) {
	for _, t := range m.tables {
		if !merges(t) {
			continue
		}
		for _, u := range t.indexes {
			if t.ofKey(u) {
				continue
			}
			n, err := m.dropHeld(ctx, t, u)
			if total += n; err != nil {
				return total, err
			}
		}
	}
	n, err := m.dropHanging(ctx)
	if total += n; err != nil || !m.in.Whole {
		return total, err
	}
	n, err = m.dropParts(ctx)
	return total + n, err
}

// dropParts drops changes of transactions that cannot be applied as a whole, and so on through the rows that transactions have in common.
func (m *merger) dropParts(ctx context.Context) (total int64, err error) {
	for {
		n, err := m.exec(ctx, `with held as (select x as v from pg_temp.smartdr_s where not p and class not in `+there+` and x is not null
			union select y from pg_temp.smartdr_s where not p and class not in `+there+` and y is not null)
			update pg_temp.smartdr_s s set p = false, class = 'held', why = null where s.p and s.n in (
				select n from pg_temp.smartdr_s join held on x = v where p union all select n from pg_temp.smartdr_s join held on y = v where p)`)
		total += n
		if err != nil || n == 0 {
			return total, err
		}
	}
}
