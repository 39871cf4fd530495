package missing_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"iter"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/smartdr/smartdr/internal/missing"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/postgres/postgrestest"
)

// mergeHistory is a database that parted in two: fork, tip and active are databases of one server, copied file by file, so that tables have the same
// OIDs in all of them. The set is what comparing fork and tip row by row gives.
type mergeHistory struct {
	t                 testing.TB
	server            *postgres.Server
	fork, tip, active string
	set               []byte
	prepared          []missing.Prepared
	undone            []mergeRecord
	lastUndo          *mergeRecord
	changes           []missing.Change
	header            missing.Header
	user              string            // who merges; empty: the superuser
	rowXIDs           map[string]string // by the first column of a new version, or of an old one behind "old "
	hide              map[string]bool   // columns that the set knows nothing of
}

type mergeRecord struct {
	undo    missing.Undo
	changes []missing.Change
}

func (u mergeRecord) record() missing.Undo {
	out := u.undo
	out.Changes = func(yield func(missing.Change, error) bool) {
		for _, c := range u.changes {
			if !yield(c, nil) {
				return
			}
		}
	}
	return out
}

var mergeHistories int

// partHistory makes a database by a script, and two that go on from it.
func partHistory(t testing.TB, s *postgres.Server, schema, old, active string) *mergeHistory {
	t.Helper()
	mergeHistories++
	name := fmt.Sprintf("h%d", mergeHistories)
	h := &mergeHistory{t: t, server: s, fork: name, tip: name + "_tip", active: name + "_active"}
	postgrestest.Exec(t, s, "postgres", "create database "+h.fork)
	postgrestest.Exec(t, s, h.fork, schema)
	for _, side := range []string{h.tip, h.active} {
		postgrestest.Exec(t, s, "postgres", "create database "+side+" template "+h.fork)
	}
	runSQL(t, s, h.tip, old)
	runSQL(t, s, h.active, active)
	h.read()
	return h
}

func runSQL(t testing.TB, s *postgres.Server, database, sql string) {
	t.Helper()
	if strings.TrimSpace(sql) != "" {
		postgrestest.Exec(t, s, database, sql)
	}
}

// goOn lets the old line go on, and reads its set anew.
func (h *mergeHistory) goOn(sql string) {
	h.t.Helper()
	runSQL(h.t, h.server, h.tip, sql)
	h.read()
}

func (h *mergeHistory) on(sql string) {
	h.t.Helper()
	runSQL(h.t, h.server, h.active, sql)
}

func (h *mergeHistory) ask(sql string) string {
	h.t.Helper()
	return postgrestest.Query(h.t, h.server, h.active, sql)
}

// rows is the content of a table of the active side, a row per line.
func (h *mergeHistory) rows(table string) string {
	h.t.Helper()
	return h.ask("select coalesce(string_agg(row_of_it::text, ' ' order by row_of_it::text collate \"C\"), '') from " + table + " row_of_it")
}

const mergeColumnsOf = `select a.attname::text, format_type(a.atttypid, a.atttypmod), a.attgenerated <> '', a.attidentity::text, a.attnum,
	coalesce((select array_position(i.indkey::int2[], a.attnum) from pg_index i where i.indrelid = a.attrelid and i.indisprimary), -1)
	from pg_attribute a where a.attrelid = $1 and a.attnum > 0 and not a.attisdropped order by a.attnum`

// read makes the set.
func (h *mergeHistory) read() {
	fork, tip := postgrestest.Open(h.t, h.server, h.fork), postgrestest.Open(h.t, h.server, h.tip)
	defer fork.Close(context.Background())
	defer tip.Close(context.Background())
	head := missing.Header{Database: h.active, Lineage: "0001-00000000", Fork: 1, Tip: 2, Prepared: h.prepared}
	var from []*pgx.Conn
	for _, side := range []*pgx.Conn{fork, tip} {
		_, err := side.Exec(h.t.Context(), missing.Session, pgx.QueryExecModeSimpleProtocol)
		postgrestest.Check(h.t, err)
		from = append(from, side)
	}
	head.Tables = h.tables(from[0], from[1])
	head.Sequences = h.sequences(from[1])
	var b bytes.Buffer
	w, err := missing.NewWriter(&b, head)
	postgrestest.Check(h.t, err)
	seen := map[uint32]bool{}
	for i, table := range head.Tables {
		h.write(w, i, table, from, seen)
	}
	postgrestest.Check(h.t, w.Close())
	h.set = b.Bytes()
}

