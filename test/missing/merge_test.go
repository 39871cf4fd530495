package missing_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/smartdr/smartdr/internal/missing"
)

// outcome is what a merge, or a preview of one, said.
type outcome struct {
	header  missing.Header
	changes []missing.Change
	summary missing.Summary
	undo    *missing.Undo
}

// merge merges one database's set, or previews it. Fields of in that are set are kept.
func (o *opening) merge(set []byte, database string, in missing.MergeInput) outcome {
	o.t.Helper()
	out, err := o.tryMerge(o.t.Context(), set, database, in)
	if err != nil {
		o.t.Fatalf("merge %s: %v", database, err)
	}
	return out
}

func (o *opening) tryMerge(ctx context.Context, set []byte, database string, in missing.MergeInput) (outcome, error) {
	conn, err := o.active.Open(ctx, database)
	if err != nil {
		return outcome{}, err
	}
	defer conn.Close(context.Background())
	return o.mergeOver(ctx, conn, set, in)
}

// mergeOver merges over a connection.
func (o *opening) mergeOver(ctx context.Context, conn *pgx.Conn, set []byte, in missing.MergeInput) (outcome, error) {
	var out outcome
	in.Conn = conn
	in.Open = func(context.Context) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(set)), nil }
	in.Begin = func(h missing.Header) error { out.header = h; return nil }
	in.Report = func(c missing.Change) error { out.changes = append(out.changes, c); return nil }
	given := in.Undo
	in.Undo = func(ctx context.Context, u missing.Undo) error {
		kept, err := keepUndo(u)
		out.undo = kept
		if err == nil && given != nil {
			err = given(ctx, *kept)
		}
		return err
	}
	var err error
	out.summary, err = missing.Merge(ctx, in)
	return out, err
}

// keepUndo reads an undo record to its end, so that it can be read again.
func keepUndo(u missing.Undo) (*missing.Undo, error) {
	var changes []missing.Change
	for c, err := range u.Changes {
		if err != nil {
			return nil, err
		}
		changes = append(changes, c)
	}
	u.Changes = func(yield func(missing.Change, error) bool) {
		for _, c := range changes {
			if !yield(c, nil) {
				return
			}
		}
	}
	return &u, nil
}

// merged are the records of earlier merges, as Merge wants them.
func merged(undos ...*missing.Undo) iter.Seq2[missing.Undo, error] {
	return func(yield func(missing.Undo, error) bool) {
		for _, u := range undos {
			if u != nil && !yield(*u, nil) {
				return
			}
		}
	}
}

// reported is a change as it was reported, by the columns that the model knows.
type reported struct {
	missing.Change
	theirs, base, active []*string
	how                  missing.How
}

// byName finds the changes of each table and key. Rows without a key are under their content.
func (out outcome) byName(m *model) (map[string][]reported, error) {
	found := map[string][]reported{}
	for _, c := range out.changes {
		name := c.Schema + "." + c.Table
		i := slices.IndexFunc(out.header.Tables, func(t missing.Table) bool { return t.Schema == c.Schema && t.Name == c.Table })
		if i < 0 {
			return nil, fmt.Errorf("a change of %s, which the header does not have", name)
		}
		table := out.header.Tables[i]
		if m.theirs[name] == nil {
			return nil, fmt.Errorf("a change of %s, which is not at the tip: %s", name, c.Op)
		}
		columns := common(m.base[name], m.theirs[name])
		r := reported{c, choose(c.Theirs, table, columns), choose(c.Base, table, columns), choose(c.Active, table, columns), table.How}
		key := keyOf(r, m.theirs[name], columns)
		found[name+" "+key] = append(found[name+" "+key], r)
	}
	return found, nil
}

// choose returns the model's columns of a row. A column that the change does not have says so.
func choose(values []*string, table missing.Table, columns []string) []*string {
	if values == nil {
		return nil
	}
	none := "(not among the change's columns)"
	out := make([]*string, len(columns))
	for i, name := range columns {
		out[i] = &none
		name, _, _ = strings.Cut(name, "::")
		if p := slices.IndexFunc(table.Columns, func(c missing.Column) bool { return c.Name == name }); p >= 0 {
			out[i] = values[p]
		}
	}
	return out
}

