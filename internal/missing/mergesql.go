package missing

import (
	"bufio"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"time"
)

// scriptSettings make values mean what they mean in a set, and keep triggers and foreign keys from acting a second time.
const scriptSettings = `begin;
set local session_replication_role = replica;
set local row_security = off;
set local timezone = 'UTC';
set local datestyle = 'ISO, YMD';
set local intervalstyle = 'postgres';
set local bytea_output = 'hex';
set local xmloption = 'content';
set local lc_monetary = 'C';
set local client_encoding = 'UTF8';
`

// SQL writes a script that does what a merge would do, for a person to review and run: one transaction, each statement guarded so that it does
// nothing where the row is not as the comparison saw it. What conflicts is written as comments. The header is the one that Begin was given; the
// changes are gone through several times, since rows go first and come last.
func SQL(w io.Writer, h Header, changes iter.Seq2[Change, error]) error {
	s := newScript(w, h.Tables)
	s.printf("-- What the old line committed in database %s, up to %s, and the active database lacks.\n", oneLine(h.Database), h.Tip)
	s.printf("-- Each statement does nothing where its row is not as the comparison saw it, but those of tables without a key.\n")
	s.printf("-- Run it with: psql -v ON_ERROR_STOP=1 -f FILE\n\n%s", scriptSettings)
	if err := s.steps(changes, func(c Change) (have, want []*string) { return c.Active, c.wanted() }); err != nil {
		return err
	}
	for _, q := range h.Sequences {
		s.sequence(q)
	}
	s.printf("\ncommit;\n")
	return s.w.Flush()
}

// UndoSQL writes a script that leads back to the state before a merge. It refuses to run where the merge did not commit, and leaves alone rows
// that changed since. The record's changes are gone through several times.
func UndoSQL(w io.Writer, u Undo) error {
	s := newScript(w, u.Tables)
	s.printf("-- Leads database %s back to before the merge of %s (transaction %d).\n", oneLine(u.Database), u.At.UTC().Format(time.RFC3339), u.XID)
	s.printf("-- Rows that changed since are left alone. Columns that the old line does not know come back with their defaults in rows that the merge deleted.\n")
	for _, q := range u.Moved {
		s.printf("-- Sequence %s.%s was moved from %d to %d, and stays there.\n", oneLine(q.Schema), oneLine(q.Name), q.From, q.To)
	}
	s.printf(`
%sdo $$ begin
	if pg_xact_status('%d'::xid8) is distinct from 'committed' then
		raise exception 'the merge did not commit here: there is nothing to undo';
	end if;
end $$;
`, scriptSettings, u.XID)
	if err := s.steps(u.Changes, func(c Change) (have, want []*string) { return c.wanted(), c.Active }); err != nil {
		return err
	}
	s.printf("\ncommit;\n")
	return s.w.Flush()
}

// wanted is what a merge writes.
func (c Change) wanted() []*string {
	if c.Written != nil && c.Theirs != nil {
		return c.Written
	}
	return c.Theirs
}

// script writes statements.
type script struct {
	w      *bufio.Writer
	tables map[string]Table
	moved  []string // tables of which rows are taken out for a while
	err    error
}

func newScript(w io.Writer, tables []Table) *script {
	s := &script{w: bufio.NewWriter(w), tables: map[string]Table{}}
	for _, t := range tables {
		s.tables[t.Schema+"."+t.Name] = t
	}
	return s
}

func (s *script) printf(format string, args ...any) {
	if _, err := fmt.Fprintf(s.w, format, args...); err != nil && s.err == nil {
		s.err = err
	}
}

// steps writes the changes: deletes, then updates, then inserts.
func (s *script) steps(changes iter.Seq2[Change, error], way func(Change) (have, want []*string)) error {
	for pass, name := range []string{"rows that go", "rows that change", "rows that come"} {
		s.printf("\n-- %s\n", name)
		for c, err := range changes {
			if err != nil {
				return err
			}
			have, want := way(c)
			s.change(pass, c, have, want)
			if s.err != nil {
				return s.err
			}
		}
	}
	s.putBack()
	return nil
}

