package missing

import (
	"context"
	"errors"
	"io"

	"github.com/jackc/pgx/v5"

	"github.com/smartdr/smartdr/internal/fault"
)

const lineTables = `create temp table smartdr_line (new bool, x int8, v text[]) on commit drop;
create temp table smartdr_commit (x int8, top int8, at timestamptz, lsn int8) on commit drop;
create temp table smartdr_prior (seq int8, t int4, id text, base text[], theirs text[], written text[]) on commit drop`

// stage brings the set into temporary tables, and pairs what the old line had with what it has, by key.
func (m *merger) stage(ctx context.Context) error {
	if err := m.script(ctx, lineTables); err != nil {
		return err
	}
	body, err := m.in.Open(ctx)
	if err != nil {
		return err
	}
	defer body.Close()
	r, err := NewReader(body)
	if err != nil {
		return err
	}
	defer r.Close()
	m.header = r.Header
	for i, t := range m.header.Tables {
		m.tables = append(m.tables, &mergeTable{Table: t, n: i})
	}
	if err := m.stageEarlier(ctx); err != nil {
		return err
	}
	if err := m.find(ctx); err != nil {
		return err
	}
	if err := m.readPrepared(ctx); err != nil {
		return err
	}
	return m.stageLines(ctx, &lineSource{r: r})
}

// stageLines copies the lines of a table, and pairs them, before it goes on to the next.
func (m *merger) stageLines(ctx context.Context, s *lineSource) error {
	staged := map[int]bool{}
	for i := 0; ; i++ {
		t, err := s.table(m.tables)
		if err != nil {
			return err
		}
		if t == nil {
			return m.pairRest(ctx, staged)
		}
		m.progress("read what is missing of "+t.said(), i, len(m.tables))
		if staged[t.n] {
			return fault.Newf(fault.Corrupt, opMerge, "the set's lines are not grouped by table: %s comes twice", t.said()).WithHint("Compare again.")
		}
		staged[t.n] = true
		if err := m.copyLines(ctx, s, t.n); err != nil {
			return err
		}
		if err := m.pair(ctx, t); err != nil {
			return err
		}
	}
}

// pairRest pairs what only earlier merges know of, and counts the transactions.
func (m *merger) pairRest(ctx context.Context, staged map[int]bool) error {
	for _, t := range m.tables {
		if !staged[t.n] && t.earlier {
			if err := m.pair(ctx, t); err != nil {
				return err
			}
		}
	}
	return m.script(ctx, `delete from pg_temp.smartdr_commit a using pg_temp.smartdr_commit b where a.x = b.x and a.ctid > b.ctid;
		create index on pg_temp.smartdr_commit (x); analyze pg_temp.smartdr_commit`)
}

// copyLines copies lines until the next table begins. Transactions between them are copied in batches.
func (m *merger) copyLines(ctx context.Context, s *lineSource, table int) error {
	for {
		s.begin(table)
		if _, err := m.conn.CopyFrom(ctx, pgx.Identifier{"pg_temp", "smartdr_line"}, []string{"new", "x", "v"}, s); err != nil {
			return err
		}
		if err := m.copyCommits(ctx, s); err != nil || !s.full {
			return err
		}
	}
}

func (m *merger) copyCommits(ctx context.Context, s *lineSource) error {
	if len(s.commits) == 0 {
		return nil
	}
	_, err := m.conn.CopyFrom(ctx, pgx.Identifier{"pg_temp", "smartdr_commit"}, []string{"x", "top", "at", "lsn"},
		pgx.CopyFromSlice(len(s.commits), func(i int) ([]any, error) {
			c := s.commits[i]
			top := c.Top
			if top == 0 {
				top = c.XID
			}
			return []any{int64(c.XID), int64(top), c.Time, int64(c.LSN)}, nil
		}))
	s.commits = s.commits[:0]
	return err
}

// commitBatch is how many transactions lie in memory before they are copied.
const commitBatch = 10_000

// lineSource reads a set's lines for COPY, up to where another table begins.
type lineSource struct {
	r       *Reader
	line    Line
	ahead   bool // line was read, and not taken
	end     bool
	current int
	full    bool // it ended because there are many transactions
	commits []Commit
	err     error
}

// table returns the table of the next row, or nil at the end.
func (s *lineSource) table(tables []*mergeTable) (*mergeTable, error) {
	s.peek()
	if s.err != nil || s.end {
		return nil, s.err
	}
	if s.line.Table < 0 || s.line.Table >= len(tables) || len(s.line.Values) != len(tables[s.line.Table].Columns) {
		return nil, fault.Newf(fault.Corrupt, opMerge, "a line of the set fits no table of its header").WithHint("Compare again.")
	}
	return tables[s.line.Table], nil
}

func (s *lineSource) begin(table int) { s.current, s.full = table, false }

// peek reads on to the next row.
func (s *lineSource) peek() {
	for !s.ahead && !s.end && s.err == nil {
		var err error
		s.line, err = s.r.Next()
		switch {
		case errors.Is(err, io.EOF):
			s.end = true
		case err != nil:
			s.err = err
		case s.line.Commit != nil:
			s.commits = append(s.commits, *s.line.Commit)
		default:
			s.ahead = true
		}
	}
}

// Next is for COPY.
func (s *lineSource) Next() bool {
	if len(s.commits) >= commitBatch {
		s.full = true
		return false
	}
	s.peek()
	return s.ahead && s.line.Table == s.current
}

// Values is for COPY.
func (s *lineSource) Values() ([]any, error) {
	s.ahead = false
	return []any{s.line.Side == New, int64(s.line.XID), s.line.Values}, nil
}

// Err is for COPY.
func (s *lineSource) Err() error { return s.err }