func (h *mergeHistory) tables(fork, tip *pgx.Conn) (all []missing.Table) {
	known := map[uint32]bool{}
	for _, conn := range []*pgx.Conn{fork, tip} {
		rows, err := conn.Query(h.t.Context(), `select c.oid, n.nspname::text, c.relname::text from pg_class c join pg_namespace n on n.oid = c.relnamespace
			where c.relkind in ('r', 'p') and not c.relispartition and (n.nspname not in ('pg_catalog', 'information_schema') or c.oid in (2613, 2995)) order by c.oid`)
		postgrestest.Check(h.t, err)
		found, err := pgx.CollectRows(rows, func(r pgx.CollectableRow) (t missing.Table, err error) { return t, r.Scan(&t.OID, &t.Schema, &t.Name) })
		postgrestest.Check(h.t, err)
		for _, t := range found {
			if known[t.OID] {
				continue
			}
			known[t.OID] = true
			t.How = missing.ByWAL
			h.columns(conn, &t)
			if conn == tip {
				t.OID, t.How = 0, missing.Made
			}
			all = append(all, t)
		}
	}
	return all
}

func (h *mergeHistory) columns(conn *pgx.Conn, t *missing.Table) {
	rows, err := conn.Query(h.t.Context(), mergeColumnsOf, t.OID)
	postgrestest.Check(h.t, err)
	keys := map[int32]int{}
	var c missing.Column
	var place int32
	_, err = pgx.ForEachRow(rows, []any{&c.Name, &c.Type, &c.Generated, &c.Identity, &c.Number, &place}, func() error {
		if h.hide[c.Name] {
			return nil
		}
		if c.Name == "lomowner" {
			c.Type = "name"
		}
		c.Text = c.Type == "json" || c.Type == "xml" || c.Type == "point"
		if place >= 0 {
			keys[place] = len(t.Columns)
		}
		t.Columns = append(t.Columns, c)
		return nil
	})
	postgrestest.Check(h.t, err)
	for place := range int32(len(keys)) {
		t.Key = append(t.Key, keys[place])
	}
}

func (h *mergeHistory) sequences(tip *pgx.Conn) []missing.Sequence {
	rows, err := tip.Query(h.t.Context(), `select schemaname::text, sequencename::text, increment_by, coalesce(last_value, start_value), last_value is not null from pg_sequences order by 1, 2`)
	postgrestest.Check(h.t, err)
	all, err := pgx.CollectRows(rows, func(r pgx.CollectableRow) (s missing.Sequence, err error) {
		return s, r.Scan(&s.Schema, &s.Name, &s.Increment, &s.Last, &s.Called)
	})
	postgrestest.Check(h.t, err)
	return all
}

type mergeVersion struct {
	xid    uint32
	values []*string
}

// versions reads a table's rows, by their text.
func (h *mergeHistory) versions(conn *pgx.Conn, t missing.Table) map[string][]mergeVersion {
	var parts []string
	for _, c := range t.Columns {
		if c.Name == "lomowner" {
			parts = append(parts, "pg_get_userbyid(lomowner)")
			continue
		}
		parts = append(parts, pgx.Identifier{c.Name}.Sanitize())
	}
	out := map[string][]mergeVersion{}
	rows, err := conn.Query(h.t.Context(), fmt.Sprintf("select xmin::text::int8, %s from %s", strings.Join(parts, ", "), pgx.Identifier{t.Schema, t.Name}.Sanitize()), pgx.QueryExecModeSimpleProtocol)
	if err == nil {
		defer rows.Close()
		for rows.Next() {
			raw := rows.RawValues()
			v := mergeVersion{values: make([]*string, len(t.Columns))}
			_, err = fmt.Sscan(string(raw[0]), &v.xid)
			postgrestest.Check(h.t, err)
			for i, b := range raw[1:] {
				if b != nil {
					s := string(b)
					v.values[i] = &s
				}
			}
			key := mergeText(v.values)
			out[key] = append(out[key], v)
		}
		err = rows.Err()
	}
	if err != nil && !strings.Contains(err.Error(), "does not exist") {
		h.t.Fatal(err)
	}
	return out
}

func mergeText(values []*string) string {
	var parts []string
	for _, v := range values {
		if v == nil {
			parts = append(parts, "-")
		} else {
			parts = append(parts, fmt.Sprintf("%q", *v))
		}
	}
	return strings.Join(parts, " ")
}