// change writes what a pass does about a change. A row of which a unique column changes is taken out and put in again, so that another one can
// take what it had, and the other way round.
func (s *script) change(pass int, c Change, have, want []*string) {
	t := s.tables[c.Schema+"."+c.Table]
	switch {
	case !c.Applied:
		s.comment(pass, c)
	case pass == 0 && t.moves(have, want):
		s.takeOut(t, have)
	case pass == 1 && t.moves(have, want):
		s.printf("update %s set %s where %s;\n", s.aside(t), t.assignments(have, want), t.matches(have))
	case pass == passOf(have, want) && !t.owners() || pass == 2 && t.owners():
		s.step(c, have, want)
	}
}

func passOf(have, want []*string) int {
	switch {
	case want == nil:
		return 0
	case have == nil:
		return 2
	}
	return 1
}

// comment lists a conflict, once.
func (s *script) comment(pass int, c Change) {
	if pass != 0 || c.Class == Same {
		return
	}
	s.printf("-- not applied: %s, %s of %s.%s", c.Class, c.Op, oneLine(c.Schema), oneLine(c.Table))
	for _, k := range c.Key {
		s.printf(" %s", oneLine(show(k)))
	}
	s.printf(": %s\n", oneLine(c.Why))
}

func show(v *string) string {
	if v == nil {
		return "null"
	}
	return literal(*v)
}

// oneLine keeps a text from ending a comment.
func oneLine(s string) string { return strings.NewReplacer("\n", `\n`, "\r", `\r`).Replace(s) }

func (s *script) step(c Change, have, want []*string) {
	t := s.tables[c.Schema+"."+c.Table]
	if c.Commit != nil {
		s.printf("-- transaction %d, committed %s at %s\n", c.Commit.XID, c.Commit.Time.UTC().Format(time.RFC3339Nano), c.Commit.LSN)
	}
	switch {
	case t.owners():
		s.owner(t, have, want)
	case want == nil && len(t.Key) == 0:
		s.printf("delete from %s where (tableoid, ctid) = (select tableoid, ctid from %[1]s where %s limit 1);\n", t.only(), t.matches(have))
	case want == nil:
		s.printf("delete from %s where %s;\n", t.only(), t.matches(have))
	case have == nil:
		s.printf("insert into %s (%s) overriding system value select %s%s;\n", t.full(), t.list(), t.literals(want), t.unlessThere(want))
	default:
		s.printf("update %s set %s where %s;\n", t.only(), t.assignments(have, want), t.matches(have))
	}
}

// matches says that a row holds values, the key first.
func (t Table) matches(values []*string) string {
	var parts []string
	for _, k := range t.Key {
		parts = append(parts, quote(t.Columns[k].Name)+" = "+show(at(values, k)))
	}
	for i, c := range t.Columns {
		if !c.Generated && !slices.Contains(t.Key, i) {
			parts = append(parts, c.holds(at(values, i)))
		}
	}
	return strings.Join(parts, " and ")
}

func (c Column) holds(v *string) string {
	name := quote(c.Name)
	if v == nil {
		return name + " is null"
	}
	if c.Text {
		name += "::text"
	}
	return name + " = " + show(v)
}

func (t Table) list() string {
	var parts []string
	for _, c := range t.Columns {
		if !c.Generated {
			parts = append(parts, quote(c.Name))
		}
	}
	return strings.Join(parts, ", ")
}

func (t Table) literals(values []*string) string {
	var parts []string
	for i, c := range t.Columns {
		if !c.Generated {
			parts = append(parts, show(at(values, i)))
		}
	}
	return strings.Join(parts, ", ")
}

// assignments sets what differs.
func (t Table) assignments(have, want []*string) string {
	var parts []string
	for i, c := range t.Columns {
		h, w := at(have, i), at(want, i)
		if !c.Generated && !alike(h, w) {
			parts = append(parts, quote(c.Name)+" = "+show(w))
		}
	}
	return strings.Join(parts, ", ")
}

// unlessThere keeps a row from being inserted where its key is there.
func (t Table) unlessThere(values []*string) string {
	var parts []string
	for _, k := range t.Key {
		parts = append(parts, quote(t.Columns[k].Name)+" = "+show(at(values, k)))
	}
	if len(parts) == 0 {
		return ""
	}
	return fmt.Sprintf(" where not exists (select from %s where %s)", t.only(), strings.Join(parts, " and "))
}

// sequence moves a sequence on.
func (s *script) sequence(q Sequence) {
	which := "greatest"
	if q.Increment < 0 {
		which = "least"
	}
	name := quote(q.Schema) + "." + quote(q.Name)
	s.printf("select setval(%s, %s(last_value, %d)) from %s;\n", literal(name), which, q.Last, name)
}
