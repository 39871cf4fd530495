package topology_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/smartdr/smartdr/internal/postgres"
)

// inventory is what a server holds: lines under headings, each line with how often it was read.
type inventory map[string]map[string]int

// take reads a whole server, but for the databases that are left out.
func take(t *testing.T, s *postgres.Server, leftOut ...string) inventory {
	t.Helper()
	v := inventory{}
	conn := open(t, s, "postgres")
	v.readAll(t, conn, "", ofServer, s.Bin.Major())
	v.readCatalogs(t, conn, "", true)
	names := lines(t, conn, `select datname from pg_database where datallowconn and not datistemplate`)
	for _, db := range names {
		if slices.Contains(leftOut, db) {
			continue
		}
		conn := open(t, s, db)
		v.readAll(t, conn, db+": ", ofDatabase, s.Bin.Major())
		v.readCatalogs(t, conn, db+": ", false)
		v.readContents(t, conn, db+": ")
	}
	return v
}

func open(t *testing.T, s *postgres.Server, database string) *pgx.Conn {
	t.Helper()
	conn, err := s.Open(t.Context(), database)
	if err != nil {
		t.Fatalf("connect to database %s: %v", database, err)
	}
	t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(t.Context())) }) // it is only read from
	return conn
}

func (v inventory) readAll(t *testing.T, conn *pgx.Conn, prefix string, readings []reading, major int) {
	t.Helper()
	for _, r := range readings {
		if major >= r.from {
			v.add(prefix+r.what, lines(t, conn, r.query))
		}
	}
}

func (v inventory) readCatalogs(t *testing.T, conn *pgx.Conn, prefix string, shared bool) {
	t.Helper()
	rows, err := conn.Query(t.Context(), catalogTables)
	if err != nil {
		t.Fatal(err)
	}
	var table string
	var isShared bool
	var tables []string
	_, err = pgx.ForEachRow(rows, []any{&table, &isShared}, func() error {
		if isShared == shared {
			tables = append(tables, table)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, table := range tables {
		v.add(prefix+"rows of "+table, lines(t, conn, wholeCatalog(table)))
	}
}

// readContents reads a digest of every table's rows, save for the ledger's, which has a judge of its own.
func (v inventory) readContents(t *testing.T, conn *pgx.Conn, prefix string) {
	t.Helper()
	tables := lines(t, conn, `select oid::regclass::text from pg_class where relkind in ('r', 'm') and relpersistence = 'p' and relnamespace >= 16384
		or relkind = 'r' and relnamespace = 'public'::regnamespace and relname not in ('accounts', 'transfers', 'postings')`)
	for _, table := range tables {
		query := fmt.Sprintf(`select format('%%s rows, %%s', count(*), encode(sha256(convert_to(coalesce(string_agg(x::text, e'\n' order by x::text), ''), 'UTF8')), 'hex')) from %s x`, table)
		v.add(prefix+"contents of "+table, lines(t, conn, query))
	}
}

func (v inventory) add(what string, lines []string) {
	v[what] = map[string]int{}
	for _, l := range lines {
		v[what][l]++
	}
}

// lines answers a query with one column of text.
func lines(t *testing.T, conn *pgx.Conn, query string) []string {
	t.Helper()
	rows, err := conn.Query(t.Context(), query)
	if err == nil {
		var all []string
		if all, err = pgx.CollectRows(rows, pgx.RowTo[string]); err == nil {
			return all
		}
	}
	t.Fatalf("%v\n%s", err, query)
	return nil
}

// differences lists what one inventory has and the other has not, each as "heading: - line" or "heading: + line", sorted.
func differences(before, after inventory) (found []string) {
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

// expect fails the test for every difference that no documented beginning covers, and for every one of those that covers none.
func expect(t *testing.T, name string, found []string, documented ...string) {
	t.Helper()
	covered := map[string]bool{}
	for _, d := range found {
		i := slices.IndexFunc(documented, func(prefix string) bool { return strings.HasPrefix(d, prefix) })
		if i < 0 {
			t.Errorf("%s: %s", name, d)
			continue
		}
		covered[documented[i]] = true
	}
	for _, d := range documented {
		if !covered[d] {
			t.Errorf("%s: documented as different, and it is not: %s", name, d)
		}
	}
}
