package metadata

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/smartdr/smartdr/internal/dsn"
)

// LossNotes asks a restored server, as a superuser, what came back otherwise than as rows: which unlogged tables and
// sequences are empty, since WAL holds nothing of them, and which prepared transactions are open, holding their locks. A
// database that cannot be looked at is a note.
func LossNotes(ctx context.Context, open Opener) ([]string, error) {
	notes, err := askDatabase(ctx, open, "postgres", preparedNotes)
	if err != nil {
		return nil, err
	}
	names, err := askDatabase(ctx, open, "postgres", readOpenDatabases)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		emptied, err := askDatabase(ctx, open, name, readEmptied)
		switch {
		case err != nil:
			notes = append(notes, fmt.Sprintf("needs attention: which tables of database %s are unlogged, and empty now, could not be read: %s", name, dsn.Redact(err.Error())))
		case len(emptied) > 0:
			notes = append(notes, fmt.Sprintf("needs attention: unlogged tables and sequences of database %s are empty, as after a crash, since WAL holds nothing of them: %s", name, shortened(emptied)))
		}
	}
	return notes, ctx.Err()
}

func readOpenDatabases(ctx context.Context, conn *pgx.Conn) ([]string, error) {
	rows, err := conn.Query(ctx, `select datname::text from pg_database where datallowconn and datconnlimit <> -2 order by 1`)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

// readEmptied names what is unlogged: whatever was in it on the primary, here it was made anew.
func readEmptied(ctx context.Context, conn *pgx.Conn) ([]string, error) {
	rows, err := conn.Query(ctx, `select format('%I.%I', n.nspname, c.relname) from pg_class c join pg_namespace n on n.oid = c.relnamespace
		where c.relpersistence = 'u' and c.relkind in ('r', 'm', 'S') order by 1`)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

// preparedNotes names the prepared transactions by database, the oldest first.
func preparedNotes(ctx context.Context, conn *pgx.Conn) (notes []string, err error) {
	rows, err := conn.Query(ctx, `select database::text, array_agg(gid order by prepared, gid), to_char(min(prepared) at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
		from pg_prepared_xacts group by 1 order by 1`)
	if err != nil {
		return nil, err
	}
	var database, oldest string
	var gids []string
	_, err = pgx.ForEachRow(rows, []any{&database, &gids, &oldest}, func() error {
		notes = append(notes, fmt.Sprintf("needs attention: prepared transactions are open in database %s and hold their locks (the oldest since %s): %s. Whoever prepared them ends each in that database by COMMIT PREPARED or ROLLBACK PREPARED",
			database, oldest, strings.Join(quoted(gids), ", ")))
		gids = nil
		return nil
	})
	return notes, err
}

func quoted(gids []string) (out []string) {
	for i, gid := range gids {
		if i == 20 {
			return append(out, fmt.Sprintf("and %d more (pg_prepared_xacts)", len(gids)-i))
		}
		out = append(out, literal(gid))
	}
	return out
}
