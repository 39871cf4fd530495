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

// validator implements target_session_attrs on a replication connection. The driver's own validators ask with a SELECT,
// or with a SHOW in lower case, and a walsender takes neither.
func validator(attrs string) pgconn.ValidateConnectFunc {
	return func(ctx context.Context, pg *pgconn.PgConn) error {
		switch attrs {
		case "any":
			return nil
		case "primary":
			return refuseIf(inRecovery(pg), "a standby")
		case "standby":
			return refuseIf(!inRecovery(pg), "a primary")
		case "read-write", "read-only":
			readOnly, err := readOnly(ctx, pg)
			if err != nil {
				return err
			}
			return refuseIf(readOnly != (attrs == "read-only"), "not "+attrs)
		}
		return fmt.Errorf("target_session_attrs=%s is not supported on replication connections", attrs)
	}
}

func readOnly(ctx context.Context, pg *pgconn.PgConn) (bool, error) {
	results, err := pg.Exec(ctx, "SHOW transaction_read_only").ReadAll()
	if err != nil {
		return false, err
	}
	if len(results) != 1 || len(results[0].Rows) != 1 {
		return false, errors.New("SHOW transaction_read_only did not answer")
	}
	return string(results[0].Rows[0][0]) == "on", nil
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
