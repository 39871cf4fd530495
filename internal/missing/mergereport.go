package missing

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/smartdr/smartdr/internal/wal"
)

// changeRow is a change with what only the merge knows of it.
type changeRow struct {
	n      int64
	table  *mergeTable
	change Change
}

// changes goes through the changes that a condition on s chooses, in order of tables and keys. Rows come as they are asked for.
func (m *merger) changes(ctx context.Context, where string, visit func(changeRow) error) error {
	for _, t := range m.tables {
		if t.changes == 0 {
			continue
		}
		if err := m.changesOf(ctx, t, where, visit); err != nil {
			return err
		}
	}
	return nil
}

func (m *merger) changesOf(ctx context.Context, t *mergeTable, where string, visit func(changeRow) error) error {
	r := changeRow{table: t}
	var dup int64
	var why *string
	var class string
	var commit foundCommit
	c := &r.change
	sql := fmt.Sprintf(`select s.n, c.dup, c.o, c.t, a.v, w.v, s.class, s.why, s.p, k.x, k.top, k.at, k.lsn from pg_temp.smartdr_s s join %s c using (n) left join %s a using (n)
		left join pg_temp.smartdr_w w using (n) left join pg_temp.smartdr_commit k on k.x = coalesce(nullif(c.tx, 0), nullif(c.ox, 0))
		where s.t = %d and (%s) order by s.n`, t.temp("c"), t.temp("a"), t.n, where)
	to := []any{&r.n, &dup, &c.Base, &c.Theirs, &c.Active, &c.Written, &class, &why, &c.Applied, &commit.x, &commit.top, &commit.at, &commit.lsn}
	return m.rows(ctx, sql, nil, to, func() error {
		one := r
		one.change.Class, one.change.Commit = Class(class), commit.commit()
		t.complete(&one.change, dup, why)
		return visit(one)
	})
}

// foundCommit is a transaction as a query gives it; all nil where it is not known.
type foundCommit struct {
	x, top, lsn *int64
	at          *time.Time
}

func (f foundCommit) commit() *Commit {
	if f.x == nil || f.at == nil || f.lsn == nil {
		return nil
	}
	return &Commit{XID: uint32(*f.x), Top: uint32(*f.top), Time: *f.at, LSN: wal.LSN(*f.lsn)}
}

// complete names a change, and says what the old line did.
func (t *mergeTable) complete(c *Change, dup int64, why *string) {
	c.Schema, c.Table = t.Schema, t.Name
	if t.kind != "" {
		c.Schema, c.Table = t.schema, t.name
	}
	some := c.Theirs
	switch {
	case c.Theirs == nil:
		c.Op, some = Delete, c.Base
	case c.Base == nil:
		c.Op = Insert
	default:
		c.Op = Update
	}
	if some == nil {
		some = c.Active // an earlier merge inserted what the old line deleted since
	}
	for _, k := range t.Key {
		c.Key = append(c.Key, at(some, k))
	}
	c.ID = changeID(t.said(), dup, c.Key, c.Base, c.Theirs, c.Active)
	if why != nil {
		c.Why = *why
	} else {
		c.Why = reasons[c.Class]
	}
}

func at(v []*string, i int) *string {
	if i < len(v) {
		return v[i]
	}
	return nil
}

// reasons are what can be said of a class without looking at the row.
var reasons = map[Class]string{
	BothInserted:   "both sides inserted a row with this key",
	BothUpdated:    "both sides changed the row",
	UpdatedDeleted: "the old line changed the row, and the active side deleted it",
	DeletedUpdated: "the old line deleted the row, and the active side changed it",
	NoKey:          "the old line deleted a row without a key, and the active side has none like it",
	TwoPhase:       "its transaction is prepared on the active side, and waits there to be ended",
	Held:           "another change of its transaction, or of one that touched the same rows, cannot be applied",
	Kept:           "somebody decided to keep what is active",
	Alike:          "each side made the same of the row, or somebody brought it over by hand",
}

// report tells everybody who wants to know.
func (m *merger) report(ctx context.Context) error {
	if m.in.Begin != nil {
		if err := m.in.Begin(m.activeHeader()); err != nil {
			return err
		}
	}
	if m.in.Report == nil {
		return nil
	}
	return m.changes(ctx, "true", func(r changeRow) error { return m.in.Report(r.change) })
}

// activeHeader is the set's header, with tables and columns by the names of the active side.
func (m *merger) activeHeader() Header {
	h := m.header
	h.Tables = nil
	for _, t := range m.tables {
		h.Tables = append(h.Tables, t.activeTable())
	}
	return h
}

func (t *mergeTable) activeTable() Table {
	a := t.Table
	if t.kind == "" {
		return a
	}
	a.Schema, a.Name, a.Columns, a.Unique = t.schema, t.name, slices.Clone(a.Columns), t.unique()
	a.Partitioned = t.kind == "p"
	for i, c := range t.columns {
		if c.number != 0 {
			a.Columns[i].Name, a.Columns[i].Type, a.Columns[i].Generated, a.Columns[i].Identity = c.name, c.typ, c.generated, c.identity
		}
	}
	return a
}

// summarize counts.
func (m *merger) summarize(ctx context.Context) error {
	s := &m.sum
	s.Database, s.Blind, s.Whole = m.server.Database, m.header.Blind, m.header.Whole
	s.Drift = append(slices.Clone(m.header.Drift), s.Drift...)
	for _, t := range m.tables {
		if t.changes == 0 {
			continue
		}
		sum, err := m.count(ctx, t)
		if err != nil {
			return err
		}
		if len(sum.Classes) > 0 {
			s.Tables = append(s.Tables, sum)
		}
	}
	return m.rows(ctx, `select count(distinct v) from (select x as v, class from pg_temp.smartdr_s union all select y, class from pg_temp.smartdr_s where x is null) s
		where class not in `+there, nil, []any{&s.Transactions}, func() error { return nil })
}

func (m *merger) count(ctx context.Context, t *mergeTable) (TableSummary, error) {
	out := TableSummary{Schema: t.Schema, Table: t.Name, How: t.How, Classes: map[Class]int64{}}
	if t.kind != "" {
		out.Schema, out.Table = t.schema, t.name
	}
	var op, class string
	var applied bool
	var n int64
	err := m.rows(ctx, fmt.Sprintf(`select case when c.t is null then 'delete' when c.o is null then 'insert' else 'update' end, class, p, count(*)
		from pg_temp.smartdr_s s join %s c using (n) where s.t = %d group by 1, 2, 3`, t.temp("c"), t.n), nil, []any{&op, &class, &applied, &n}, func() error {
		c := Class(class)
		out.Classes[c] += n
		m.sum.Classes[c] += n
		if applied {
			m.sum.Applied += n
		}
		if c.Conflict() && !applied {
			m.sum.Conflicts += n
		}
		if !c.There() {
			out.add(Op(op), n)
		}
		return nil
	})
	return out, err
}

func (t *TableSummary) add(op Op, n int64) {
	switch op {
	case Insert:
		t.Inserts += n
	case Update:
		t.Updates += n
	case Delete:
		t.Deletes += n
	}
}