// write writes the lines of a table: what one side has more of than the other.
func (h *mergeHistory) write(w *missing.Writer, i int, t missing.Table, from []*pgx.Conn, seen map[uint32]bool) {
	old, now := h.versions(from[0], t), h.versions(from[1], t)
	for side, versions := range map[missing.Side]map[string][]mergeVersion{missing.Old: old, missing.New: now} {
		other := now
		if side == missing.New {
			other = old
		}
		for _, key := range slices.Sorted(mergeKeys(versions)) {
			all := versions[key]
			for _, v := range all[min(len(all), len(other[key])):] {
				l := missing.Line{Table: i, Side: side, Values: v.values}
				if l.XID = h.xidOf(side, v); l.XID != 0 && !seen[l.XID] {
					seen[l.XID] = true
					c := missing.Commit{XID: l.XID, Time: time.Unix(int64(l.XID), 0).UTC(), LSN: 7}
					postgrestest.Check(h.t, w.Write(missing.Line{Commit: &c}))
				}
				postgrestest.Check(h.t, w.Write(l))
			}
		}
	}
}

// xidOf is the transaction that made a new version. Which one removed an old one is not known, but where a test says so.
func (h *mergeHistory) xidOf(side missing.Side, v mergeVersion) uint32 {
	name := ""
	if v.values[0] != nil {
		name = *v.values[0]
	}
	if side == missing.Old {
		name = "old " + name
	}
	switch xid := h.rowXIDs[name]; {
	case xid != "":
		return number(h.t, xid)
	case side == missing.Old:
		return 0
	}
	return v.xid
}

func number(t testing.TB, s string) uint32 {
	t.Helper()
	n, err := strconv.ParseUint(s, 10, 32)
	postgrestest.Check(t, err)
	return uint32(n)
}

func mergeKeys[V any](m map[string]V) iter.Seq[string] {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// input is what a merge takes.
func (h *mergeHistory) input(conn *pgx.Conn, change ...func(*missing.MergeInput)) missing.MergeInput {
	h.changes = nil
	in := missing.MergeInput{
		Conn:   conn,
		Open:   func(context.Context) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(h.set)), nil },
		Report: func(c missing.Change) error { h.changes = append(h.changes, c); return nil },
		Begin:  func(head missing.Header) error { h.header = head; return nil },
		Undo:   h.keep,
		Merged: func(yield func(missing.Undo, error) bool) {
			for _, u := range h.undone {
				if !yield(u.record(), nil) {
					return
				}
			}
		},
		LockWait: 2 * time.Second,
	}
	for _, c := range change {
		c(&in)
	}
	return in
}

func (h *mergeHistory) keep(_ context.Context, u missing.Undo) error {
	r := mergeRecord{undo: u}
	for c, err := range u.Changes {
		if err != nil {
			return err
		}
		r.changes = append(r.changes, c)
	}
	h.undone = append(h.undone, r)
	h.lastUndo = &r
	return nil
}

func withApply(in *missing.MergeInput)  { in.Apply = true }
func withTheirs(in *missing.MergeInput) { in.Policy = missing.Theirs }
func withWhole(in *missing.MergeInput)  { in.Whole = true }

func (h *mergeHistory) open() *pgx.Conn {
	if h.user == "" {
		return postgrestest.Open(h.t, h.server, h.active)
	}
	cfg, err := pgx.ParseConfig(postgrestest.Source(h.server, "postgres", h.active).ConnString)
	postgrestest.Check(h.t, err)
	cfg.User = h.user
	conn, err := pgx.ConnectConfig(h.t.Context(), cfg)
	postgrestest.Check(h.t, err)
	return conn
}

func (h *mergeHistory) try(change ...func(*missing.MergeInput)) (missing.Summary, error) {
	conn := h.open()
	defer conn.Close(context.Background())
	return missing.Merge(h.t.Context(), h.input(conn, change...))
}

func (h *mergeHistory) merge(change ...func(*missing.MergeInput)) missing.Summary {
	h.t.Helper()
	sum, err := h.try(change...)
	if err != nil {
		h.t.Fatal(err)
	}
	return sum
}

// said is what a merge reported: class, table and key of each change, and whether it was applied.
func (h *mergeHistory) said() string {
	var out []string
	for _, c := range h.changes {
		s := fmt.Sprintf("%s %s %s", c.Class, c.Op, c.Table)
		for _, k := range c.Key {
			s += " " + *k
		}
		if c.Applied {
			s += " +"
		}
		out = append(out, s)
	}
	return strings.Join(out, "\n")
}
