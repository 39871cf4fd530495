package missing

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// mergeTable is a table of a set beside the one of the active database that it stands for.
type mergeTable struct {
	Table       // as in the set
	n       int // the number in its temporary tables' names
	oid     uint32
	kind    string // relkind; empty: the active database has none
	schema  string // on the active side
	name    string
	columns []mergeColumn // by Table.Columns
	extra   []mergeColumn // of the active side only
	indexes []uniqueIndex
	refusal string // why nothing of it can be compared
	changes int64
	earlier bool // earlier merges brought some of its rows
}

// mergeColumn is a column of a set beside the one of the active database.
type mergeColumn struct {
	Column          // as in the set
	number    int16 // on the active side; 0: it has none
	name      string
	typ       string // as declared
	cast      string // without modifier, so that what does not fit is refused rather than cut
	generated bool
	identity  string
	required  bool   // it takes no null, and has no default
	reads     string // an expression over a, where the set has something else than what the column holds
	writes    string // an expression that makes of a value %s of the set what the column holds
}

// serverState is what is known of the active server.
type serverState struct {
	User     string
	Database string
	SystemID uint64
	Timeline uint32
	Version  int
}

func (m *merger) readServer(ctx context.Context) error {
	s := &m.server
	var recovery bool
	if err := m.rows(ctx, `select current_user::text, current_database()::text, current_setting('server_version_num')::int, pg_is_in_recovery()`, nil,
		[]any{&s.User, &s.Database, &s.Version, &recovery}, func() error { return nil }); err != nil {
		return err
	}
	if recovery {
		return notServing()
	}
	return m.rows(ctx, `select (select system_identifier from pg_control_system())::text::int8, ('x' || left(pg_walfile_name(pg_current_wal_lsn()), 8))::bit(32)::int8`, nil,
		[]any{&s.SystemID, &s.Timeline}, func() error { return nil })
}

// temp names a temporary table.
func (t *mergeTable) temp(letter string) string {
	return fmt.Sprintf("pg_temp.smartdr_%s%d", letter, t.n)
}

// from names the table on the active side, without those that inherit from it.
func (t *mergeTable) from() string {
	if t.kind == "p" {
		return t.full()
	}
	return "only " + t.full()
}

func (t *mergeTable) full() string { return quote(t.schema) + "." + quote(t.name) }

// said names the table in sentences.
func (t *mergeTable) said() string { return t.Schema + "." + t.Name }

// usable reports whether its rows can be compared.
func (t *mergeTable) usable() bool { return t.kind != "" && t.refusal == "" }

func (t *mergeTable) keyed() bool { return len(t.Key) > 0 }

// find looks for the tables of the set in the active database: by OID those of the fork, which both lines have from there, else by name.
func (m *merger) find(ctx context.Context) error {
	for _, t := range m.tables {
		if err := m.findTable(ctx, t); err != nil {
			return err
		}
		if t.kind == "" {
			m.drift(t, "the active database has no such table")
			continue
		}
		if err := m.findColumns(ctx, t); err != nil {
			return err
		}
	}
	return m.readIndexes(ctx)
}

func (m *merger) findTable(ctx context.Context, t *mergeTable) error {
	const sql = `select c.oid, c.relkind::text, n.nspname::text, c.relname::text from pg_class c join pg_namespace n on n.oid = c.relnamespace
		where c.relkind in ('r', 'p') and c.relpersistence <> 't' and `
	set := func() error { return nil }
	to := []any{&t.oid, &t.kind, &t.schema, &t.name}
	if t.OID != 0 {
		if err := m.rows(ctx, sql+"c.oid = $1", []any{t.OID}, to, set); err != nil || t.kind != "" {
			return m.hold(ctx, t, err)
		}
	}
	err := m.rows(ctx, sql+"n.nspname = $1 and c.relname = $2", []any{t.Schema, t.Name}, to, set)
	if err == nil && t.OID != 0 && t.kind != "" {
		m.drift(t, "it was dropped and made again on the active side: matched by its name")
	}
	return m.hold(ctx, t, err)
}

// hold keeps the table's definition as it is until the end.
func (m *merger) hold(ctx context.Context, t *mergeTable, err error) error {
	if err != nil || t.kind == "" {
		return err
	}
	if t.schema+"."+t.name != t.said() {
		m.drift(t, "on the active side it is "+t.schema+"."+t.name)
	}
	if t.system() {
		return nil
	}
	mode := "access share"
	if m.in.Apply {
		mode = "row exclusive"
	}
	return m.script(ctx, "lock table "+t.from()+" in "+mode+" mode")
}

