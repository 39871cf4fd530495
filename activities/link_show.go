package activities

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/smartdr/smartdr/internal/fault"
)

// maxName is the longest name of PostgreSQL, in bytes (NAMEDATALEN - 1).
const maxName = 63

func (s *Source) fillLink(ctx context.Context, in ShowLinkInput) (FilledLink, error) {
	l, err := s.linked(ctx, in.Group, in.Branch)
	if err != nil {
		return FilledLink{}, err
	}
	if l.branch.Attached.ID != in.Access.Attachment {
		return FilledLink{}, fault.Newf(fault.Invalid, opLink, "branch %s was attached anew meanwhile", in.Branch).WithHint("Link it again.")
	}
	conn, err := s.servingDatabase(ctx, l.group, l.workspace, in.Database)
	if err != nil {
		return FilledLink{}, err
	}
	defer conn.Close(context.WithoutCancel(ctx)) //nolint:errcheck // all was said
	f := &filler{server: serverName(in.Schema), schema: in.Schema}
	err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error { return f.fill(ctx, tx) })
	return f.FilledLink, linkError(err)
}

// filler makes the schemas of a link in one transaction.
type filler struct {
	FilledLink
	server, schema string
	tables         []linkedTable
	roles          map[string]bool // of the server that serves; true: a superuser
}

// linkedTable is a table of the branch.
type linkedTable struct {
	schema, name, owner string
	secured             bool // by rows
	acl                 []string
}

func (f *filler) fill(ctx context.Context, tx pgx.Tx) error {
	if _, err := tx.Exec(ctx, "set local client_min_messages = warning; set local statement_timeout = 0; set local lock_timeout = '10s'; set local search_path = pg_catalog"); err != nil {
		return err
	}
	if err := dropLinked(ctx, tx, f.server); err != nil {
		return err
	}
	for _, read := range []func(context.Context, pgx.Tx) error{f.makeSchema(f.schema), f.readTables, f.readRoles} {
		if err := read(ctx, tx); err != nil {
			return err
		}
	}
	if err := f.importAll(ctx, tx); err != nil {
		return err
	}
	if f.Tables == 0 && len(f.Notes) == 0 {
		f.Notes = append(f.Notes, "the branch's database has no tables")
	}
	return nil
}

// makeSchema makes a schema of the link, into which everybody may look: what may be read is decided table by table.
func (f *filler) makeSchema(name string) func(context.Context, pgx.Tx) error {
	return func(ctx context.Context, tx pgx.Tx) error {
		if len(name) > maxName {
			return fault.Newf(fault.Invalid, opLink, "the name of schema %q would be longer than %d bytes", name, maxName).WithHint("Choose a shorter schema for the link.")
		}
		var there bool
		if err := tx.QueryRow(ctx, "select exists (select from pg_namespace where nspname = $1)", name).Scan(&there); err != nil {
			return err
		}
		if there { // what the link had made there is gone by now
			return fault.Newf(fault.Taken, opLink, "there is a schema %q already", name).WithHint("Choose another schema for the link.")
		}
		q := quoteIdent(name)
		_, err := tx.Exec(ctx, fmt.Sprintf("create schema %s; comment on schema %s is %s; grant usage on schema %s to public", q, q, quoteText(schemaMark(f.server)), q))
		return err
	}
}

// readTables reads which tables the branch has, and who may read them there: through the link itself, by its catalogs.
func (f *filler) readTables(ctx context.Context, tx pgx.Tx) error {
	q := quoteIdent(f.schema)
	var made []string
	for _, t := range [][2]string{
		{"pg_class", `oid oid, relname text, relnamespace oid, relowner oid, relkind "char", relispartition bool, relrowsecurity bool, relacl text`},
		{"pg_namespace", "oid oid, nspname text"}, {"pg_roles", "oid oid, rolname text"},
	} {
		made = append(made, q+"."+t[0])
		if _, err := tx.Exec(ctx, fmt.Sprintf("create foreign table %s.%s (%s) server %s options (schema_name 'pg_catalog', table_name '%s', use_remote_estimate 'false')",
			q, t[0], t[1], quoteIdent(f.server), t[0])); err != nil {
			return err
		}
	}
	rows, err := tx.Query(ctx, fmt.Sprintf(`select nspname, relname, rolname, relrowsecurity, relacl::text[] from %[1]s.pg_class c
		join %[1]s.pg_namespace n on n.oid = relnamespace join %[1]s.pg_roles r on r.oid = relowner
		where relkind in ('r', 'p', 'm') and not relispartition and nspname not like 'pg\_%%' and nspname not in ('information_schema', '%[2]s')
		order by nspname <> 'public', nspname, relname`, q, viewSchema))
	if err != nil {
		return err
	}
	f.tables, err = pgx.CollectRows(rows, func(r pgx.CollectableRow) (t linkedTable, err error) {
		return t, r.Scan(&t.schema, &t.name, &t.owner, &t.secured, &t.acl)
	})
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, "drop foreign table "+strings.Join(made, ", "))
	return err
}

