package missing

import (
	"context"
	"fmt"
	"strings"
)

// foreignKey is a constraint by which rows of one table refer to rows of another.
type foreignKey struct {
	name          string
	child, parent *mergeTable // nil: the set has nothing of it
	childName     string      // as it is selected from
	parentName    string
	full          bool     // MATCH FULL
	from, to      []string // columns of the child, and of the parent, quoted
	operators     []string // parent = child
	same          []string // parent = parent
	period        bool     // it is over periods
}

const foreignSQL = `select x.conname::text, coalesce(nullif(pg_partition_root(x.conrelid)::oid, 0), x.conrelid), coalesce(nullif(pg_partition_root(x.confrelid)::oid, 0), x.confrelid),
	(select case when relkind = 'p' then '' else 'only ' end || x.conrelid::regclass from pg_class where oid = x.conrelid),
	(select case when relkind = 'p' then '' else 'only ' end || x.confrelid::regclass from pg_class where oid = x.confrelid), x.confmatchtype = 'f',
	array(select quote_ident(a.attname) from unnest(x.conkey) with ordinality k(n, i) join pg_attribute a on a.attrelid = x.conrelid and a.attnum = k.n order by i),
	array(select quote_ident(a.attname) from unnest(x.confkey) with ordinality k(n, i) join pg_attribute a on a.attrelid = x.confrelid and a.attnum = k.n order by i),
	array(select format('OPERATOR(%I.%s)', n.nspname, o.oprname) from unnest(x.conpfeqop) with ordinality k(n, i) join pg_operator o on o.oid = k.n
		join pg_namespace n on n.oid = o.oprnamespace order by i),
	array(select format('OPERATOR(%I.%s)', n.nspname, o.oprname) from unnest(x.conppeqop) with ordinality k(n, i) join pg_operator o on o.oid = k.n
		join pg_namespace n on n.oid = o.oprnamespace order by i),
	coalesce((to_jsonb(x) ->> 'conperiod')::bool, false)
	from pg_constraint x where x.contype = 'f' and x.conparentid = 0 and coalesce((to_jsonb(x) ->> 'conenforced')::bool, true)
	and (coalesce(nullif(pg_partition_root(x.conrelid)::oid, 0), x.conrelid) = any ($1::oid[]) or coalesce(nullif(pg_partition_root(x.confrelid)::oid, 0), x.confrelid) = any ($1::oid[]))
	order by x.oid`

func (m *merger) readForeign(ctx context.Context, byOID map[uint32]*mergeTable, oids []uint32) error {
	m.foreign = largeForeign(byOID)
	var k foreignKey
	var child, parent uint32
	return m.rows(ctx, foreignSQL, []any{oids}, []any{&k.name, &child, &parent, &k.childName, &k.parentName, &k.full, &k.from, &k.to, &k.operators, &k.same, &k.period},
		func() error {
			k.child, k.parent = byOID[child], byOID[parent]
			m.foreign = append(m.foreign, k)
			return nil
		})
}

// merges reports whether the set has changes of a table that can be applied.
func merges(t *mergeTable) bool { return t != nil && t.changes > 0 && t.usable() }

// refers says that a child's row refers to a parent's.
func (k foreignKey) refers(parent, child string) string {
	parts := make([]string, len(k.from))
	for i := range k.from {
		parts[i] = fmt.Sprintf("%s.%s %s %s.%s", parent, k.to[i], k.operators[i], child, k.from[i])
	}
	return strings.Join(parts, " and ")
}

// alike says that two rows of the parent have the same key.
func (k foreignKey) alike(a, b string) string {
	parts := make([]string, len(k.to))
	for i := range k.to {
		parts[i] = fmt.Sprintf("%s.%s %s %s.%[2]s", a, k.to[i], k.same[i], b)
	}
	return strings.Join(parts, " and ")
}

// wants says that a child's row refers to something at all: with MATCH SIMPLE all columns have to hold something, with MATCH FULL one.
func (k foreignKey) wants(child string) string {
	parts := make([]string, len(k.from))
	for i := range k.from {
		parts[i] = child + "." + k.from[i] + " is not null"
	}
	if k.full {
		return "(" + strings.Join(parts, " or ") + ")"
	}
	return strings.Join(parts, " and ")
}