// lockTables keeps everybody else from writing.
func (m *merger) lockTables(ctx context.Context) error {
	for _, t := range m.tables {
		if t.usable() && t.changes > 0 && !t.system() {
			if err := m.script(ctx, "lock table "+t.from()+" in share row exclusive mode"); err != nil {
				return err
			}
		}
	}
	return nil
}

const activeColumnsSQL = `select a.attnum, a.attname::text, format_type(a.atttypid, a.atttypmod), format_type(a.atttypid, -1), a.attgenerated <> '',
	a.attidentity::text, a.attnotnull and not a.atthasdef and a.attidentity = ''
	from pg_attribute a where a.attrelid = $1 and a.attnum > 0 and not a.attisdropped order by a.attnum`

func (m *merger) findColumns(ctx context.Context, t *mergeTable) error {
	var there []mergeColumn
	var c mergeColumn
	err := m.rows(ctx, activeColumnsSQL, []any{t.oid}, []any{&c.number, &c.name, &c.typ, &c.cast, &c.generated, &c.identity, &c.required}, func() error {
		there = append(there, c)
		return nil
	})
	if err != nil {
		return err
	}
	for _, want := range t.Columns {
		t.columns = append(t.columns, m.pairColumn(t, want, &there))
	}
	t.extra = slices.DeleteFunc(there, func(c mergeColumn) bool { return c.generated })
	for _, k := range t.Key {
		if t.columns[k].number == 0 {
			t.refusal = fmt.Sprintf("the active side has no column %s, by which its rows are named", t.Columns[k].Name)
		}
	}
	return nil
}

// pairColumn takes the column that stands for one of the set out of those that are there.
func (m *merger) pairColumn(t *mergeTable, want Column, there *[]mergeColumn) mergeColumn {
	i := slices.IndexFunc(*there, func(c mergeColumn) bool {
		if want.Number != 0 && t.OID == t.oid {
			return c.number == want.Number
		}
		return c.name == want.Name
	})
	if i < 0 {
		m.drift(t, "the active side has no column "+want.Name)
		return mergeColumn{Column: want}
	}
	c := (*there)[i]
	*there = slices.Delete(*there, i, i+1)
	c.Column = want
	t.special(&c)
	if c.name != want.Name {
		m.drift(t, "column "+want.Name+" is "+c.name+" on the active side")
	}
	if c.typ != want.Type {
		m.drift(t, fmt.Sprintf("column %s is of type %s, and of type %s on the active side", want.Name, want.Type, c.typ))
	}
	return c
}

func (m *merger) drift(t *mergeTable, text string) {
	m.sum.Drift = append(m.sum.Drift, Drift{Object: "table " + t.said(), Text: text})
}

// written reports whether a merge writes the column.
func (c mergeColumn) written() bool { return c.number != 0 && !c.generated }

// compared reports whether the column decides whether rows are the same.
func (c mergeColumn) compared() bool { return c.number != 0 && !c.generated && !c.Generated }

// text is an expression for the column's value in the form of the set: what the type's output function says, and no cast that somebody made.
// A row of nulls is null to IS NULL, and not to this.
func (c mergeColumn) text(alias string) string {
	if c.number == 0 {
		return "null"
	}
	x := alias + "." + quote(c.name)
	if c.reads != "" {
		x = strings.ReplaceAll(c.reads, "a.", alias+".")
	}
	return fmt.Sprintf("case when num_nulls(%s) = 0 then format('%%s', %[1]s) end", x)
}

// value is an expression that reads a text as the column's type.
func (c mergeColumn) value(text string) string {
	if c.writes != "" {
		return fmt.Sprintf(c.writes, text)
	}
	return "(" + text + ")::" + c.cast
}

// values is an expression for all of a row's values.
func (t *mergeTable) values(alias string) string {
	parts := make([]string, len(t.columns))
	for i, c := range t.columns {
		parts[i] = c.text(alias)
	}
	return "array[" + strings.Join(parts, ", ") + "]::text[]"
}

// compared is an expression for the part of an array of values that is compared with the active side. It is null where there is no row.
func (t *mergeTable) compared(array string) string {
	return t.part(array, mergeColumn.compared)
}

// changed is an expression for the part of an array of values by which the old line's own versions differ.
func (t *mergeTable) changed(array string) string {
	return t.part(array, func(c mergeColumn) bool { return !c.Generated })
}

func (t *mergeTable) part(array string, which func(mergeColumn) bool) string {
	var parts []string
	for i, c := range t.columns {
		if which(c) {
			parts = append(parts, fmt.Sprintf("%s[%d]", array, i+1))
		}
	}
	if len(parts) == len(t.Columns) || len(t.columns) == 0 {
		return array
	}
	return fmt.Sprintf("case when %s is not null then array[%s]::text[] end", array, strings.Join(parts, ", "))
}
