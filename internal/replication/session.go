package replication

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/smartdr/smartdr/internal/dsn"
)

// inRecovery reports whether the server was a standby when the connection was made. Since version 14 it says so by
// itself (in_hot_standby is reported), which spares a query that a replication connection could not run.
func inRecovery(pg *pgconn.PgConn) bool { return pg.ParameterStatus("in_hot_standby") == "on" }

// validator implements target_session_attrs on a replication connection. The driver's own validators for "primary"
// and "standby" run a SELECT, which fails there.
func validator(attrs string) pgconn.ValidateConnectFunc {
	switch attrs {
	case "any":
		return nil
	case "read-write":
		return pgconn.ValidateConnectTargetSessionAttrsReadWrite
	case "read-only":
		return pgconn.ValidateConnectTargetSessionAttrsReadOnly
	case "primary":
		return func(_ context.Context, pg *pgconn.PgConn) error { return refuseIf(inRecovery(pg), "a standby") }
	case "standby":
		return func(_ context.Context, pg *pgconn.PgConn) error { return refuseIf(!inRecovery(pg), "a primary") }
	}
	return func(context.Context, *pgconn.PgConn) error {
		return fmt.Errorf("target_session_attrs=%s is not supported on replication connections", attrs)
	}
}

// open connects to the first host that target_session_attrs accepts. For prefer-standby it asks twice, first for a
// standby: the driver's own way needs an error that only its validator can make.
func open(ctx context.Context, cfg *pgconn.Config) (*pgconn.PgConn, error) {
	attrs := dsn.TargetSessionAttrs(cfg)
	if attrs == "prefer-standby" {
		cfg.ValidateConnect = validator("standby")
		if pg, err := pgconn.ConnectConfig(ctx, cfg); err == nil {
			return pg, nil
		}
		attrs = "any"
	}
	cfg.ValidateConnect = validator(attrs)
	return pgconn.ConnectConfig(ctx, cfg)
}

func refuseIf(wrong bool, what string) error {
	if wrong {
		return errors.New("the server is " + what)
	}
	return nil
}
