package activities

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/smartdr/smartdr/internal/fault"
)

func (s *Source) removeLink(ctx context.Context, in RemoveLinkInput) error {
	loaded, err := s.Catalog.Load(ctx, in.Group)
	if err != nil {
		return err
	}
	w := loaded.Group.Workspace(in.Workspace)
	if w == nil {
		return fault.Newf(fault.Missing, opLink, "group %s has no workspace %q", in.Group, in.Workspace)
	}
	conn, err := s.servingDatabase(ctx, loaded.Group, *w, in.Link.Database)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx)) //nolint:errcheck // all was said
	server := serverName(in.Link.Schema)
	return linkError(pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		there, err := ours(ctx, tx, "select obj_description(oid, 'pg_foreign_server') from pg_foreign_server where srvname = $1", server, "foreign server "+server)
		if err != nil || !there {
			return err
		}
		if _, err := tx.Exec(ctx, "set local client_min_messages = warning; set local statement_timeout = 0; set local lock_timeout = '10s'"); err != nil {
			return err
		}
		if err := dropLinked(ctx, tx, server); err != nil {
			return err
		}
		q := quoteIdent(server)
		_, err = tx.Exec(ctx, fmt.Sprintf("drop user mapping if exists for public server %s; drop server %s", q, q))
		return err
	}))
}

// dropLinked drops the foreign tables of a link, and its schemas. What somebody else made there, or made of these, is not dropped: the
// server refuses then, and names it.
func dropLinked(ctx context.Context, tx pgx.Tx, server string) error {
	rows, err := tx.Query(ctx, `select format('%I.%I', nspname, relname) from pg_foreign_table t join pg_foreign_server s on s.oid = ftserver
		join pg_class c on c.oid = ftrelid join pg_namespace n on n.oid = relnamespace
		where srvname = $1 and obj_description(n.oid, 'pg_namespace') = $2 order by 1`, server, schemaMark(server))
	if err != nil {
		return err
	}
	tables, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return err
	}
	for piece := range slices.Chunk(tables, importPiece) {
		if _, err := tx.Exec(ctx, "drop foreign table "+strings.Join(piece, ", ")); err != nil {
			return err
		}
	}
	rows, err = tx.Query(ctx, "select format('%I', nspname) from pg_namespace where obj_description(oid, 'pg_namespace') = $1 order by 1", schemaMark(server))
	if err != nil {
		return err
	}
	schemas, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil || len(schemas) == 0 {
		return err
	}
	_, err = tx.Exec(ctx, "drop schema "+strings.Join(schemas, ", "))
	return err
}