// holdParents remembers the active rows that rows which are to be refer to. A merge locks them, so that they stay.
func (m *merger) holdParents(ctx context.Context) error {
	for i, k := range m.foreign {
		if !merges(k.child) {
			continue
		}
		sql := fmt.Sprintf(`insert into pg_temp.smartdr_ref select %d, f.%s, p.tableoid, p.ctid from %s f join %s p on %s order by %s`, i, numbered, k.child.temp("f"),
			k.parentName, k.refers("p", "f"), "p."+strings.Join(k.to, ", p."))
		if m.in.Apply {
			sql += " for key share of p"
		}
		if _, err := m.exec(ctx, sql); err != nil {
			return err
		}
	}
	return m.script(ctx, "create index on pg_temp.smartdr_ref (n); analyze pg_temp.smartdr_ref")
}

// dropHanging drops changes after which a row would refer to one that is not there.
func (m *merger) dropHanging(ctx context.Context) (total int64, err error) {
	for i, k := range m.foreign {
		for _, side := range []func(context.Context, int, foreignKey) (int64, error){m.dropChildren, m.dropParents} {
			n, err := side(ctx, i, k)
			if total += n; err != nil {
				return total, err
			}
		}
	}
	return total, nil
}

// dropChildren drops rows whose parent would not be there: neither an active one that stays, nor one that is to be.
func (m *merger) dropChildren(ctx context.Context, i int, k foreignKey) (int64, error) {
	if !merges(k.child) {
		return 0, nil
	}
	stays, comes := "true", "true"
	if merges(k.parent) {
		stays = k.parent.untouched("r")
		comes = fmt.Sprintf("not exists (select from %s g join pg_temp.smartdr_s z on z.n = g.%s where z.p and %s)", k.parent.temp("f"), numbered, k.refers("g", "f"))
	}
	there := fmt.Sprintf("exists (select from pg_temp.smartdr_ref r where r.k = %d and r.n = f.%s and %s)", i, numbered, stays)
	why := fmt.Sprintf("the row of %s that it refers to by %s would not be there", strings.TrimPrefix(k.parentName, "only "), k.name)
	if k.period {
		there, comes, why = "false", "true", fmt.Sprintf("%s refers to periods, which are not checked", k.name)
	}
	return m.drop(ctx, ForeignParent, literal(why), fmt.Sprintf("select f.%s from %s f where %s and not %s and %s", numbered, k.child.temp("f"), k.wants("f"), there, comes))
}

// dropParents drops deletions, and changes of keys, of rows that an active row refers to which stays.
func (m *merger) dropParents(ctx context.Context, _ int, k foreignKey) (int64, error) {
	if !merges(k.parent) {
		return 0, nil
	}
	stays := "true"
	if merges(k.child) {
		stays = fmt.Sprintf("not exists (select from %s q join pg_temp.smartdr_s w using (n) where w.p and q.tb = c.tableoid and q.ct = c.ctid)", k.child.temp("a"))
	}
	refers, again := k.refers("o", "c"), fmt.Sprintf("not exists (select from %s g join pg_temp.smartdr_s z on z.n = g.%s where z.p and %s)", k.parent.temp("f"), numbered, k.alike("g", "o"))
	if k.period {
		refers, again = "o."+k.to[0]+" "+k.operators[0]+" c."+k.from[0], "true"
	}
	why := literal(fmt.Sprintf("a row of %s refers to it by %s", strings.TrimPrefix(k.childName, "only "), k.name))
	// The children of rows whose key stays need not be looked for.
	return m.drop(ctx, ForeignChild, why, fmt.Sprintf(`with o as materialized (select y.n as %s, o.* from %s x join pg_temp.smartdr_s y using (n)
			join %s o on o.ctid = x.ct and o.tableoid = x.tb where y.p and %s)
		select o.%[1]s from o join %[5]s c on %[6]s where %[7]s`, numbered, k.parent.temp("a"), k.parentName, again, k.childName, refers, stays))
}
