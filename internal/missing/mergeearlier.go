package missing

import (
	"context"
	"errors"
	"iter"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/smartdr/smartdr/internal/wal"
)

// stageEarlier copies what earlier merges brought, of those that committed on the line that serves now.
func (m *merger) stageEarlier(ctx context.Context) error {
	if m.in.Merged == nil {
		return nil
	}
	for u, err := range m.in.Merged {
		if err != nil {
			return err
		}
		counts, err := m.counts(ctx, u)
		if err != nil {
			return err
		}
		if counts {
			if err := m.copyEarlier(ctx, u); err != nil {
				return err
			}
		}
	}
	return m.script(ctx, "analyze pg_temp.smartdr_prior")
}

// counts reports whether a merge has happened as the server that serves knows it. A number that a transaction has on one line belongs to
// another one on a line that parted before.
func (m *merger) counts(ctx context.Context, u Undo) (bool, error) {
	if u.Changes == nil || u.SystemID != m.server.SystemID {
		return false, nil
	}
	if u.Timeline != m.server.Timeline {
		behind, err := m.behind(ctx, u.Timeline, u.LSN)
		if err != nil || !behind {
			return false, err
		}
	}
	// The server forgets how transactions of long ago ended: such a one is taken for committed. Where it was not, rows that have a key are judged
	// by what is there all the same.
	var status *string
	err := m.rows(ctx, `select case when $1::text::xid8 < pg_snapshot_xmax(pg_current_snapshot()) then coalesce(pg_xact_status($1::text::xid8), 'committed') end`,
		[]any{strconv.FormatUint(u.XID, 10)}, []any{&status}, func() error { return nil })
	return status != nil && *status == "committed", err
}

// behind reports whether the line that serves goes on from behind a point of a timeline, as its history file says.
func (m *merger) behind(ctx context.Context, timeline uint32, at wal.LSN) (bool, error) {
	var history *string
	err := m.rows(ctx, `select pg_read_file('pg_wal/' || upper(lpad(to_hex($1::int8), 8, '0')) || '.history', 0, 1048576, true)`, []any{int64(m.server.Timeline)},
		[]any{&history}, func() error { return nil })
	if err != nil || history == nil {
		return false, err
	}
	entries, err := wal.ParseHistory([]byte(*history))
	end, there := entries.EndOf(wal.Timeline(timeline))
	return there && end >= at, err
}

// copyEarlier copies one record.
func (m *merger) copyEarlier(ctx context.Context, u Undo) error {
	next, stop := iter.Pull2(u.Changes)
	defer stop()
	s := &earlierSource{m: m, u: u, next: next}
	_, err := m.conn.CopyFrom(ctx, pgx.Identifier{"pg_temp", "smartdr_prior"}, []string{"seq", "t", "id", "base", "theirs", "written"}, s)
	return errors.Join(s.err, err)
}

// earlierSource reads a record's changes for COPY.
type earlierSource struct {
	m      *merger
	u      Undo
	next   func() (Change, error, bool)
	tables map[string]*earlierTable
	change Change
	err    error
}

// earlierTable is a table of a record beside the one of the set: for each of its columns the place in the record's, or -1.
type earlierTable struct {
	table  *mergeTable
	places []int
}

// Next leaves out rows that were inserted a second time, after somebody had removed them: they are counted already.
func (s *earlierSource) Next() bool {
	for {
		c, err, ok := s.next()
		s.change, s.err = c, err
		if !ok || err != nil {
			return false
		}
		if s.m.decided[c.ID] {
			s.m.known[c.ID] = true
		}
		if c.Class != NoKey {
			return true
		}
	}
}

func (s *earlierSource) Err() error { return s.err }

func (s *earlierSource) Values() ([]any, error) {
	c := s.change
	e := s.m.earlierTable(s, c)
	e.table.earlier = true
	s.m.earlier++
	return []any{s.m.earlier, int32(e.table.n), c.ID, e.values(c.Base), e.values(c.Theirs), e.values(c.Written)}, nil
}

func (e *earlierTable) values(v []*string) []*string {
	if v == nil {
		return nil
	}
	out := make([]*string, len(e.places))
	for i, p := range e.places {
		if p >= 0 && p < len(v) {
			out[i] = v[p]
		}
	}
	return out
}

func (m *merger) earlierTable(s *earlierSource, c Change) *earlierTable {
	name := c.Schema + "." + c.Table
	if e := s.tables[name]; e != nil {
		return e
	}
	i := slices.IndexFunc(s.u.Tables, func(t Table) bool { return t.Schema == c.Schema && t.Name == c.Table })
	was := Table{Schema: c.Schema, Name: c.Table}
	if i >= 0 {
		was = s.u.Tables[i]
	}
	e := &earlierTable{table: m.sameTable(was)}
	for _, want := range e.table.Columns {
		e.places = append(e.places, slices.IndexFunc(was.Columns, func(c Column) bool {
			return c.Number == want.Number && (c.Number != 0 || c.Name == want.Name)
		}))
	}
	if s.tables == nil {
		s.tables = map[string]*earlierTable{}
	}
	s.tables[name] = e
	return e
}

// sameTable returns the table of the set that one of a record is, or adds it.
func (m *merger) sameTable(was Table) *mergeTable {
	for _, t := range m.tables {
		if was.OID != 0 && t.OID == was.OID || was.OID == t.OID && strings.EqualFold(t.said(), was.Schema+"."+was.Name) {
			return t
		}
	}
	t := &mergeTable{Table: was, n: len(m.tables)}
	m.tables = append(m.tables, t)
	return t
}
