package missing

import (
	"context"
	"io"

	"github.com/jackc/pgx/v5"

	"github.com/smartdr/smartdr/internal/fault"
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

// ReadFork reads the copy at the fork, and leaves what ReadTip needs in the folder. It may be called again after it was killed.
func ReadFork(ctx context.Context, in ReadInput) error {
	return fault.Newf(fault.Invalid, opRead, "not there yet")
}

// ReadTip reads the copy at the tip, and writes each database's set to what write opens. Databases that were made after the fork are
// added, those that were dropped left out with a note in the result.
func ReadTip(ctx context.Context, in ReadInput, write func(database string) (io.WriteCloser, error)) (notes []string, err error) {
	return nil, fault.Newf(fault.Invalid, opRead, "not there yet")
}
