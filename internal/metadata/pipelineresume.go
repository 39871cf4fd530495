package metadata

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5"

	"github.com/smartdr/smartdr/internal/dsn"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/wal"
)

const opPipelines = "restore pipelines"

// Opener connects to a database of the restored server as its superuser.
type Opener func(ctx context.Context, database string) (*pgx.Conn, error)

// JudgeSubscriptions decides about each enabled subscription of a restored server, on which none runs yet: it compares its
// position with what its publisher says, which is asked for a few seconds. captured is what was last seen on the primary,
// recovered the end of its WAL that is here. No secret is in what it returns.
func JudgeSubscriptions(ctx context.Context, open Opener, captured Pipelines, recovered wal.Position) ([]Verdict, error) {
	all, err := enabledSubscriptions(ctx, open)
	if err != nil {
		return nil, err
	}
	verdicts := make([]Verdict, len(all))
	var wg sync.WaitGroup
	for i, s := range all {
		wg.Go(func() {
			s.sure = sureOf(s.Subscription, captured, recovered)
			if s.publisher.why == "" {
				s.publisher = askPublisher(ctx, s.conninfo, s.Slot)
			}
			verdicts[i] = s.judge()
		})
	}
	wg.Wait()
	return verdicts, ctx.Err()
}

// enabledSubscription is one with its secret.
type enabledSubscription struct {
	standing
	conninfo string
}

// enabledSubscriptions leaves out those of databases that let nobody in, since no worker gets in either.
func enabledSubscriptions(ctx context.Context, open Opener) ([]enabledSubscription, error) {
	conn, err := open(ctx, "postgres")
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }() // only read from
	rows, err := conn.Query(ctx, `select datname::text, subname::text, subslotname::text, subconninfo, subpublications, subtwophasestate <> 'd',
		coalesce((select remote_lsn from pg_replication_origin_status where external_id = 'pg_' || s.oid), '0/0')::text
		from pg_subscription s join pg_database d on d.oid = subdbid where subenabled and datallowconn and subslotname is not null order by 1, 2`)
	if err != nil {
		return nil, dsn.ConnectError(opPipelines, err)
	}
	var out []enabledSubscription
	var s enabledSubscription
	var remote string
	_, err = pgx.ForEachRow(rows, []any{&s.Database, &s.Name, &s.Slot, &s.conninfo, &s.Publications, &s.TwoPhase, &remote}, func() error {
		s.Remote = lsn(remote)
		out = append(out, s)
		s.Publications = nil
		return nil
	})
	if err != nil {
		return nil, dsn.ConnectError(opPipelines, err)
	}
	for i := range out {
		if err := out[i].readTables(ctx, open); err != nil { // which must not keep the others from running
			out[i].publisher.why = "its tables cannot be read here (" + dsn.Redact(err.Error()) + ")"
		}
	}
	return out, nil
}

// readTables reads a subscription's tables. One whose first copy was cut short begins anew by itself; one that was copied
// (f, src/include/catalog/pg_subscription_rel.h) has a position of its own, on a slot of its own.
func (s *enabledSubscription) readTables(ctx context.Context, open Opener) error {
	conn, err := open(ctx, s.Database)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }() // only read from
	rows, err := conn.Query(ctx, `select format('%I.%I', n.nspname, c.relname), srsubstate = 'f' from pg_subscription_rel r
		join pg_subscription s on s.oid = r.srsubid join pg_class c on c.oid = r.srrelid join pg_namespace n on n.oid = c.relnamespace
		where subname = $1 and subdbid = (select oid from pg_database where datname = current_database()) order by 1`, s.Name)
	if err != nil {
		return dsn.ConnectError(opPipelines, err)
	}
	var table string
	var copied bool
	_, err = pgx.ForEachRow(rows, []any{&table, &copied}, func() error {
		s.Tables = append(s.Tables, table)
		if copied {
			s.unstable = append(s.unstable, table)
		}
		return nil
	})
	return dsn.ConnectError(opPipelines, err)
}

// StopSubscriptions disables those that may not run. It may be repeated.
func StopSubscriptions(ctx context.Context, open Opener, verdicts []Verdict) error {
	for _, v := range verdicts {
		if v.Run {
			continue
		}
		if err := alterSubscription(ctx, open, v.Database, v.Name, `DISABLE`); err != nil {
			return err
		}
	}
	return nil
}

// alterSubscription runs past event triggers that forbid changes of the schema.
func alterSubscription(ctx context.Context, open Opener, database, name string, actions ...string) error {
	conn, err := open(ctx, database)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }() // what it did is committed
	if _, err := conn.Exec(ctx, `set session_replication_role = replica; set lock_timeout = '10s'`); err != nil {
		return fault.New(fault.Transient, opPipelines, err)
	}
	for _, action := range actions {
		if _, err := conn.Exec(ctx, `ALTER SUBSCRIPTION `+identifier(name)+` `+action); err != nil {
			return fault.Newf(fault.Transient, opPipelines, "subscription %s of database %s: %w", name, database, err)
		}
	}
	return nil
}

