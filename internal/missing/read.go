package missing

import (
	"context"
	"io"

	"github.com/jackc/pgx/v5"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/wal"
)

const opRead = "read copy"

// ReadInput says what to read of a copy of the old server, which only reads and stands still while it is read.
type ReadInput struct {
	Changes *Changes
	// Connect opens a connection to a database of the copy, as a superuser.
	Connect func(ctx context.Context, database string) (*pgx.Conn, error)
	// Databases are the names of those that are compared, as at the fork.
	Databases []string
	// Dir is a folder for what is kept between fork and tip: row versions that were removed, and tables that were replaced, as a whole.
	Dir                string
	Workspace, Lineage string
	Progress           func(database, table string, done, total int64)
}

// connect opens a connection for reading values.
func (in *ReadInput) connect(ctx context.Context, database string) (*pgx.Conn, error) {
	conn, err := in.Connect(ctx, database)
	if err != nil {
		return nil, err
	}
	if _, err := conn.Exec(ctx, Session+reading, pgx.QueryExecModeSimpleProtocol); err != nil {
		_ = conn.Close(ctx) // what went wrong is told below
		return nil, sqlError(err)
	}
	return conn, nil
}

// somewhere opens a connection to any of the databases that the copy lets in, to ask what is true of all.
func (in *ReadInput) somewhere(ctx context.Context) (*pgx.Conn, error) {
	var first error
	for _, name := range append([]string{"postgres", "template1"}, in.Databases...) {
		conn, err := in.connect(ctx, name)
		if err == nil {
			return conn, nil
		}
		if first == nil {
			first = err
		}
	}
	return nil, first
}

// stands checks that the copy has replayed exactly to a position. One that was promoted says so as long as it runs.
func stands(ctx context.Context, conn *pgx.Conn, at wal.LSN) error {
	var replayed *string
	if err := conn.QueryRow(ctx, "select pg_last_wal_replay_lsn()::text").Scan(&replayed); err != nil {
		return sqlError(err)
	}
	if replayed == nil {
		return fault.Newf(fault.Invalid, opRead, "the copy did not replay WAL since it was started").WithHint("Make the copy anew.")
	}
	if *replayed != at.String() {
		return fault.Newf(fault.Invalid, opRead, "the copy has replayed to %s, and it should stand at %s", *replayed, at).WithHint("Make the copy anew.")
	}
	return nil
}

// progress tells how far reading is.
func (in *ReadInput) progress(database, table string, done, total int64) {
	if in.Progress != nil {
		in.Progress(database, table, done, total)
	}
}

// everyRows is how many rows pass between two reports of progress.
const everyRows = 10_000

// ReadFork reads the copy at the fork, and leaves what ReadTip needs in the folder. It may be called again after it was killed; once all is
// there it does nothing, wherever the copy stands. It fails with fault.Invalid when the copy stands elsewhere, with fault.Full when the
// folder's disk has no room, and as Locked tells when the copy has to be promoted.
func ReadFork(ctx context.Context, in ReadInput) error {
	rec := newForkRecord(&in)
	if there, err := rec.kept(in.Dir); err != nil || there {
		return err
	}
	return readFork(ctx, &in, rec)
}

// TipResult is what there is to say of a comparison beside the sets.
type TipResult struct {
	Notes   []string
	Refused map[string]Refusal // databases that could not be compared, by name: they have no set
}

// ReadTip reads the copy at the tip, and writes each database's set to what write opens. Databases that were made after the fork are
// added, those that were dropped left out with a note in the result. A set is complete when its writer was closed; one that fails is closed
// with CloseWithError if it has that, as pipes do, else left open: also that of a database which is refused, while others are compared. It may
// be called again, also with the sets there.
func ReadTip(ctx context.Context, in ReadInput, write func(database string) (io.WriteCloser, error)) (TipResult, error) {
	rec := newForkRecord(&in)
	there, err := rec.kept(in.Dir)
	if err != nil {
		return TipResult{}, err
	}
	if !there {
		return TipResult{}, fault.Newf(fault.Missing, opRead, "what was read at the fork is not in the folder").WithHint("Compare again.")
	}
	return readTip(ctx, &in, rec, write)
}
