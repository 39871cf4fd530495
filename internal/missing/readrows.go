package missing

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/smartdr/smartdr/internal/fault"
)

const (
	// batchTIDs is how many places one query asks for.
	batchTIDs = 10_000
	// minRun and maxRun are how many blocks in a row, each with enough places, are read by a range: 2 million rows took 11 s by place and 3 s by range.
	minRun, maxRun = 16, 4096
	// denseShare is the part of a block's row versions from which reading all of them is cheaper.
	denseShare = 0.3
	// minDense keeps blocks of few rows, of which little is known, out of ranges.
	minDense = 8
)

// rowQuery reads row versions of one table. Values are what the output functions of their types say: casts to text may be somebody's own.
type rowQuery struct {
	conn    *pgx.Conn
	table   *relation
	columns []string // expressions
}

func (q *rowQuery) sql() string {
	t := pgx.Identifier{q.table.Schema, q.table.Name}.Sanitize()
	return "select " + strings.Join(append([]string{"ctid", "xmin"}, q.columns...), ", ") + " from only " + t
}

// run reads the rows that a condition selects.
func (q *rowQuery) run(ctx context.Context, where string, params [][]byte, visit func(*row) error) error {
	formats := make([]int16, len(q.columns)+2)
	formats[0], formats[1] = pgx.BinaryFormatCode, pgx.BinaryFormatCode
	result := q.conn.PgConn().ExecParams(ctx, q.sql()+where, params, nil, nil, formats)
	r := row{Table: q.table.OID}
	for result.NextRow() {
		v := result.Values()
		if len(v[0]) != 6 || len(v[1]) != 4 {
			_ = q.conn.PgConn().Close(ctx) // nobody reads the rest of the answer
			return fault.Newf(fault.Corrupt, opRead, "%s answered with a place of %d bytes and a transaction of %d", q.table.Name, len(v[0]), len(v[1]))
		}
		r.TID = TID{Block: binary.BigEndian.Uint32(v[0]), Offset: binary.BigEndian.Uint16(v[0][4:])}
		r.XID, r.Values = binary.BigEndian.Uint32(v[1]), v[2:]
		if err := visit(&r); err != nil {
			_ = q.conn.PgConn().Close(ctx) // nobody reads the rest of the answer
			return err
		}
	}
	_, err := result.Close()
	return sqlError(err)
}

// whole reads all rows.
func (q *rowQuery) whole(ctx context.Context, visit func(*row) error) error {
	return q.run(ctx, "", nil, visit)
}

// at reads the row versions at places. Those that are not visible are not there.
func (q *rowQuery) at(ctx context.Context, p *Places, visit func(*row) error) error {
	b := &batches{q: q, visit: visit}
	for block, offsets := range p.Blocks() {
		if err := b.add(ctx, block, offsets); err != nil {
			return err
		}
	}
	if err := b.endRun(ctx); err != nil {
		return err
	}
	return b.flush(ctx)
}

// batches gathers places for queries: single ones, and runs of blocks of which much is wanted.
type batches struct {
	q     *rowQuery
	visit func(*row) error

	tids  tidList
	first uint32     // block of the run
	run   [][]uint16 // what is wanted of each of its blocks
}

func (b *batches) add(ctx context.Context, block uint32, offsets []uint16) error {
	dense := b.q.dense(offsets)
	if n := len(b.run); n > 0 && (!dense || uint64(block) != uint64(b.first)+uint64(n) || n >= maxRun) {
		if err := b.endRun(ctx); err != nil {
			return err
		}
	}
	if dense {
		if len(b.run) == 0 {
			b.first = block
		}
		b.run = append(b.run, offsets)
		return nil
	}
	b.tids.add(block, offsets)
	return b.flushFull(ctx)
}

// dense reports whether so much of a block is wanted that all of it may be read.
func (q *rowQuery) dense(offsets []uint16) bool {
	if len(offsets) < minDense {
		return false
	}
	there := max(float64(offsets[len(offsets)-1]), q.table.PerPage)
	return float64(len(offsets)) > denseShare*there
}

// endRun reads a run by its ends if it is long enough, else by its places.
func (b *batches) endRun(ctx context.Context) error {
	run := b.run
	b.run = nil
	if len(run) >= minRun {
		return b.between(ctx, run)
	}
	for i, offsets := range run {
		b.tids.add(b.first+uint32(i), offsets)
	}
	return b.flushFull(ctx)
}

// between reads the blocks of a run, and passes on what was asked for.
func (b *batches) between(ctx context.Context, run [][]uint16) error {
	where := fmt.Sprintf(" where ctid >= '(%d,0)'", b.first)
	if end := uint64(b.first) + uint64(len(run)); end <= math.MaxUint32 {
		where += fmt.Sprintf(" and ctid < '(%d,0)'", end)
	}
	return b.q.run(ctx, where, nil, func(r *row) error {
		if _, wanted := slices.BinarySearch(run[r.TID.Block-b.first], r.TID.Offset); !wanted {
			return nil
		}
		return b.visit(r)
	})
}

func (b *batches) flushFull(ctx context.Context) error {
	if b.tids.n < batchTIDs {
		return nil
	}
	return b.flush(ctx)
}

func (b *batches) flush(ctx context.Context) error {
	if b.tids.n == 0 {
		return nil
	}
	text := b.tids.text()
	b.tids = tidList{}
	return b.q.run(ctx, " where ctid = any($1::tid[])", [][]byte{text}, b.visit)
}

// tidList is an array of places as PostgreSQL reads it.
type tidList struct {
	buf []byte
	n   int
}

func (l *tidList) add(block uint32, offsets []uint16) {
	for _, o := range offsets {
		l.buf = append(l.buf, `,"(`...)
		l.buf = strconv.AppendUint(l.buf, uint64(block), 10)
		l.buf = append(l.buf, ',')
		l.buf = strconv.AppendUint(l.buf, uint64(o), 10)
		l.buf = append(l.buf, `)"`...)
	}
	l.n += len(offsets)
}

func (l *tidList) text() []byte { return append(append([]byte{'{'}, l.buf[1:]...), '}') }
