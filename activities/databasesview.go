package activities

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/smartdr/smartdr/internal/dsn"
	"github.com/smartdr/smartdr/internal/topology"
)

const (
	// viewSchema is the schema, in a workspace's maintenance database, of what SmartDR shows there.
	viewSchema = "smartdr"
	// viewMark begins the comments on what SmartDR made there.
	viewMark = "SmartDR: "
	// maintenanceDatabase is where somebody in psql looks first.
	maintenanceDatabase = "postgres"
	// showEvery is how soon the view shows what is new. Each look reads the tails that are not complete from the buckets.
	showEvery = captureEvery
)

// shownDatabase is a row of the view smartdr.databases. It has no numbers that move without anything having happened.
type shownDatabase struct {
	Name     string              `json:"name"`
	Kind     topology.ListedKind `json:"kind"`
	State    string              `json:"state"`
	Origin   string              `json:"origin,omitempty"`
	LSN      string              `json:"recovery_point_lsn,omitempty"`
	Time     time.Time           `json:"recovery_point_time,omitzero"`
	Since    time.Time           `json:"since,omitzero"`
	Waiting  *int64              `json:"transactions_waiting,omitempty"`
	Bytes    *int64              `json:"bytes_waiting,omitempty"`
	Endpoint string              `json:"endpoint,omitempty"`
	ReadOnly bool                `json:"read_only,omitempty"`
	Reason   string              `json:"reason,omitempty"`
	Hint     string              `json:"hint,omitempty"`
}

const viewColumns = `name text, kind text, state text, origin text, recovery_point_lsn pg_lsn, recovery_point_time timestamptz, since timestamptz,
	transactions_waiting bigint, bytes_waiting bigint, endpoint text, read_only boolean, reason text, hint text`

// shower keeps the view of one workspace's server.
type shower struct {
	next   time.Time
	silent bool // there is neither a view nor anything that it would show besides the server's own databases
	warned bool
}

// show keeps the view smartdr.databases up to date. The view holds its rows itself: a table could be part of somebody's publication. It is
// made when there is something to show besides the server's own databases, and changed when that changes. What stands in the way is said
// once, and is no reason not to capture.
func (c *capturer) show(ctx context.Context, in SourceInput, sub subject, conn *pgx.Conn) {
	if time.Now().Before(c.view.next) {
		return
	}
	c.view.next = time.Now().Add(showEvery)
	err := c.showNow(ctx, in, sub, conn)
	if err != nil && ctx.Err() == nil && !c.view.warned {
		c.view.warned = true
		c.Log.WarnContext(ctx, "the view smartdr.databases is not kept", "group", in.Group, "workspace", in.Workspace, "error", dsn.Redact(err.Error()))
	}
}

func (c *capturer) showNow(ctx context.Context, in SourceInput, sub subject, conn *pgx.Conn) error {
	var listed []topology.Listed
	if len(sub.group.SystemManaged)+len(sub.group.Branches) > 0 {
		tails, err := c.Catalog.Tails(ctx, &sub.group, in.Workspace)
		if err != nil {
			return err
		}
		listed = sub.group.ListedOf(in.Workspace, tails)
	}
	if len(listed) == 0 && c.view.silent {
		return nil
	}
	at, err := maintenance(ctx, conn)
	if err != nil {
		return err
	}
	if at != conn {
		defer at.Close(context.WithoutCancel(ctx)) //nolint:errcheck // all was said
	}
	c.view.silent, err = putView(ctx, at, listed)
	return err
}

// maintenance connects to the maintenance database, unless the connection is one already or there is none.
func maintenance(ctx context.Context, conn *pgx.Conn) (*pgx.Conn, error) {
	if conn.Config().Database == maintenanceDatabase {
		return conn, nil
	}
	cfg := conn.Config().Copy()
	cfg.Database = maintenanceDatabase
	other, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return nil, dsn.ConnectError("connect to database "+maintenanceDatabase, err)
	}
	return other, nil
}

