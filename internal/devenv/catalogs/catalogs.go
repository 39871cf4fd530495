// Package catalogs reads everything that a PostgreSQL server holds, as lines of text, and compares two servers. It asks the system
// catalogs by itself and trusts nothing of the product, so that tests and the demo can show what a failover brought back.
package catalogs

import (
	"context"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/smartdr/smartdr/internal/postgres"
)

// Inventory is what a server holds: lines under headings, each line with how often it was read.
type Inventory map[string]map[string]int

// Lines returns how many lines there are.
func (v Inventory) Lines() (n int) {
	for _, lines := range v {
		for _, times := range lines {
			n += times
		}
	}
	return n
}

// Take reads a whole server, but for databases that are left out and for tables named in skipped, as "transfers", whose rows
// change meanwhile; and for the view smartdr.databases, by which SmartDR shows there what it knows.
func Take(ctx context.Context, s *postgres.Server, leftOut, skipped []string) (Inventory, error) {
	v := Inventory{}
	var names []string
	err := with(ctx, s, "postgres", func(conn *pgx.Conn) (err error) {
		if names, err = lines(ctx, conn, `select datname::text from pg_database where datallowconn and not datistemplate`); err != nil {
			return err
		}
		r := reader{v, conn, "", s.Bin.Major()}
		return r.read(ctx, ofServer, true, leftOut)
	})
	for _, db := range names {
		if err != nil || slices.Contains(leftOut, db) {
			continue
		}
		err = with(ctx, s, db, func(conn *pgx.Conn) error {
			r := reader{v, conn, db + ": ", s.Bin.Major()}
			if err := r.read(ctx, ofDatabase, false, nil); err != nil {
				return err
			}
			return r.readContents(ctx, skipped)
		})
	}
	return v, err
}

func with(ctx context.Context, s *postgres.Server, database string, do func(*pgx.Conn) error) error {
	conn, err := s.Open(ctx, database)
	if err != nil {
		return fmt.Errorf("database %s: %w", database, err)
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }() // only read from
	if err := withoutView(ctx, conn, do); err != nil {
		return fmt.Errorf("database %s: %w", database, err)
	}
	return nil
}

// withoutView runs do where no catalog knows of the view smartdr.databases and its schema: in a transaction that drops both, if they are
// there, and is rolled back. All of it is seen as it is at one moment, since SmartDR may make the view meanwhile. Anything else in that
// schema is an error.
func withoutView(ctx context.Context, conn *pgx.Conn, do func(*pgx.Conn) error) error {
	for {
		var there bool
		if err := conn.QueryRow(ctx, isThere).Scan(&there); err != nil {
			return err
		}
		if as, err := during(ctx, conn, there, do); as || err != nil {
			return err
		}
	}
}

// isThere asks whether the view's schema is there. It reads the catalog itself, as whoever compares it does.
const isThere = "select exists (select from pg_namespace where nspname = 'smartdr')"

// during runs do in one transaction without the view, unless that has appeared, or gone, before the transaction began.
func during(ctx context.Context, conn *pgx.Conn, there bool, do func(*pgx.Conn) error) (as bool, err error) {
	tx, err := conn.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead})
	if err != nil {
		return false, err
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }() // nothing is to stay of it
	if there {
		if _, err := tx.Exec(ctx, "lock table smartdr.databases"); err != nil { // before the moment that the transaction sees
			return false, err
		}
	}
	var now bool
	if err := tx.QueryRow(ctx, isThere).Scan(&now); err != nil || now != there {
		return false, err
	}
	if there {
		if _, err := tx.Exec(ctx, "drop view smartdr.databases; drop schema smartdr"); err != nil {
			return false, err
		}
	}
	return true, do(conn)
}

// reader adds what one connection shows.
type reader struct {
	v      Inventory
	conn   *pgx.Conn
	prefix string // of its headings
	major  int
}

func (r reader) read(ctx context.Context, readings []reading, shared bool, leftOut []string) error {
	for _, q := range readings {
		if r.major < q.from {
			continue
		}
		if err := r.add(ctx, q.what, q.query); err != nil {
			return err
		}
	}
	tables, err := lines(ctx, r.conn, catalogTables, shared)
	for _, table := range tables {
		if err == nil {
			err = r.add(ctx, "rows of "+table, wholeCatalog(table), leftOut)
		}
	}
	return err
}

// readContents reads a digest of each table's rows. Unlogged tables do not outlive a crash.
func (r reader) readContents(ctx context.Context, skipped []string) error {
	tables, err := lines(ctx, r.conn, userTables, skipped)
	for _, table := range tables {
		if err == nil {
			err = r.add(ctx, "contents of "+table, contents(table))
		}
	}
	return err
}

func (r reader) add(ctx context.Context, what, query string, args ...any) error {
	found, err := lines(ctx, r.conn, query, args...)
	r.v[r.prefix+what] = map[string]int{}
	for _, l := range found {
		r.v[r.prefix+what][l]++
	}
	return err
}

// lines answers a query with one column of text.
func lines(ctx context.Context, conn *pgx.Conn, query string, args ...any) ([]string, error) {
	rows, err := conn.Query(ctx, query, args...)
	if err == nil {
		var all []string
		if all, err = pgx.CollectRows(rows, pgx.RowTo[string]); err == nil {
			return all, nil
		}
	}
	return nil, fmt.Errorf("%w\n%s", err, query)
}

// Differences lists what one inventory has and the other has not, each as "heading: - line" or "heading: + line", sorted.
func Differences(before, after Inventory) (found []string) {
	for what, then := range before {
		found = append(found, surplus(what, "-", then, after[what])...)
	}
	for what, now := range after {
		found = append(found, surplus(what, "+", now, before[what])...)
	}
	slices.Sort(found)
	return found
}

func surplus(what, sign string, in, over map[string]int) (found []string) {
	for line, n := range in {
		for range n - over[line] {
			found = append(found, fmt.Sprintf("%s: %s %s", what, sign, line))
		}
	}
	return found
}
