package activities

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/restore"
	"github.com/smartdr/smartdr/internal/ship"
)

// leftOutFile, in an instance's folder, says which databases are to be dropped and, once that is done, what came of it.
// After that nothing is ever dropped again: the users are in.
const leftOutFile = "leftout.json"

type leftOut struct {
	Databases []leftOutDatabase `json:"databases"`
	Done      bool              `json:"done"`
	Notes     []string          `json:"notes,omitempty"`
}

type leftOutDatabase struct {
	OID      uint32 `json:"oid"`
	Name     string `json:"name"`
	Template bool   `json:"template,omitempty"`
	Why      string `json:"why"`
}

// dropLeftOut drops the databases that are not replicated: those that were restored as zeros, copies of them, and those that
// were made or given up after the snapshot. The notes name them. It can be killed and called again.
func (t *Target) dropLeftOut(ctx context.Context, server *postgres.Server, in RestoreInput) (notes []string, err error) {
	var out leftOut
	found, err := readState(in.Place.Instance, leftOutFile, &out)
	if err != nil || out.Done {
		return out.Notes, err
	}
	conn, err := server.Open(ctx, "postgres")
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }() // every statement is its own transaction
	if !found {
		if out.Databases, err = t.findLeftOut(ctx, conn, server, in); err != nil {
			return nil, err
		}
		if err := writeState(in.Place.Instance, leftOutFile, out); err != nil {
			return nil, err
		}
	}
	for _, d := range out.Databases {
		note, err := d.drop(ctx, conn)
		if err != nil {
			return nil, err
		}
		out.Notes = append(out.Notes, note)
	}
	out.Done = true
	return out.Notes, writeState(in.Place.Instance, leftOutFile, out)
}

// findLeftOut judges every database by what is chosen now and by what its files are.
func (t *Target) findLeftOut(ctx context.Context, conn *pgx.Conn, server *postgres.Server, in RestoreInput) ([]leftOutDatabase, error) {
	loaded, err := t.Catalog.Load(ctx, in.Group)
	if err != nil {
		return nil, err
	}
	names, all := loaded.Group.Replication.Chosen(in.Plan.Workspace)
	rows, _ := conn.Query(ctx, `SELECT oid, datname::text, datistemplate, CASE WHEN datconnlimit = -2
		THEN 'a DROP DATABASE of the primary had not come to its end' ELSE '' END FROM pg_database ORDER BY oid`) // its error comes with the rows
	present, err := pgx.CollectRows(rows, pgx.RowToStructByPos[leftOutDatabase])
	if err != nil {
		return nil, fault.New(fault.Transient, "list databases", err)
	}
	var drop []leftOutDatabase
	for _, d := range present {
		chosen := all || slices.Contains(names, d.Name)
		if err := d.judge(server.DataDir, in.Plan, chosen); err != nil {
			return nil, err
		}
		if d.Why != "" {
			drop = append(drop, d)
		}
	}
	return drop, nil
}

// judge says why the database is to be dropped, if it is. Those that a server cannot do without never are.
func (d *leftOutDatabase) judge(dataDir string, plan WorkspacePlan, chosen bool) error {
	if ship.IsSystem(d.Name, d.OID) {
		d.Why = ""
		return nil
	}
	zeroed, err := restore.Zeroed(dataDir, d.OID)
	omitted := slices.ContainsFunc(plan.Omitted, func(o OmittedDatabase) bool { return o.OID == d.OID })
	switch {
	case err != nil:
		return err
	case d.Why != "":
	case zeroed && !omitted && slices.Contains(plan.Databases, d.Name):
		return fault.Newf(fault.Corrupt, "drop databases", "database %s is in snapshot %s, and its files are zeros", d.Name, plan.Snapshot)
	case omitted && chosen:
		d.Why = fmt.Sprintf("it was chosen after snapshot %s, which is without it", plan.Snapshot)
	case zeroed && !omitted:
		d.Why = fmt.Sprintf("it was copied file by file, after snapshot %s, from a database that is left out", plan.Snapshot)
	case omitted, !chosen && !d.Template:
		d.Why = "it is not replicated"
	}
	return nil
}