// putView makes the view show what is listed, and the databases of the server. silent: there is no view, and nothing to make one for.
func putView(ctx context.Context, conn *pgx.Conn, listed []topology.Listed) (silent bool, err error) {
	err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		_, err := tx.Exec(ctx, "set local client_min_messages = warning; set local lock_timeout = '2s'; set local statement_timeout = '10s'; set local synchronous_commit = off; set local search_path = pg_catalog")
		if err != nil {
			return err
		}
		there, err := viewThere(ctx, tx)
		if err != nil || !there && len(listed) == 0 {
			silent = !there
			return err
		}
		rows, err := shownRows(ctx, tx, listed)
		if err != nil {
			return err
		}
		return replaceView(ctx, tx, there, rows)
	})
	return silent && err == nil, err
}

// viewThere reports whether there is a schema for the view, and refuses one that SmartDR did not make, or may not.
func viewThere(ctx context.Context, tx pgx.Tx) (bool, error) {
	var comment *string
	err := tx.QueryRow(ctx, "select obj_description(oid, 'pg_namespace') from pg_namespace where nspname = $1", viewSchema).Scan(&comment)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		var may bool
		err := tx.QueryRow(ctx, "select has_database_privilege(current_database(), 'create') and not pg_is_in_recovery()").Scan(&may)
		if err == nil && !may {
			err = fmt.Errorf("role %s may not make a schema in database %s", tx.Conn().Config().User, tx.Conn().Config().Database)
		}
		return false, err
	case err == nil && (comment == nil || !strings.HasPrefix(*comment, viewMark)):
		return false, fmt.Errorf("there is a schema %s in database %s that SmartDR did not make", viewSchema, tx.Conn().Config().Database)
	}
	return err == nil, err
}

// shownRows returns the view's rows as JSON.
func shownRows(ctx context.Context, tx pgx.Tx, listed []topology.Listed) (string, error) {
	rows, err := tx.Query(ctx, "select datname from pg_database where datallowconn and not datistemplate order by 1")
	if err != nil {
		return "", err
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return "", err
	}
	var all []shownDatabase
	for _, name := range names {
		all = append(all, shownDatabase{Name: name, Kind: topology.AttachedKind, State: strings.ToLower(string(topology.Attached))})
	}
	for _, l := range listed {
		all = append(all, shown(l))
	}
	b, err := json.Marshal(all)
	return string(b), err
}

func shown(l topology.Listed) shownDatabase {
	s := shownDatabase{
		Name: l.Name, Kind: l.Kind, State: strings.ToLower(string(l.State)), Origin: l.Of, Since: l.Since.UTC().Truncate(time.Second), Time: l.Time.UTC().Truncate(time.Second),
		ReadOnly: l.ReadOnly, Reason: l.Reason, Hint: l.Hint,
	}
	if l.At.LSN != 0 {
		s.LSN = l.At.LSN.String()
	}
	if l.Kind == topology.SystemManagedKind {
		s.Waiting, s.Bytes = &l.Transactions, &l.Bytes
	}
	if len(l.Endpoint.Hosts) > 0 {
		s.Endpoint = net.JoinHostPort(l.Endpoint.Hosts[0].Host, strconv.Itoa(l.Endpoint.Hosts[0].Port))
	}
	return s
}

// replaceView makes the view hold other rows, unless it holds these.
func replaceView(ctx context.Context, tx pgx.Tx, there bool, rows string) error {
	mark := fmt.Sprintf("%sthe databases of this workspace, what is system-managed, and branches (%x)", viewMark, sha256.Sum256([]byte(viewColumns+rows)))
	if there {
		var comment *string
		err := tx.QueryRow(ctx, "select obj_description(to_regclass($1), 'pg_class')", viewSchema+".databases").Scan(&comment)
		if err != nil || comment != nil && *comment == mark {
			return err
		}
	} else if _, err := tx.Exec(ctx, fmt.Sprintf("create schema %[1]s; comment on schema %[1]s is '%[2]sshows what it knows of this workspace'; grant usage on schema %[1]s to public", viewSchema, viewMark)); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, fmt.Sprintf("create or replace view %[1]s.databases as select * from jsonb_to_recordset(%[2]s::jsonb) as d(%[3]s); grant select on %[1]s.databases to public; comment on view %[1]s.databases is %[4]s",
		viewSchema, quoteText(rows), viewColumns, quoteText(mark)))
	return err
}
