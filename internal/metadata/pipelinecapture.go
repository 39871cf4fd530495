package metadata

import (
	"context"
	"net"
	"strconv"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype/zeronull"

	"github.com/smartdr/smartdr/internal/dsn"
	"github.com/smartdr/smartdr/internal/wal"
)

// mostTables is how many tables of a subscription are named.
const mostTables = 200

// subscription with what only some may read.
type subscriptionRow struct {
	Subscription
	received, applied, remote string
	conninfo                  string
}

// readSubscriptions reads pg_subscription, which all databases share, and how far each is. Parallel workers and those that
// copy a table are no measure of that.
func (c *capture) readSubscriptions(ctx context.Context) error {
	var mayConninfo, mayOrigins bool
	err := c.tx.QueryRow(ctx, `select has_column_privilege('pg_subscription', 'subconninfo', 'select'), has_table_privilege('pg_replication_origin_status', 'select')`).
		Scan(&mayConninfo, &mayOrigins)
	if err != nil {
		return err
	}
	conninfo, origin, wants := `''`, `null::pg_lsn`, `''`
	if mayConninfo {
		conninfo = `subconninfo`
	}
	if mayOrigins {
		origin = `(select remote_lsn from pg_replication_origin_status where external_id = 'pg_' || s.oid)`
	}
	if c.m.ServerVersion >= 160000 {
		wants = `suborigin`
	}
	rows, err := c.tx.Query(ctx, `select d.datname, s.subname, subenabled, pg_get_userbyid(subowner)::text, subpublications, coalesce(subslotname, ''), subtwophasestate <> 'd',
		`+wants+`, coalesce(w.received_lsn, '0/0')::text, coalesce(w.latest_end_lsn, '0/0')::text, coalesce(`+origin+`, '0/0')::text, `+conninfo+`
		from pg_subscription s join pg_database d on d.oid = s.subdbid
		left join lateral (select received_lsn, latest_end_lsn from pg_stat_subscription st where st.subid = s.oid and relid is null and to_jsonb(st) ->> 'leader_pid' is null limit 1) w on true
		order by 1, 2`)
	if err != nil {
		return err
	}
	var r subscriptionRow
	_, err = pgx.ForEachRow(rows, []any{&r.Database, &r.Name, &r.Enabled, &r.Owner, &r.Publications, &r.Slot, &r.TwoPhase, &r.Origin, &r.received, &r.applied, &r.remote, &r.conninfo}, func() error {
		c.m.Pipelines.Subscriptions = append(c.m.Pipelines.Subscriptions, r.subscription())
		r.Publications = nil
		return nil
	})
	if err != nil || len(c.m.Pipelines.Subscriptions) == 0 {
		return err
	}
	// After the positions: what they stand for is in the WAL before this.
	var known, file string
	err = c.tx.QueryRow(ctx, `select case when not pg_is_in_recovery() then pg_current_wal_insert_lsn() end::text,
		case when not pg_is_in_recovery() then pg_walfile_name(pg_current_wal_insert_lsn()) end`).Scan((*zeronull.Text)(&known), (*zeronull.Text)(&file))
	if timeline, parseErr := strconv.ParseUint(file[:min(8, len(file))], 16, 32); parseErr == nil {
		c.m.Pipelines.Known, c.m.Pipelines.Timeline = lsn(known), wal.Timeline(timeline)
	}
	return err
}

func (r subscriptionRow) subscription() Subscription {
	s := r.Subscription
	s.Received, s.Applied, s.Remote = lsn(r.received), lsn(r.applied), lsn(r.remote)
	if cfg, err := publisherConfig(r.conninfo); err == nil && r.conninfo != "" {
		s.Publisher = net.JoinHostPort(cfg.Host, strconv.Itoa(int(cfg.Port))) + "/" + cfg.Database
	}
	return s
}

// lsn reads what the server wrote; 0 for what is none.
func lsn(text string) wal.LSN {
	l, err := wal.ParseLSN(text)
	if err != nil {
		return 0
	}
	return l
}

func (c *capture) readLogicalSlots(ctx context.Context) error {
	rows, err := c.tx.Query(ctx, `select slot_name::text, plugin::text, database::text, coalesce(confirmed_flush_lsn, '0/0')::text, active, two_phase,
		coalesce((to_jsonb(s) ->> 'failover')::bool, false), coalesce((to_jsonb(s) ->> 'synced')::bool, false)
		from pg_replication_slots s where slot_type = 'logical' and not temporary order by 1`)
	if err != nil {
		return err
	}
	var s LogicalSlot
	var confirmed string
	_, err = pgx.ForEachRow(rows, []any{&s.Name, &s.Plugin, &s.Database, &confirmed, &s.Active, &s.TwoPhase, &s.Failover, &s.Synced}, func() error {
		s.Confirmed = lsn(confirmed)
		c.m.Pipelines.Slots = append(c.m.Pipelines.Slots, s)
		return nil
	})
	return err
}

