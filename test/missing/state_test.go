package missing_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/smartdr/smartdr/internal/missing"
	"github.com/smartdr/smartdr/internal/postgres"
)

// state is what a database holds, by tables as schema.name.
type state map[string]*tableState

// tableState is one table with its rows.
type tableState struct {
	columns   []string // without generated ones
	key       []string // of what names a row; empty: nothing does
	uniques   [][]string
	excludes  string // a range column no two of which may meet
	foreigns  []foreign
	rows      [][]*string
	generated []string
	whenNone  map[string]*string // defaults that are words
}

// foreign is a foreign key.
type foreign struct {
	name           string
	columns, there []string
	table          string
}

// stateOf reads what a database holds at this moment.
func stateOf(t testing.TB, s *postgres.Server, database string) state {
	t.Helper()
	conn, err := s.Open(t.Context(), database)
	check(t, err)
	defer conn.Close(context.Background())
	_, err = conn.Exec(t.Context(), missing.Session+"; set statement_timeout = '30s'; begin isolation level repeatable read read only", pgx.QueryExecModeSimpleProtocol)
	check(t, err)
	st := describe(t, conn)
	names := sortedKeys(st)
	var sql strings.Builder
	for _, n := range names {
		fmt.Fprintf(&sql, "select %s from %s;\n", strings.Join(append(slices.Clone(st[n].columns), st[n].generated...), ", "), from(n))
	}
	for i, r := range query(t, conn, sql.String()) {
		for _, row := range r.Rows {
			st[names[i]].rows = append(st[names[i]].rows, cells(row))
		}
	}
	return st
}

// from names a table without those that inherit from it, unless these are its partitions.
func from(name string) string {
	if strings.HasSuffix(name, ".moves") || strings.HasSuffix(name, ".parts") {
		return name
	}
	return "only " + name
}

func query(t testing.TB, conn *pgx.Conn, sql string) []*pgconn.Result {
	t.Helper()
	results, err := conn.PgConn().Exec(t.Context(), sql).ReadAll()
	if err != nil {
		t.Fatalf("%.2000s: %v", sql, err)
	}
	return results
}

// describe reads the tables' columns and keys.
func describe(t testing.TB, conn *pgx.Conn) state {
	t.Helper()
	results := query(t, conn, `
select n.nspname || '.' || c.relname, a.attname, a.attgenerated <> '', case when attgenerated = '' then pg_get_expr(adbin, adrelid) end from pg_class c join pg_namespace n on n.oid = relnamespace join pg_attribute a on attrelid = c.oid
  left join pg_attrdef on adrelid = c.oid and adnum = attnum where n.nspname ~ '^h\d\d$' and relkind in ('r', 'p') and not relispartition and attnum > 0 and not attisdropped and attgenerated <> 'v' order by 1, attnum;
select n.nspname || '.' || c.relname, indisprimary, (select string_agg(attname, ',' order by k) from unnest(indkey::int[]) with ordinality u(col, k) join pg_attribute on attrelid = c.oid and attnum = col),
    (select bool_and(attnotnull) from pg_attribute where attrelid = c.oid and attnum = any(indkey))
  from pg_index join pg_class c on c.oid = indrelid join pg_namespace n on n.oid = relnamespace
  where n.nspname ~ '^h\d\d$' and indisunique and not relispartition order by 1, indisprimary desc, indexrelid;
select n.nspname || '.' || c.relname, conname, (select string_agg(attname, ',' order by k) from unnest(conkey) with ordinality u(col, k) join pg_attribute on attrelid = conrelid and attnum = col),
    (select string_agg(attname, ',' order by k) from unnest(confkey) with ordinality u(col, k) join pg_attribute on attrelid = confrelid and attnum = col), confrelid::regclass::text
  from pg_constraint join pg_class c on c.oid = conrelid join pg_namespace n on n.oid = relnamespace where contype = 'f' and n.nspname ~ '^h\d\d$' order by 1, 2`)
	st := state{
		"pg_catalog.pg_largeobject": {columns: []string{"loid", "pageno", "data"}, key: []string{"loid", "pageno"},
			foreigns: []foreign{{"its large object", []string{"loid"}, []string{"oid"}, "pg_catalog.pg_largeobject_metadata"}}},
		"pg_catalog.pg_largeobject_metadata": {columns: []string{"oid", "lomowner::regrole", "lomacl"}, key: []string{"oid"}},
	}
	for _, row := range results[0].Rows {
		st.column(string(row[0]), string(row[1]), string(row[2]) == "t", string(row[3]))
	}
	for _, row := range results[1].Rows {
		st[string(row[0])].index(strings.Split(string(row[2]), ","), string(row[3]) == "t")
	}
	for _, row := range results[2].Rows {
		table := st[string(row[0])]
		table.foreigns = append(table.foreigns, foreign{string(row[1]), strings.Split(string(row[2]), ","), strings.Split(string(row[3]), ","), string(row[4])})
	}
	return st
}

func (st state) column(table, name string, generated bool, whenNone string) {
	if st[table] == nil {
		st[table] = &tableState{whenNone: map[string]*string{}}
	}
	ts := st[table]
	if generated {
		ts.generated = append(ts.generated, name)
		return
	}
	if word, _, ok := strings.Cut(strings.TrimPrefix(whenNone, "'"), "'::"); ok {
		ts.whenNone[name] = &word
	}
	if ts.columns = append(ts.columns, name); name == "during" {
		ts.excludes = name
	}
}

// index adds a unique index. The first one without nulls is the key: primary keys come first.
func (ts *tableState) index(columns []string, notNull bool) {
	ts.uniques = append(ts.uniques, columns)
	if notNull && ts.key == nil {
		ts.key = columns
	}
}

// places are those of columns in a row.
func (ts *tableState) places(columns []string) []int {
	out := make([]int, len(columns))
	for i, c := range columns {
		out[i] = slices.Index(ts.columns, c)
	}
	return out
}

// join makes one text of some cells of a row, and reports whether one of them is null.
func join(row []*string, places []int) (text string, null bool) {
	var b strings.Builder
	for _, p := range places {
		if row[p] == nil {
			null = true
			b.WriteString("\x00|")
			continue
		}
		b.WriteString(*row[p] + "|")
	}
	return b.String(), null
}

// whole makes one text of a row.
func whole(row []*string) string {
	if row == nil {
		return "(none)"
	}
	places := make([]int, len(row))
	for i := range places {
		places[i] = i
	}
	s, _ := join(row, places)
	return s
}

// byKey returns a table's rows by their keys, with only some columns. A table that is not there has none.
func (ts *tableState) byKey(key, columns []string) map[string][]*string {
	out := map[string][]*string{}
	if ts == nil {
		return out
	}
	keyed, kept := ts.places(key), ts.places(columns)
	for _, row := range ts.rows {
		k, _ := join(row, keyed)
		out[k] = pick(row, kept)
	}
	return out
}

// counts returns how many rows there are of each content.
func (ts *tableState) counts(columns []string) map[string]int {
	out := map[string]int{}
	if ts == nil {
		return out
	}
	kept := ts.places(columns)
	for _, row := range ts.rows {
		out[whole(pick(row, kept))]++
	}
	return out
}

func pick(row []*string, places []int) []*string {
	out := make([]*string, len(places))
	for i, p := range places {
		out[i] = row[p]
	}
	return out
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