// MakeInert cuts every subscription of a server from its publisher, for a branch or a drill, which must never run them or
// touch their slots: disabled, and without a slot, so that not even dropping them reaches the publisher. No subscription
// may be running. It may be repeated. The names of what it cut are returned, as "database.name".
func MakeInert(ctx context.Context, open Opener) (names []string, err error) {
	conn, err := open(ctx, "postgres")
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }() // only read from
	rows, err := conn.Query(ctx, `select datname::text, subname::text from pg_subscription join pg_database d on d.oid = subdbid
		where datallowconn and (subenabled or subslotname is not null) order by 1, 2`)
	if err != nil {
		return nil, dsn.ConnectError(opPipelines, err)
	}
	var all [][2]string
	var database, name string
	_, err = pgx.ForEachRow(rows, []any{&database, &name}, func() error {
		all = append(all, [2]string{database, name})
		return nil
	})
	if err != nil {
		return nil, dsn.ConnectError(opPipelines, err)
	}
	for _, s := range all {
		if err := alterSubscription(ctx, open, s[0], s[1], `DISABLE`, `SET (slot_name = NONE)`); err != nil {
			return names, err
		}
		names = append(names, s[0]+"."+s[1])
	}
	return names, nil
}

// PipelineNotes says what of a restored server's pipelines an operator should know, beside its subscriptions: slots that
// did not come along, jobs that run here now, servers that it reaches.
func PipelineNotes(ctx context.Context, open Opener, captured Pipelines, recovered wal.LSN, leftOut ...string) ([]string, error) {
	conn, err := open(ctx, "postgres")
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }() // only read from
	here, err := CapturePipelines(ctx, conn)
	if err != nil {
		return nil, err
	}
	var libraries, cronHost string
	var inWorkers bool
	err = conn.QueryRow(ctx, `select current_setting('shared_preload_libraries'), coalesce(current_setting('cron.host', true), ''),
		coalesce(current_setting('cron.use_background_workers', true), 'off')::bool`).Scan(&libraries, &cronHost, &inWorkers)
	if err != nil {
		return nil, dsn.ConnectError(opPipelines, err)
	}
	runs := slices.Contains(splitList(libraries), "pg_cron")
	return slices.Concat(slotNotes(captured, here, recovered, leftOut), jobNotes(here.Jobs, runs, cronHost, inWorkers), serverNotes(here.Servers), triggerNotes(here.Triggers)), nil
}

// slotNotes: no base backup has slots, and those that PostgreSQL 17 keeps on standbys are kept by a standby that streams.
func slotNotes(captured, here Pipelines, recovered wal.LSN, leftOut []string) (notes []string) {
	for _, s := range captured.Slots {
		there := slices.ContainsFunc(here.Slots, func(h LogicalSlot) bool { return h.Name == s.Name })
		if there || slices.Contains(leftOut, s.Database) {
			continue
		}
		why := "slots are in no base backup"
		if s.Failover || s.Synced {
			why = "a failover slot is kept by standbys that stream, and this server was restored from a bucket"
		}
		notes = append(notes, fmt.Sprintf("needs attention: logical slot %s of database %s is not here: %s. Whoever reads from it stands still. "+
			"In database %s, run SELECT pg_create_logical_replication_slot(%s, %s, false, %t); then let the reader go on only if it has everything up to %s and nothing after it: a reader that is behind misses changes, "+
			"and one that is ahead (it confirmed %s when last seen) has changes that were lost here; copy its tables anew in both cases",
			s.Name, s.Database, why, s.Database, literal(s.Name), literal(s.Plugin), s.TwoPhase, recovered, s.Confirmed))
	}
	return notes
}

func jobNotes(jobs []Job, runs bool, host string, inWorkers bool) (notes []string) {
	active := slices.DeleteFunc(slices.Clone(jobs), func(j Job) bool { return !j.Active })
	if len(active) == 0 {
		return nil
	}
	var names []string
	for _, j := range active {
		name := j.Name
		if name == "" {
			name = fmt.Sprintf("%d", j.ID)
		}
		names = append(names, fmt.Sprintf("%s (%s, in %s)", name, j.Schedule, j.Database))
	}
	list := fmt.Sprintf("%d jobs of pg_cron: %s", len(active), shortened(names))
	switch {
	case !runs:
		return []string{"needs attention: pg_cron is not loaded here, so that nobody runs " + list}
	case !inWorkers && strings.HasPrefix(host, "/"):
		return []string{fmt.Sprintf("needs attention: pg_cron reaches its databases by the socket in %s (cron.host), which is the primary's: set it for this host, or use cron.use_background_workers, so that these run: %s", host, list)}
	}
	return []string{"run here from now on, and on the old primary as long as that lives: " + list}
}

func serverNotes(servers []ForeignServer) []string {
	var names []string
	for _, s := range servers {
		names = append(names, fmt.Sprintf("%s (%s, in %s)", s.Name, s.Wrapper, s.Database))
	}
	if len(names) == 0 {
		return nil
	}
	return []string{"foreign servers lead to the same places as on the primary; see that these can be reached from here: " + shortened(names)}
}

func triggerNotes(triggers []EventTrigger) []string {
	var names []string
	for _, e := range triggers {
		if e.Enabled {
			names = append(names, fmt.Sprintf("%s (%s, in %s)", e.Name, e.Event, e.Database))
		}
	}
	if len(names) == 0 {
		return nil
	}
	return []string{"event triggers fire as on the primary: " + shortened(names)}
}

// shortened lists at most a dozen names.
func shortened(names []string) string {
	if rest := len(names) - 12; rest > 0 {
		return strings.Join(names[:12], ", ") + fmt.Sprintf(" and %d more", rest)
	}
	return strings.Join(names, ", ")
}
