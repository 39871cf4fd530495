package metadata

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/smartdr/smartdr/internal/dsn"
)

// Collation is one that columns or indexes of a database use, beside the database's own.
type Collation struct {
	Database string `json:"database"`
	Name     string `json:"name"`              // as SQL writes it
	Provider string `json:"provider"`          // c, i or b
	Locale   string `json:"locale"`            // of the provider
	Version  string `json:"version,omitempty"` // recorded when it was made; empty is unknown
	Actual   string `json:"actual,omitempty"`  // of the library that the server runs with
}

// usedCollations leaves out those that sort by bytes. The provider's name of a locale is in another column since 17.
const usedCollations = `select current_database()::text, quote_ident(n.nspname) || '.' || quote_ident(c.collname), c.collprovider::text,
	coalesce(to_jsonb(c) ->> 'colllocale', to_jsonb(c) ->> 'colliculocale', c.collcollate, ''),
	coalesce(c.collversion, ''), coalesce(pg_collation_actual_version(c.oid), '')
	from pg_collation c join pg_namespace n on n.oid = c.collnamespace
	where c.collprovider in ('c', 'i') and coalesce(c.collcollate, '') not in ('C', 'POSIX') and exists (select from pg_attribute a where a.attcollation = c.oid and a.attrelid >= 16384)
	order by 2`

func (c *capture) readCollations(ctx context.Context, conn *pgx.Conn, _ string) error {
	used, err := readCollations(ctx, conn)
	c.m.Collations = append(c.m.Collations, used...)
	return err
}

func readCollations(ctx context.Context, conn *pgx.Conn) ([]Collation, error) {
	rows, err := conn.Query(ctx, usedCollations)
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowToStructByPos[Collation])
}

// CollationNotes asks a restored server, as a superuser, where the libraries that sort text have other versions than those
// that its indexes were built with, and says what to do. open connects to a database. A database
// that cannot be looked at is a note.
func CollationNotes(ctx context.Context, open func(ctx context.Context, database string) (*pgx.Conn, error)) ([]string, error) {
	all, err := askDatabase(ctx, open, "postgres", readCollatedDatabases)
	if err != nil {
		return nil, err
	}
	var notes []string
	for _, d := range all {
		if note := d.collationNote(); note != "" {
			notes = append(notes, note)
		}
		if !d.AllowConnections || d.Invalid {
			continue
		}
		used, err := askDatabase(ctx, open, d.Name, readCollations)
		if err != nil { // one database must not keep users out of the others
			notes = append(notes, fmt.Sprintf("needs attention: by which libraries the indexes of database %s are sorted could not be read: %s", d.Name, dsn.Redact(err.Error())))
			continue
		}
		notes = append(notes, collationNotes(d.Name, used)...)
	}
	return notes, ctx.Err()
}

func askDatabase[T any](ctx context.Context, open func(context.Context, string) (*pgx.Conn, error), database string, read func(context.Context, *pgx.Conn) (T, error)) (out T, err error) {
	conn, err := open(ctx, database)
	if err != nil {
		return out, err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }() // only read from
	out, err = read(ctx, conn)
	return out, dsn.ConnectError("compare collations", err)
}

func readCollatedDatabases(ctx context.Context, conn *pgx.Conn) ([]Database, error) {
	rows, err := conn.Query(ctx, `select datname, datlocprovider::text, datcollate, coalesce(datcollversion, ''), coalesce(pg_database_collation_actual_version(oid), ''),
		datallowconn, datconnlimit = -2 from pg_database order by datname`)
	if err != nil {
		return nil, err
	}
	var all []Database
	var d Database
	_, err = pgx.ForEachRow(rows, []any{&d.Name, &d.Provider, &d.Collate, &d.CollationVersion, &d.CollationActual, &d.AllowConnections, &d.Invalid}, func() error {
		all = append(all, d)
		return nil
	})
	return all, err
}

// collationNote says what to do about a database's own collation; "" for nothing. PostgreSQL's own never change, and what
// sorts by bytes has no version.
func (d Database) collationNote() string {
	switch {
	case d.Name == "template0", d.Provider == "b", d.Provider == "c" && isC(d.Collate), d.CollationVersion != "" && d.CollationVersion == d.CollationActual:
		return ""
	case d.CollationVersion == "" || d.CollationActual == "":
		return fmt.Sprintf("it is not known by which version of %s the indexes of database %s were sorted: REINDEX DATABASE %s; makes sure", providerName(d.Provider), d.Name, identifier(d.Name))
	}
	return fmt.Sprintf("database %s was sorted by %s %s, and here is %s: indexes on text may be in the wrong order; run REINDEX DATABASE %s; then ALTER DATABASE %s REFRESH COLLATION VERSION;",
		d.Name, providerName(d.Provider), d.CollationVersion, d.CollationActual, identifier(d.Name), identifier(d.Name))
}

func collationNotes(database string, used []Collation) (notes []string) {
	var refresh []string
	for _, c := range used {
		if c.Version != c.Actual || c.Version == "" && !isC(c.Locale) {
			refresh = append(refresh, c.Name)
		}
	}
	slices.Sort(refresh)
	if len(refresh) == 0 {
		return nil
	}
	return []string{fmt.Sprintf("database %s uses collations that were made with another version of their library, or with one that is not known (%s): REINDEX the indexes that use them, then ALTER COLLATION ... REFRESH VERSION;",
		database, strings.Join(refresh, ", "))}
}

func providerName(provider string) string {
	switch provider {
	case "c":
		return "the system's library (libc)"
	case "i":
		return "ICU"
	}
	return "PostgreSQL itself"
}
