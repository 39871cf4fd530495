package fence

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/postgres"
)

// holdSubscriptions keeps the workers of subscriptions from coming back where the server's command line decides over
// wal_retrieve_retry_interval, as it does on one that was restored and not restarted since. For good they are disabled, which is in
// the WAL of a lineage that nobody follows any more; for a while the catalog that they are started from is locked.
func (a *applying) holdSubscriptions(ctx context.Context) error {
	const op = "hold subscriptions"
	var held, none bool // by the setting, or by an earlier attempt that is guarded still
	err := a.QueryRow(ctx, `SELECT setting = $1 OR NOT $2 AND EXISTS (SELECT FROM pg_locks WHERE relation = 'pg_subscription'::regclass AND mode = 'AccessExclusiveLock' AND granted)
		FROM pg_settings WHERE name = 'wal_retrieve_retry_interval'`, never, a.options.ForGood).Scan(&held)
	if err == nil && !held { // for good, it waits here until a guard has seen from the mark that it is over
		err = a.QueryRow(ctx, `SELECT NOT EXISTS (SELECT FROM pg_subscription WHERE subenabled)`).Scan(&none)
	}
	if err != nil || held || none || a.inRecovery {
		return failed(op, err)
	}
	if a.options.ForGood {
		return a.disableSubscriptions(ctx)
	}
	conn, err := postgres.OpenPast(ctx, a.source)
	if err != nil {
		return err
	}
	_, err = conn.Exec(ctx, `SET lock_timeout = '5s'; SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0;
		BEGIN READ WRITE; LOCK TABLE pg_catalog.pg_subscription IN ACCESS EXCLUSIVE MODE`)
	if err != nil {
		_ = conn.Close(ctx)
		return failed(op, err)
	}
	a.result.held = conn
	return nil
}

func (a *applying) disableSubscriptions(ctx context.Context) error {
	const op = "disable subscriptions"
	rows, err := a.Query(ctx, `SELECT d.datname::text, format('ALTER SUBSCRIPTION %I DISABLE', s.subname) FROM pg_subscription s
		JOIN pg_database d ON d.oid = s.subdbid WHERE s.subenabled AND d.datallowconn ORDER BY 1, 2`)
	if err != nil {
		return failed(op, err)
	}
	type statement struct{ Database, SQL string }
	all, err := pgx.CollectRows(rows, pgx.RowToStructByPos[statement])
	if err != nil {
		return failed(op, err)
	}
	for _, s := range all {
		cfg := a.Config()
		cfg.Database = s.Database
		conn, err := pgx.ConnectConfig(ctx, cfg)
		if err != nil {
			return fault.New(fault.Transient, op, err)
		}
		_, err = conn.Exec(ctx, s.SQL)
		_ = conn.Close(ctx)
		if err != nil {
			return failed(op, err)
		}
	}
	return nil
}

// Close gives back what keeps subscriptions from running for a while. It may be called again.
func (r Result) Close(ctx context.Context) {
	if r.held != nil {
		_ = r.held.Close(ctx) // it has locked, and done nothing else
	}
}
