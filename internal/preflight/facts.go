package preflight

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/jackc/pgx/v5"

	"github.com/smartdr/smartdr/internal/dsn"
)

// Facts are what a server says of itself.
type Facts struct {
	SystemID      string `json:"systemID,omitempty"`
	ServerVersion int    `json:"serverVersion"` // server_version_num
	InRecovery    bool   `json:"inRecovery"`

	WALLevel             string                `json:"walLevel"`
	FullPageWrites       bool                  `json:"fullPageWrites"`
	DataChecksums        bool                  `json:"dataChecksums"`
	WALLogHints          bool                  `json:"walLogHints"`
	MaxSenders           int                   `json:"maxSenders"`
	UsedSenders          int                   `json:"usedSenders"` // by others than us
	MaxSlots             int                   `json:"maxSlots"`
	UsedSlots            int                   `json:"usedSlots"`                 // by others than us
	SlotType             string                `json:"slotType,omitempty"`        // of a slot with our name: "physical" or "logical"
	MaxSlotWALKeepMB     int64                 `json:"maxSlotWALKeepMB"`          // -1: no limit
	IdleSlotTimeout      int64                 `json:"idleSlotTimeout,omitempty"` // 18; 0: none; unit of pg_settings
	SynchronousStandbys  string                `json:"synchronousStandbys,omitempty"`
	Role                 string                `json:"role"`
	Superuser            bool                  `json:"superuser"`
	MayReplicate         bool                  `json:"mayReplicate"`
	MayReadSettings      bool                  `json:"mayReadSettings"`
	Service              string                `json:"service,omitempty"` // managed service that its roles give away
	Databases            []Database            `json:"databases"`
	PreparedTransactions []PreparedTransaction `json:"preparedTransactions,omitempty"`
	Pooled               bool                  `json:"pooled,omitempty"`             // something between us and the server shares connections
	Manager              string                `json:"manager,omitempty"`            // of high availability, that its slots or connections give away
	InPlaceTablespaces   []string              `json:"inPlaceTablespaces,omitempty"` // that are folders in pg_tblspc
}

// Database is one of the server's databases, without templates.
type Database struct {
	Name  string `json:"name"`
	Valid bool   `json:"valid"` // false: an interrupted DROP DATABASE left it
}

// PreparedTransaction waits for COMMIT PREPARED or ROLLBACK PREPARED.
type PreparedTransaction struct {
	GID      string `json:"gid"`
	Database string `json:"database"`
}

// gather asks in one transaction, so that the facts belong together.
func gather(ctx context.Context, conn *pgx.Conn, opts Options) (Facts, error) {
	var f Facts
	err := pgx.BeginTxFunc(ctx, conn, pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		return errors.Join(f.readSettings(ctx, tx), f.readServer(ctx, tx, opts), f.readDatabases(ctx, tx), f.readSurroundings(ctx, tx))
	})
	if err != nil {
		return Facts{}, dsn.ConnectError("look at the server", err)
	}
	return f, nil
}

// settingNames are read as pg_settings shows them: numbers without their unit.
var settingNames = []string{
	"server_version_num", "wal_level", "full_page_writes", "data_checksums", "wal_log_hints", "max_wal_senders",
	"max_replication_slots", "max_slot_wal_keep_size", "idle_replication_slot_timeout", "synchronous_standby_names",
}

