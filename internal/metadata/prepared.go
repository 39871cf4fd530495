package metadata

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"
)

// PreparedTransaction waits for COMMIT PREPARED or ROLLBACK PREPARED, and holds its locks until then, after a failover too.
type PreparedTransaction struct {
	GID      string    `json:"gid"`
	Database string    `json:"database"`
	Since    time.Time `json:"since"`
}

// readPrepared passes over those of the last minute: where two-phase commit is in use some are always open.
func (c *capture) readPrepared(ctx context.Context) error {
	rows, err := c.tx.Query(ctx, `select gid, database, prepared from pg_prepared_xacts where prepared < now() - interval '1 minute' order by prepared, gid limit 20`)
	if err != nil {
		return err
	}
	c.m.Prepared, err = pgx.CollectRows(rows, pgx.RowToStructByPos[PreparedTransaction])
	return err
}