func keyOf(r reported, ts *tableState, columns []string) string {
	row := r.theirs
	if row == nil {
		row = r.base
	}
	if len(ts.key) == 0 {
		return whole(row)
	}
	if row == nil {
		return "(no row)"
	}
	places := make([]int, len(ts.key))
	for i, k := range ts.key {
		places[i] = slices.Index(columns, k)
	}
	s, _ := join(row, places)
	return s
}

// judge compares what was reported with what had to be, and lists what differs, a line each.
func (m *model) judge(out outcome) []string {
	found, err := out.byName(m)
	if err != nil {
		return []string{err.Error()}
	}
	wanted := map[string][]*expected{}
	for _, e := range m.changes {
		wanted[e.table+" "+e.key] = append(wanted[e.table+" "+e.key], e)
	}
	var wrong []string
	for _, name := range union2(wanted, found) {
		wrong = append(wrong, judgeOne(name, wanted[name], found[name])...)
		if xid, known := m.writers[name]; known && len(found[name]) == 1 {
			wrong = append(wrong, judgeCommit(name, xid, found[name][0])...)
		}
	}
	return wrong
}

// judgeCommit compares the transaction that a change is said to be of with the one that the history knows. What replaced
// a file is the writer of all of its rows; and of a row that was removed, made again and removed again, the first who removed it is told.
func judgeCommit(name, xid string, f reported) []string {
	switch {
	case f.how != missing.ByWAL:
		return nil
	case f.Commit == nil:
		return []string{fmt.Sprintf("%q: no transaction, want %s", name, xid)}
	case fmt.Sprint(f.Commit.Top) != xid && f.Op != missing.Delete, f.Commit.Time.IsZero(), f.Commit.LSN == 0:
		return []string{fmt.Sprintf("%q: of %+v, want the transaction %s", name, *f.Commit, xid)}
	}
	return nil
}

func union2[A, B any](a map[string]A, b map[string]B) []string {
	keys := append(sortedKeys(a), sortedKeys(b)...)
	slices.Sort(keys)
	return slices.Compact(keys)
}

// judgeOne compares the changes of one key, or of one content.
func judgeOne(name string, wanted []*expected, found []reported) (wrong []string) {
	if len(wanted) != len(found) {
		return []string{fmt.Sprintf("%.200q: want %d changes %s, found %d %s", name, len(wanted), tell(wanted), len(found), tellFound(found))}
	}
	// Rows with the same content are alike: those of each class are counted.
	slices.SortFunc(wanted, func(a, b *expected) int { return strings.Compare(string(a.classes[0]), string(b.classes[0])) })
	slices.SortFunc(found, func(a, b reported) int { return strings.Compare(string(a.Class), string(b.Class)) })
	for i, e := range wanted {
		f := found[i]
		switch {
		case e.op != f.Op, !slices.Contains(e.classes, f.Class), e.applied != f.Applied:
			wrong = append(wrong, fmt.Sprintf("%.200q: want %s, found %s (%s) base %.80q theirs %.80q active %.80q", name, tell(wanted[i:i+1]), tellFound(found[i:i+1]), f.Why,
				whole(e.base), whole(e.theirs), whole(e.active)))
		case len(e.classes) == 1 && e.classes[0] == missing.SchemaDrift, e.base == nil && e.theirs == nil: // of no column, or without a key
		case whole(e.theirs) != whole(f.theirs), whole(e.base) != whole(f.base), whole(e.active) != whole(f.active):
			wrong = append(wrong, fmt.Sprintf("%.200q: want base %.200q theirs %.200q active %.200q, found %.200q %.200q %.200q", name, whole(e.base), whole(e.theirs), whole(e.active),
				whole(f.base), whole(f.theirs), whole(f.active)))
		}
	}
	return wrong
}

func tell(list []*expected) string {
	var b strings.Builder
	for _, e := range list {
		fmt.Fprintf(&b, "[%s %v applied=%t]", e.op, e.classes, e.applied)
	}
	return b.String()
}

func tellFound(list []reported) string {
	var b strings.Builder
	for _, r := range list {
		fmt.Fprintf(&b, "[%s %s applied=%t]", r.Op, r.Class, r.Applied)
	}
	return b.String()
}
