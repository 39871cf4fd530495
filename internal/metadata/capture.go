package metadata

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/smartdr/smartdr/internal/dsn"
)

const opCapture = "capture metadata"

// capture is one run: everything is read in one read-only transaction, save for what lies in other databases.
type capture struct {
	conn *pgx.Conn
	tx   pgx.Tx
	m    Metadata
}

// Capture reads a server's metadata. The role may be any that can connect; what it may not read is left out and said in
// Notes, with the GRANT that would help. It opens one more connection at a time, to each database in turn.
func Capture(ctx context.Context, conn *pgx.Conn) (Metadata, error) {
	c := &capture{conn: conn, m: Metadata{CapturedAt: time.Now().UTC()}}
	if err := c.run(ctx, c.readServer); err != nil {
		return Metadata{}, err
	}
	if err := c.readEachDatabase(ctx); err != nil {
		return Metadata{}, err
	}
	return c.m, nil
}

// run reads in one read-only transaction.
func (c *capture) run(ctx context.Context, read func(context.Context) error) error {
	err := pgx.BeginTxFunc(ctx, c.conn, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		c.tx = tx
		if _, err := tx.Exec(ctx, `set local statement_timeout = '60s'`); err != nil {
			return err
		}
		return read(ctx)
	})
	return dsn.ConnectError(opCapture, err)
}

func (c *capture) readServer(ctx context.Context) error {
	for _, read := range []func(context.Context) error{
		c.readIdentity, c.readSettings, c.readRoles, c.readDatabases, c.readTablespaces, c.readSubscriptions, c.readLogicalSlots, c.readPrepared,
	} {
		if err := read(ctx); err != nil {
			return err
		}
	}
	for _, o := range []struct {
		what, needs string
		read        func(context.Context, pgx.Tx) error
	}{
		{"the access rules (pg_hba.conf)", "pg_hba_file_rules()", c.readHBA},
		{"the user name maps (pg_ident.conf)", "pg_ident_file_mappings()", c.readIdent},
		{"the settings of databases and roles", "pg_db_role_setting", c.readRoleSettings},
		{"", "pg_show_all_file_settings()", c.readShadowed},
		{"the lines of the configuration files", "pg_show_all_file_settings()", c.readFileSettings},
		{"the system identifier", "pg_control_system()", c.readSystemID},
	} {
		if err := c.optional(ctx, o.what, o.needs, o.read); err != nil {
			return err
		}
	}
	return nil
}

// optional reads what the role may read, and else says which privilege is missing, unless what is empty. It asks first: each
// refusal would be an error in the server's log, every minute.
func (c *capture) optional(ctx context.Context, what, needs string, read func(context.Context, pgx.Tx) error) error {
	check, grant := `select has_table_privilege($1::text, 'select')`, "SELECT ON "
	if strings.HasSuffix(needs, ")") {
		check, grant = `select has_function_privilege($1::text, 'execute')`, "EXECUTE ON FUNCTION "
	}
	var may bool
	if err := c.tx.QueryRow(ctx, check, needs).Scan(&may); err != nil {
		return err
	}
	if may {
		return read(ctx, c.tx)
	}
	if what != "" {
		c.note("%s could not be read; in the database postgres, run: GRANT %s%s TO %s;", what, grant, needs, identifier(c.conn.Config().User))
	}
	return nil
}

func (c *capture) note(format string, args ...any) {
	c.m.Notes = append(c.m.Notes, fmt.Sprintf(format, args...))
}

// identifier writes a name as SQL wants it.
func identifier(name string) string { return pgx.Identifier{name}.Sanitize() }

func (c *capture) readIdentity(ctx context.Context) error {
	var allSettings bool
	err := c.tx.QueryRow(ctx, `select current_setting('server_version_num')::int, current_setting('is_superuser')::bool,
		pg_has_role('pg_read_all_settings', 'usage')`).Scan(&c.m.ServerVersion, &c.m.Superuser, &allSettings)
	if err == nil && !allSettings && !c.m.Superuser {
		c.note("settings that only privileged roles may see were left out, shared_preload_libraries among them; run: GRANT pg_read_all_settings TO %s;", identifier(c.conn.Config().User))
	}
	return err
}

func (c *capture) readSystemID(ctx context.Context, tx pgx.Tx) error {
	return tx.QueryRow(ctx, `select system_identifier::text from pg_control_system()`).Scan(&c.m.SystemID)
}

// essential are settings that are captured even if they have their defaults: those that decide whether a copy can start, and
// those of the place.
var essential = []string{
	"max_connections", "max_worker_processes", "max_wal_senders", "max_prepared_transactions", "max_locks_per_transaction",
	"shared_buffers", "wal_level", "wal_segment_size", "max_replication_slots",
	"port", "listen_addresses", "unix_socket_directories", "data_directory", "config_file", "hba_file", "ident_file", "external_pid_file",
}