// readPipelines reads what one database has of its own.
func (c *capture) readPipelines(ctx context.Context, conn *pgx.Conn, database string) error {
	for _, read := range []func(context.Context, *pgx.Conn, string) error{c.readTables, c.readPublications, c.readServers, c.readTriggers, c.readJobs} {
		if err := read(ctx, conn, database); err != nil {
			return err
		}
	}
	return nil
}

func (c *capture) readTables(ctx context.Context, conn *pgx.Conn, database string) error {
	for i := range c.m.Pipelines.Subscriptions {
		s := &c.m.Pipelines.Subscriptions[i]
		if s.Database != database {
			continue
		}
		rows, err := conn.Query(ctx, `select format('%I.%I', n.nspname, c.relname) from pg_subscription_rel r join pg_subscription s on s.oid = r.srsubid
			join pg_class c on c.oid = r.srrelid join pg_namespace n on n.oid = c.relnamespace
			where s.subname = $1 and s.subdbid = (select oid from pg_database where datname = current_database()) order by 1 limit $2`, s.Name, mostTables)
		if err != nil {
			return err
		}
		if s.Tables, err = pgx.CollectRows(rows, pgx.RowTo[string]); err != nil {
			return err
		}
	}
	return nil
}

func (c *capture) readPublications(ctx context.Context, conn *pgx.Conn, _ string) error {
	rows, err := conn.Query(ctx, `select current_database()::text, pubname::text, pg_get_userbyid(pubowner)::text, puballtables,
		(select count(*) from pg_publication_rel where prpubid = p.oid)::int from pg_publication p order by 2`)
	if err != nil {
		return err
	}
	return collect(rows, &c.m.Pipelines.Publications)
}

func (c *capture) readServers(ctx context.Context, conn *pgx.Conn, _ string) error {
	rows, err := conn.Query(ctx, `select current_database()::text, srvname::text, fdwname::text,
		array(select usename::text from pg_user_mappings u where u.srvid = s.oid order by 1)
		from pg_foreign_server s join pg_foreign_data_wrapper f on f.oid = srvfdw order by 2`)
	if err != nil {
		return err
	}
	return collect(rows, &c.m.Pipelines.Servers)
}

func (c *capture) readTriggers(ctx context.Context, conn *pgx.Conn, _ string) error {
	rows, err := conn.Query(ctx, `select current_database()::text, evtname::text, evtevent::text, evtenabled <> 'D' from pg_event_trigger order by 2`)
	if err != nil {
		return err
	}
	return collect(rows, &c.m.Pipelines.Triggers)
}

// readJobs reads pg_cron's, which are all in one database and run in any. Row security shows a role its own jobs only.
func (c *capture) readJobs(ctx context.Context, conn *pgx.Conn, database string) error {
	var may *bool
	err := conn.QueryRow(ctx, `select (select has_table_privilege(c.oid, 'select') and has_schema_privilege(n.oid, 'usage')
		from pg_class c join pg_namespace n on n.oid = relnamespace where nspname = 'cron' and relname = 'job')
		where exists (select from pg_extension where extname = 'pg_cron')`).Scan(&may)
	if err == pgx.ErrNoRows || err == nil && may == nil {
		return nil
	}
	if err != nil {
		return err
	}
	if !*may || !c.m.Superuser {
		c.note("jobs of pg_cron in database %s may not all have been seen: only a superuser sees those of others", database)
	}
	if !*may {
		return nil
	}
	rows, err := conn.Query(ctx, `select j.database, jobid, coalesce(to_jsonb(j) ->> 'jobname', ''), schedule, username, active from cron.job j order by jobid`)
	if err != nil {
		return err
	}
	return collect(rows, &c.m.Pipelines.Jobs)
}

// collect adds rows to a list whose fields are in their order.
func collect[T any](rows pgx.Rows, into *[]T) error {
	found, err := pgx.CollectRows(rows, pgx.RowToStructByPos[T])
	*into = append(*into, found...)
	return err
}

// CapturePipelines reads a server's pipelines alone.
func CapturePipelines(ctx context.Context, conn *pgx.Conn) (Pipelines, error) {
	c := &capture{conn: conn}
	err := c.run(ctx, func(ctx context.Context) error {
		for _, read := range []func(context.Context) error{c.readIdentity, c.readDatabases, c.readSubscriptions, c.readLogicalSlots} {
			if err := read(ctx); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return Pipelines{}, err
	}
	for _, d := range c.m.Databases {
		if d.Template || !d.AllowConnections || d.Invalid {
			continue
		}
		if err := c.pipelinesOf(ctx, d.Name); err != nil {
			return Pipelines{}, dsn.ConnectError(opPipelines, err)
		}
	}
	return c.m.Pipelines, nil
}

func (c *capture) pipelinesOf(ctx context.Context, database string) error {
	conn, done, err := inDatabase(ctx, c.conn, database)
	if err != nil {
		return err
	}
	defer done()
	return c.readPipelines(ctx, conn, database)
}
