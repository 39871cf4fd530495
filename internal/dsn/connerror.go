package dsn

import (
	"errors"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/smartdr/smartdr/internal/fault"
)

// SQLSTATEs that a connection attempt can end with (the manual's appendix "PostgreSQL Error Codes").
const (
	invalidPassword       = "28P01"
	invalidAuthorization  = "28000" // no hba rule, or no such role
	invalidCatalogName    = "3D000"
	insufficientPrivilege = "42501"
	tooManyConnections    = "53300"
	cannotConnectNow      = "57P03"
)

// ConnectError gives an error of a connection attempt its kind and a hint. What may pass by itself is
// fault.Transient: nobody listens, the server starts up, all connections are taken.
func ConnectError(op string, err error) error {
	if err == nil {
		return nil
	}
	err = redacted(err)
	var pgErr *pgconn.PgError
	if !errors.As(err, &pgErr) {
		return fault.New(fault.Transient, op, err).WithHint("Check that the server runs and that this host can reach it.")
	}
	return serverRefusal(op, err, pgErr)
}

func serverRefusal(op string, err error, pgErr *pgconn.PgError) error {
	switch pgErr.Code {
	case invalidPassword:
		return fault.New(fault.Invalid, op, err).WithHint("Check the user's password, and the place where the worker finds it.")
	case invalidAuthorization:
		return fault.New(fault.Invalid, op, err).WithHint("Check that the role exists, may log in, and that pg_hba.conf lets it in from this host; replication connections need a rule whose database is \"replication\".")
	case invalidCatalogName:
		return fault.New(fault.Invalid, op, err).WithHint("Name a database that exists in the connection string.")
	case insufficientPrivilege:
		return fault.New(fault.Invalid, op, err).WithHint("Grant it: ALTER ROLE ... REPLICATION.")
	case tooManyConnections:
		return fault.New(fault.Transient, op, err).WithHint("All connections are taken: raise max_connections, or max_wal_senders for replication.")
	case cannotConnectNow:
		return fault.New(fault.Transient, op, err).WithHint("The server starts, stops or recovers; it will answer later.")
	}
	return fault.New(fault.Transient, op, err)
}

// safeError shows a redacted text and keeps the tree for errors.As.
type safeError struct {
	text string
	err  error
}

func (e *safeError) Error() string { return e.text }
func (e *safeError) Unwrap() error { return e.err }

// redacted covers for drivers that quote connection strings.
func redacted(err error) error {
	text := Redact(err.Error())
	if text == err.Error() {
		return err
	}
	return &safeError{text, err}
}
