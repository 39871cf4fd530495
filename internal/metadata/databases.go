package metadata

import (
	"context"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/smartdr/smartdr/internal/dsn"
)

// readDatabases reads pg_database. datconnlimit -2 is what an interrupted DROP DATABASE leaves (src/include/catalog/pg_database.h).
func (c *capture) readDatabases(ctx context.Context) error {
	rows, err := c.tx.Query(ctx, `select datname, oid, case when has_database_privilege(oid, 'connect') or pg_has_role('pg_read_all_stats', 'usage')
			then coalesce(pg_database_size(oid), -1) else -1 end,
		datistemplate, datallowconn, datconnlimit = -2, datlocprovider::text, datcollate, datctype, coalesce(datcollversion, ''),
		coalesce(pg_database_collation_actual_version(oid), '')
		from pg_database order by oid`)
	if err != nil {
		return err
	}
	c.m.Databases, err = pgx.CollectRows(rows, pgx.RowToStructByPos[Database])
	for _, d := range c.m.Databases {
		if d.CollationVersion != "" && d.CollationActual != "" && d.CollationVersion != d.CollationActual {
			c.note("database %s was made with collation version %s and runs with %s: indexes on text may be in the wrong order; REINDEX it, then ALTER DATABASE %s REFRESH COLLATION VERSION;",
				d.Name, d.CollationVersion, d.CollationActual, identifier(d.Name))
		}
		if d.Invalid {
			c.note("database %s is what an interrupted DROP DATABASE left; run: DROP DATABASE %s;", d.Name, identifier(d.Name))
		}
	}
	return err
}

// readEachDatabase reads what only a connection to each database shows.
func (c *capture) readEachDatabase(ctx context.Context) error {
	c.m.Extensions = []Extension{}
	for _, d := range c.m.Databases {
		if d.Template || !d.AllowConnections || d.Invalid {
			continue
		}
		if err := c.readDatabase(ctx, d.Name); ctx.Err() != nil {
			return dsn.ConnectError(opCapture, ctx.Err())
		} else if err != nil {
			c.m.Unread = append(c.m.Unread, d.Name)
			c.note("what database %s holds could not be read: %s", d.Name, dsn.Redact(err.Error()))
		}
	}
	return nil
}

// readDatabase keeps nothing of a database that could be read in part only.
func (c *capture) readDatabase(ctx context.Context, name string) error {
	conn, done, err := inDatabase(ctx, c.conn, name)
	if err != nil {
		return err
	}
	defer done()
	before := c.m
	before.Pipelines.Subscriptions = slices.Clone(before.Pipelines.Subscriptions)
	for _, read := range []func(context.Context, *pgx.Conn, string) error{c.readExtensions, c.readCollations, c.readPipelines, c.readUnlogged} {
		if err := read(ctx, conn, name); err != nil {
			c.m = before
			return err
		}
	}
	return nil
}

func (c *capture) readExtensions(ctx context.Context, conn *pgx.Conn, _ string) error {
	rows, err := conn.Query(ctx, `select current_database()::text, extname::text, extversion from pg_extension order by extname`)
	if err != nil {
		return err
	}
	return collect(rows, &c.m.Extensions)
}

func (c *capture) readUnlogged(ctx context.Context, conn *pgx.Conn, name string) error {
	var n int
	err := conn.QueryRow(ctx, `select count(*) from pg_class where relpersistence = 'u' and relkind in ('r', 'p', 'm')`).Scan(&n)
	if n > 0 {
		c.m.Unlogged = append(c.m.Unlogged, Unlogged{name, n})
		c.note("database %s has %d unlogged tables: they are empty after a failover", name, n)
	}
	return err
}