func (c *capture) readSettings(ctx context.Context) error {
	rows, err := c.tx.Query(ctx, `select name, current_setting(name), source from pg_settings
		where name = any($1) or context <> 'internal' and source in ('configuration file', 'command line', 'environment variable')
		order by name`, essential)
	if err != nil {
		return err
	}
	return c.collectSettings(rows)
}

// readShadowed reads what the files say where our connection, role or database has a setting of its own.
func (c *capture) readShadowed(ctx context.Context, tx pgx.Tx) error {
	var known []string
	for _, s := range c.m.Settings {
		known = append(known, s.Name)
	}
	rows, err := tx.Query(ctx, `select distinct on (f.name) f.name, f.setting, 'configuration file' from pg_show_all_file_settings() f
		left join pg_settings s on s.name = f.name where f.applied and f.name <> all($1) and coalesce(s.context, '') <> 'internal' order by f.name`, known)
	if err != nil {
		return err
	}
	return c.collectSettings(rows)
}

func (c *capture) collectSettings(rows pgx.Rows) error {
	var s Setting
	var secret []string
	_, err := pgx.ForEachRow(rows, []any{&s.Name, &s.Value, &s.Source}, func() error {
		kept := s
		if kept.Redacted = isSecret(s.Name, s.Value); kept.Redacted {
			kept.Value = ""
			secret = append(secret, s.Name)
		}
		c.m.Settings = append(c.m.Settings, kept)
		return nil
	})
	if len(secret) > 0 {
		c.note("settings that may hold secrets were not captured: %s", strings.Join(secret, ", "))
	}
	return err
}

func (c *capture) readRoles(ctx context.Context) error {
	rows, err := c.tx.Query(ctx, `select rolname from pg_roles where rolsuper and rolcanlogin order by oid`) // the bootstrap one is 10
	if err != nil {
		return err
	}
	c.m.Superusers, err = pgx.CollectRows(rows, pgx.RowTo[string])
	return err
}

func (c *capture) readRoleSettings(ctx context.Context, tx pgx.Tx) error {
	rows, err := tx.Query(ctx, `select coalesce(d.datname, ''), coalesce(r.rolname, ''), split_part(item, '=', 1), substr(item, strpos(item, '=') + 1)
		from pg_db_role_setting s cross join unnest(s.setconfig) item left join pg_database d on d.oid = s.setdatabase left join pg_roles r on r.oid = s.setrole
		order by 1, 2, 3`)
	if err != nil {
		return err
	}
	c.m.RoleSettings, err = pgx.CollectRows(rows, pgx.RowToStructByPos[RoleSetting])
	for i := range c.m.RoleSettings {
		if s := &c.m.RoleSettings[i]; !slices.Contains(libraryLists, s.Name) {
			s.Value = "" // it came along in the physical copy, and might be a secret
		}
	}
	return err
}

func (c *capture) readHBA(ctx context.Context, tx pgx.Tx) error {
	rows, err := tx.Query(ctx, `select coalesce(type, ''), coalesce(database, '{}'), coalesce(user_name, '{}'), coalesce(address, ''), coalesce(netmask, ''),
		coalesce(auth_method, ''), coalesce(options, '{}'), coalesce(error, '') from pg_hba_file_rules() order by line_number`)
	if err != nil {
		return err
	}
	var r HBARule
	var wrong string
	_, err = pgx.ForEachRow(rows, []any{&r.Type, &r.Databases, &r.Users, &r.Address, &r.Netmask, &r.Method, &r.Options, &wrong}, func() error {
		if wrong != "" && r.Type == "" {
			c.note("an access rule is wrong and not in force: %s", wrong)
			return nil
		}
		kept := r
		kept.Options, kept.Redacted = withoutSecrets(r.Options)
		c.m.HBA = append(c.m.HBA, kept)
		return nil
	})
	c.m.HBAKnown = err == nil
	return err
}

func (c *capture) readIdent(ctx context.Context, tx pgx.Tx) error {
	rows, err := tx.Query(ctx, `select map_name, sys_name, pg_username from pg_ident_file_mappings() where error is null order by line_number`)
	if err != nil {
		return err
	}
	c.m.Ident, err = pgx.CollectRows(rows, pgx.RowToStructByPos[IdentMapping])
	return err
}

func (c *capture) readTablespaces(ctx context.Context) error {
	rows, err := c.tx.Query(ctx, `select oid, spcname, pg_tablespace_location(oid), pg_tablespace_location(oid) like 'pg_tblspc/%'
		from pg_tablespace where spcname not in ('pg_default', 'pg_global') order by oid`)
	if err != nil {
		return err
	}
	c.m.Tablespaces, err = pgx.CollectRows(rows, pgx.RowToStructByPos[Tablespace])
	return err
}
