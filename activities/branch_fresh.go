package activities

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/smartdr/smartdr/internal/postgres"
)

// freshFile, in a branch's folder, holds what its server said right before the first client got in.
const freshFile = "fresh.json"

// freshness tells whether anybody has written to a server: whatever is committed has a number, or was prepared before.
type freshness struct {
	NextXID  string `json:"nextXID"`
	Prepared int    `json:"prepared"` // transactions, which end without a number of their own
}

// markFresh notes what a branch's server says before anybody gets in. An attempt that comes after that notes nothing.
func markFresh(ctx context.Context, s *postgres.Server) error {
	if found, err := readState(s.InstanceDir(), freshFile, new(freshness)); err != nil || found {
		return err
	}
	f, err := freshnessOf(ctx, s)
	if err != nil {
		return err
	}
	return writeState(s.InstanceDir(), freshFile, f)
}

func freshnessOf(ctx context.Context, s *postgres.Server) (f freshness, err error) {
	err = ask(ctx, s, func(conn *pgx.Conn) error {
		return conn.QueryRow(ctx, "select pg_snapshot_xmax(pg_current_snapshot())::text, (select count(*) from pg_prepared_xacts)").Scan(&f.NextXID, &f.Prepared)
	})
	return f, err
}

// stillFresh reports whether nobody has committed anything since markFresh, for certain. Restore points have no number: branchWAL tells of
// those.
func stillFresh(ctx context.Context, s *postgres.Server) (bool, error) {
	var before freshness
	found, err := readState(s.InstanceDir(), freshFile, &before)
	if err != nil || !found {
		return false, err
	}
	now, err := freshnessOf(ctx, s)
	return err == nil && now == before && now.Prepared == 0, err
}