func (f *filler) readRoles(ctx context.Context, tx pgx.Tx) error {
	rows, err := tx.Query(ctx, "select rolname, rolsuper from pg_roles")
	if err != nil {
		return err
	}
	f.roles = map[string]bool{}
	var name string
	var super bool
	_, err = pgx.ForEachRow(rows, []any{&name, &super}, func() error { f.roles[name] = super; return nil })
	return err
}

// importPiece is how many tables are imported by one statement.
const importPiece = 200

func (f *filler) importAll(ctx context.Context, tx pgx.Tx) error {
	for begin := 0; begin < len(f.tables); {
		end := begin + 1
		for end < len(f.tables) && f.tables[end].schema == f.tables[begin].schema {
			end++
		}
		of := f.tables[begin].schema
		into := f.schema
		if of != "public" {
			into = f.schema + "_" + of
			if err := f.makeSchema(into)(ctx, tx); err != nil {
				return err
			}
		}
		for piece := range slices.Chunk(f.tables[begin:end], importPiece) {
			if err := f.importTables(ctx, tx, piece, into); err != nil {
				return err
			}
		}
		begin = end
	}
	return nil
}

// importTables imports tables of one schema. Where one of them cannot be shown, as for a type that is not here, the others are.
func (f *filler) importTables(ctx context.Context, tx pgx.Tx, tables []linkedTable, into string) error {
	err := f.importThese(ctx, tx, tables, into)
	var pg *pgconn.PgError
	switch {
	case err == nil:
		f.Tables += len(tables)
		return nil
	case !errors.As(err, &pg) || strings.HasPrefix(pg.Code, "08") || strings.HasPrefix(pg.Code, "57") || strings.HasPrefix(pg.Code, "53"):
		return err
	case len(tables) == 1:
		f.Notes = append(f.Notes, fmt.Sprintf("table %s.%s is not shown: %s", tables[0].schema, tables[0].name, pg.Message))
		return nil
	}
	half := len(tables) / 2
	if err := f.importTables(ctx, tx, tables[:half], into); err != nil {
		return err
	}
	return f.importTables(ctx, tx, tables[half:], into)
}

func (f *filler) importThese(ctx context.Context, tx pgx.Tx, tables []linkedTable, into string) error {
	var names, grants []string
	for _, t := range tables {
		names = append(names, quoteIdent(t.name))
		if readers := f.readers(t); len(readers) > 0 {
			grants = append(grants, fmt.Sprintf("grant select on %s.%s to %s", quoteIdent(into), quoteIdent(t.name), strings.Join(readers, ", ")))
		}
	}
	return pgx.BeginFunc(ctx, tx, func(tx pgx.Tx) error { // a savepoint
		_, err := tx.Exec(ctx, fmt.Sprintf("import foreign schema %s limit to (%s) from server %s into %s options (import_generated 'false')",
			quoteIdent(tables[0].schema), strings.Join(names, ", "), quoteIdent(f.server), quoteIdent(into)))
		if err == nil && len(grants) > 0 {
			_, err = tx.Exec(ctx, strings.Join(grants, "; "))
		}
		return err
	})
}

// readers are the roles here that may read a table in the branch: the link shows nobody more than that. Of a table that is secured by rows
// only its owner sees all.
func (f *filler) readers(t linkedTable) (all []string) {
	add := func(role string) {
		if super, known := f.roles[role]; known && !super && !slices.Contains(all, quoteIdent(role)) {
			all = append(all, quoteIdent(role))
		}
	}
	if add(t.owner); t.secured {
		return all
	}
	for _, item := range t.acl {
		if role, privileges := grantee(item); strings.Contains(privileges, "r") {
			if role == "" {
				return append(all, "public")
			}
			add(role)
		}
	}
	return all
}

// grantee reads an aclitem as PostgreSQL writes it: grantee=privileges/grantor, the grantee in double quotes where it has other than
// letters, digits and underscores, and empty for everybody.
func grantee(item string) (role, privileges string) {
	if strings.HasPrefix(item, `"`) {
		for i := 1; i < len(item); i++ {
			if item[i] != '"' {
				continue
			}
			if i+1 < len(item) && item[i+1] == '"' {
				i++
				continue
			}
			privileges, _, _ = strings.Cut(strings.TrimPrefix(item[i+1:], "="), "/")
			return strings.ReplaceAll(item[1:i], `""`, `"`), privileges
		}
	}
	role, rest, _ := strings.Cut(item, "=")
	privileges, _, _ = strings.Cut(rest, "/")
	return role, privileges
}