// dropTries is how often a database that somebody uses, an autovacuum worker as a rule, is tried to drop.
const dropTries = 5

// drop drops the database, or says why that cannot be: what somebody must decide does not hold up the others.
func (d leftOutDatabase) drop(ctx context.Context, conn *pgx.Conn) (note string, err error) {
	for try := 1; ; try++ {
		err := d.tryDrop(ctx, conn)
		var refused *pgconn.PgError
		if err == nil {
			return fmt.Sprintf("database %s was dropped: %s", d.Name, d.Why), nil
		}
		if !errors.As(err, &refused) {
			return "", fault.New(fault.Transient, "drop database "+d.Name, err)
		}
		prepared, err := d.prepared(ctx, conn)
		if err != nil || len(prepared) > 0 || refused.Code != pgObjectInUse || try == dropTries {
			return d.remains(refused, prepared), err
		}
		if pauseFor(ctx, time.Second); ctx.Err() != nil {
			return "", ctx.Err()
		}
	}
}

// prepared names the transactions that wait in the database for COMMIT PREPARED or ROLLBACK PREPARED.
func (d leftOutDatabase) prepared(ctx context.Context, conn *pgx.Conn) ([]string, error) {
	rows, _ := conn.Query(ctx, "SELECT gid FROM pg_prepared_xacts WHERE database = $1 ORDER BY gid", d.Name) // its error comes with the rows
	gids, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fault.New(fault.Transient, "list prepared transactions", err)
	}
	return gids, nil
}

// SQLSTATEs (src/backend/utils/errcodes.txt).
const pgObjectInUse = "55006"

func (d leftOutDatabase) tryDrop(ctx context.Context, conn *pgx.Conn) error {
	var there bool
	if err := conn.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_database WHERE oid = $1)", d.OID).Scan(&there); err != nil || !there {
		return err
	}
	name := pgx.Identifier{d.Name}.Sanitize()
	statements := []string{"DROP DATABASE " + name + " WITH (FORCE)"}
	if d.Template {
		statements = append([]string{"ALTER DATABASE " + name + " IS_TEMPLATE false"}, statements...)
	}
	if err := d.forgetSubscriptions(ctx, conn); err != nil {
		return err
	}
	for _, sql := range statements {
		if _, err := conn.Exec(ctx, sql); err != nil {
			return err
		}
	}
	return nil
}

// forgetSubscriptions removes subscriptions, which keep their database from being dropped: DROP SUBSCRIPTION wants a session in
// it, which zeros do not give. The publisher is not told: its slot may be the primary's still.
func (d leftOutDatabase) forgetSubscriptions(ctx context.Context, conn *pgx.Conn) error {
	return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		for _, sql := range []string{
			`SELECT pg_replication_origin_drop(o.roname) FROM pg_subscription s JOIN pg_replication_origin o ON o.roname = 'pg_' || s.oid WHERE s.subdbid = $1`,
			`DELETE FROM pg_shdepend WHERE classid = 'pg_subscription'::regclass AND objid IN (SELECT oid FROM pg_subscription WHERE subdbid = $1)`,
			`DELETE FROM pg_subscription WHERE subdbid = $1`,
		} {
			if _, err := tx.Exec(ctx, sql, d.OID); err != nil {
				return err
			}
		}
		return nil
	})
}

// remains says what keeps the database. A prepared transaction can only be ended by a session in its database, and zeros let
// nobody in.
func (d leftOutDatabase) remains(refused *pgconn.PgError, prepared []string) string {
	if len(prepared) == 0 {
		return fmt.Sprintf("database %s is still there although %s: %s", d.Name, d.Why, refused.Message)
	}
	return fmt.Sprintf("database %s is still there although %s: the prepared transactions %s are open in it; ROLLBACK PREPARED them in that database and drop it. If it lets nobody in, stop the server, move their files out of pg_twophase, start it and drop the database",
		d.Name, d.Why, strings.Join(prepared, ", "))
}
