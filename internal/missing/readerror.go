package missing

import (
	"errors"
	"syscall"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/smartdr/smartdr/internal/fault"
)

// serverFull is the SQLSTATE of a server whose disk is full.
const serverFull = "53100"

// sqlError judges what a copy answered. A copy that answers wrongly once may do better after a restart: most are transient.
func sqlError(err error) error {
	if err == nil {
		return nil
	}
	var said *pgconn.PgError
	if errors.As(err, &said) && said.Code == serverFull {
		return fault.New(fault.Full, opRead, err)
	}
	return fault.New(fault.Transient, opRead, err)
}

// fileError judges what the folder's disk answered.
func fileError(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fault.New(fault.Full, opRead, err).WithHint("Make room on the disk that has the host's folder.")
	}
	return fault.New(fault.Transient, opRead, err)
}
