package missing

import (
	"context"
	"encoding/binary"
	"fmt"
	"iter"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/smartdr/smartdr/internal/fault"
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

// batchTIDs is how many places one query asks for.
const batchTIDs = 10_000

// at reads the row versions at places. Those that are not visible are not there. With sequential scans off that is cheaper than ranges of
// blocks wherever less than two thirds of their rows are wanted, and takes 1.6 times as long where all are.
func (q *rowQuery) at(ctx context.Context, p *Places, visit func(*row) error) error {
	for tids := range batches(p) {
		if err := q.run(ctx, " where ctid = any($1::tid[])", [][]byte{tids}, visit); err != nil {
			return err
		}
	}
	return nil
}

// batches are places as arrays that PostgreSQL reads.
func batches(p *Places) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		var array []byte
		n := 0
		for block, offsets := range p.Blocks() {
			for _, o := range offsets {
				array = fmt.Appendf(append(array, ','), `"(%d,%d)"`, block, o)
			}
			if n += len(offsets); n < batchTIDs {
				continue
			}
			if !yield(braced(array)) {
				return
			}
			array, n = nil, 0
		}
		if n > 0 {
			yield(braced(array))
		}
	}
}

// braced makes an array of elements that each follow a comma.
func braced(array []byte) []byte {
	array[0] = '{'
	return append(array, '}')
}