func (f *Facts) readSettings(ctx context.Context, tx pgx.Tx) error {
	rows, err := tx.Query(ctx, `select name, setting from pg_settings where name = any($1)`, settingNames)
	if err != nil {
		return err
	}
	settings := map[string]string{}
	var name, value string
	if _, err := pgx.ForEachRow(rows, []any{&name, &value}, func() error { settings[name] = value; return nil }); err != nil {
		return err
	}
	f.WALLevel, f.SynchronousStandbys = settings["wal_level"], settings["synchronous_standby_names"]
	f.FullPageWrites, f.DataChecksums, f.WALLogHints = settings["full_page_writes"] == "on", settings["data_checksums"] == "on", settings["wal_log_hints"] == "on"
	return errors.Join(
		number(settings, "server_version_num", &f.ServerVersion), number(settings, "max_wal_senders", &f.MaxSenders),
		number(settings, "max_replication_slots", &f.MaxSlots), number(settings, "max_slot_wal_keep_size", &f.MaxSlotWALKeepMB),
		number(settings, "idle_replication_slot_timeout", &f.IdleSlotTimeout))
}

// number reads a setting; one that this version of PostgreSQL does not have stays 0.
func number[T int | int64](settings map[string]string, name string, to *T) error {
	s, ok := settings[name]
	if !ok {
		return nil
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return fmt.Errorf("setting %s: %w", name, err)
	}
	*to = T(n)
	return nil
}

const serverQuery = `select pg_is_in_recovery(), r.rolname, r.rolsuper, r.rolreplication or r.rolsuper, pg_has_role('pg_read_all_settings', 'member'),
	(select count(*) from pg_stat_get_wal_senders() s left join pg_stat_get_activity(s.pid) a on true where a.application_name is distinct from $1),
	(select count(*) from pg_replication_slots where slot_name <> $2),
	coalesce((select slot_type from pg_replication_slots where slot_name = $2), ''),
	coalesce((select case rolname when 'rds_superuser' then 'Amazon RDS' when 'cloudsqlsuperuser' then 'Google Cloud SQL' else 'Azure Database' end
		from pg_roles where rolname in ('rds_superuser', 'cloudsqlsuperuser', 'azure_pg_admin') limit 1), '')
	from pg_roles r where r.rolname = current_user`

func (f *Facts) readServer(ctx context.Context, tx pgx.Tx, opts Options) error {
	return tx.QueryRow(ctx, serverQuery, opts.AppName, opts.SlotName).Scan(&f.InRecovery, &f.Role, &f.Superuser, &f.MayReplicate,
		&f.MayReadSettings, &f.UsedSenders, &f.UsedSlots, &f.SlotType, &f.Service)
}

const surroundingsQuery = `select pg_backend_pid(),
	case when exists (select from pg_replication_slots where slot_name like '\_cnpg\_%') then 'CloudNativePG'
		when exists (select from pg_stat_activity where application_name like 'Patroni%') then 'Patroni' else '' end,
	array(select spcname::text from pg_tablespace where pg_tablespace_location(oid) like 'pg_tblspc/%' order by 1)`

// readSurroundings looks at what stands around the server. A pooler hands out a number of its own for the connection, and
// the server's process has another.
func (f *Facts) readSurroundings(ctx context.Context, tx pgx.Tx) error {
	var pid uint32
	err := tx.QueryRow(ctx, surroundingsQuery).Scan(&pid, &f.Manager, &f.InPlaceTablespaces)
	f.Pooled = err == nil && pid != tx.Conn().PgConn().PID()
	return err
}

// invalidDatabase is datconnlimit of a database whose DROP was interrupted (DATCONNLIMIT_INVALID_DB in pg_database.h).
const invalidDatabase = -2

func (f *Facts) readDatabases(ctx context.Context, tx pgx.Tx) error {
	rows, err := tx.Query(ctx, `select datname, datconnlimit <> $1 from pg_database where not datistemplate order by datname`, invalidDatabase)
	if err != nil {
		return err
	}
	if f.Databases, err = pgx.CollectRows(rows, pgx.RowToStructByPos[Database]); err != nil {
		return err
	}
	rows, err = tx.Query(ctx, `select gid, database from pg_prepared_xacts order by gid`)
	if err != nil {
		return err
	}
	f.PreparedTransactions, err = pgx.CollectRows(rows, pgx.RowToStructByPos[PreparedTransaction])
	return err
}
