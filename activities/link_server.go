package activities

import (
	"context"
	"crypto/ecdh"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/smartdr/smartdr/internal/fault"
)

// serverName is the foreign server of a link's schema.
func serverName(schema string) string { return "smartdr_" + schema }

func serverMark(branch string) string { return linkMark + "to branch " + branch }

func schemaMark(server string) string { return linkMark + "by server " + server }

func (s *Source) makeLink(ctx context.Context, in ShowLinkInput) (MadeLink, error) {
	l, err := s.linked(ctx, in.Group, in.Branch)
	if err != nil {
		return MadeLink{}, err
	}
	conn, err := s.servingDatabase(ctx, l.group, l.workspace, in.Database)
	if err != nil {
		return MadeLink{}, err
	}
	defer conn.Close(context.WithoutCancel(ctx)) //nolint:errcheck // all was said
	made := MadeLink{Server: serverName(in.Schema)}
	login := "password_required 'false'"
	password := ""
	if !in.Access.Peer {
		login = ""
		if made.Key, password, err = halfOf(in.Access.Key); err != nil {
			return made, err
		}
	}
	err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		if err := makeServer(ctx, tx, in, made.Server); err != nil {
			return err
		}
		return makeMapping(ctx, tx, made.Server, in.Access.User, login, password)
	})
	return made, linkError(err)
}

// halfOf makes a key pair for one use, and returns its public key and the password that follows from it and the branch's.
func halfOf(branch string) (public, password string, err error) {
	key, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		return "", "", fault.New(fault.Transient, "make key of link", err)
	}
	password, err = agreed(key, branch)
	return encodeKey(key.PublicKey()), password, err
}

// makeServer makes a link's foreign server, or points it to where the branch is now.
func makeServer(ctx context.Context, tx pgx.Tx, in ShowLinkInput, server string) error {
	if _, err := tx.Exec(ctx, "set local client_min_messages = warning; create extension if not exists postgres_fdw"); err != nil {
		return err
	}
	there, err := ours(ctx, tx, "select obj_description(oid, 'pg_foreign_server') from pg_foreign_server where srvname = $1", server, "foreign server "+server)
	if err != nil {
		return err
	}
	verb, add := "create server "+quoteIdent(server)+" foreign data wrapper postgres_fdw", ""
	if there {
		verb, add = "alter server "+quoteIdent(server), "set "
	}
	var options []string
	for _, o := range [][2]string{
		{"host", in.Access.Host}, {"port", fmt.Sprint(in.Access.Port)}, {"dbname", in.Of}, {"application_name", "smartdr link " + in.Schema}, {"connect_timeout", "10"},
		// A link is for reading: large pieces at a time, with plans by what the branch's server knows of its tables.
		{"updatable", "false"}, {"truncatable", "false"}, {"fetch_size", "10000"}, {"use_remote_estimate", "true"},
	} {
		options = append(options, add+o[0]+" "+quoteText(o[1]))
	}
	_, err = tx.Exec(ctx, fmt.Sprintf("%s options (%s); comment on server %s is %s", verb, strings.Join(options, ", "), quoteIdent(server), quoteText(serverMark(in.Branch))))
	return err
}

// makeMapping makes what everybody logs in with through a foreign server; whoever may read a table of it is decided by that table. The
// password is in no statement that the server could log, show or count, nor in what it says of one that fails inside of another.
func makeMapping(ctx context.Context, tx pgx.Tx, server, user, option, password string) error {
	target := "for public server " + quoteIdent(server)
	if _, err := tx.Exec(ctx, "drop user mapping if exists "+target); err != nil {
		return err
	}
	options := "user " + quoteText(user)
	if option != "" {
		options += ", " + option
	}
	statement := fmt.Sprintf("create user mapping %s options (%s", target, options)
	if password == "" {
		_, err := tx.Exec(ctx, statement+")")
		return err
	}
	if _, err := tx.Exec(ctx, "set local log_parameter_max_length = 0; set local log_parameter_max_length_on_error = 0; set local log_statement = none; "+
		"set local log_min_duration_statement = -1; set local log_min_error_statement = panic; set local pg_stat_statements.track_utility = off; set local pgaudit.log = none"); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, "select set_config('smartdr.half', $1, true)", password); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, fmt.Sprintf("do $smartdr$ begin execute %s || ', password ' || quote_literal(current_setting('smartdr.half')) || ')'; "+
		"exception when others or query_canceled then raise exception using errcode = sqlstate, message = sqlerrm; end $smartdr$; set local smartdr.half = ''",
		quoteText(statement)))
	return err
}

// ours reports whether something is there, and refuses what SmartDR did not make.
func ours(ctx context.Context, tx pgx.Tx, query, name, what string) (bool, error) {
	var comment *string
	err := tx.QueryRow(ctx, query, name).Scan(&comment)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return false, nil
	case err != nil:
		return false, err
	case comment == nil || !strings.HasPrefix(*comment, linkMark):
		return false, fault.Newf(fault.Taken, opLink, "there is a %s already that SmartDR did not make", what).WithHint("Choose another schema for the link.")
	}
	return true, nil
}

func quoteText(s string) string {
	quoted := "'" + strings.ReplaceAll(s, "'", "''") + "'"
	if strings.Contains(s, `\`) {
		return "E" + strings.ReplaceAll(quoted, `\`, `\\`)
	}
	return quoted
}

// linkError says what can be done about an error of a server that serves.
func linkError(err error) error {
	var pg *pgconn.PgError
	switch {
	case !errors.As(err, &pg):
		return err
	case pg.Code == "08001": // sqlclient_unable_to_establish_sqlconnection
		return fault.Newf(fault.Invalid, opLink, "the server that serves does not reach the branch: %s", strings.TrimSpace(pg.Detail)).
			WithHint("Let the host of the server that serves through the group's firewall, or attach the branch on that host.")
	case pg.Code == "2BP01": // dependent_objects_still_exist
		return fault.Newf(fault.Invalid, opLink, "something else uses what the link made, or lies in its schema: %s", pg.Detail).WithHint("Move or drop these first.")
	}
	return sqlError(opLink, err)
}
