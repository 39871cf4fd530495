package fence

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

// intruders are sessions that could write, or go on writing, for anybody but SmartDR: those of clients, of clients of logical
// replication, which can run SQL, of subscriptions, and of background workers that have written something just now. Sessions that
// are being let in have no role yet. Superusers that call themselves as SmartDR does, by its own role, are SmartDR.
const intruders = `pid <> pg_backend_pid() AND (
	backend_type = 'client backend' AND coalesce(state, '') <> 'starting'
		AND NOT (usename = current_user AND application_name = current_setting('application_name') AND (SELECT rolsuper FROM pg_roles WHERE rolname = current_user))
	OR backend_type = 'walsender' AND datid IS NOT NULL
	OR backend_type LIKE 'logical replication%' AND backend_type <> 'logical replication launcher'
	OR backend_xid IS NOT NULL AND backend_type NOT IN (` + ownProcesses + `))`

// unadmitted are those among them that a fence lets nobody begin: superusers get in through the server's socket, if they mean to.
const unadmitted = `(` + intruders + `) AND NOT (client_port = -1 AND usesysid IN (SELECT oid FROM pg_roles WHERE rolsuper))`

// ownProcesses are PostgreSQL's own, which write no user data.
const ownProcesses = `'client backend', 'walsender', 'autovacuum launcher', 'autovacuum worker', 'logical replication launcher', 'parallel worker',
	'background writer', 'checkpointer', 'walwriter', 'archiver', 'startup', 'walreceiver', 'walsummarizer', 'slotsync worker', 'io worker', 'logger'`

// intruder is a session that is in the way.
type intruder struct {
	PID   int32
	Kind  string
	Role  string
	Began time.Time
	Ended bool // it was told to end
}

// end ends sessions until those that began before the fence was in force have gone, and reports whether they have. Later
// ones are refused, and may be seen for the moment that this takes.
func (a *applying) end(ctx context.Context, since time.Time) (out bool, err error) {
	early, err := a.starting(ctx)
	if err != nil {
		return false, err
	}
	var told int
	stay := map[int32]bool{}
	for end := time.Now().Add(a.options.endWithin()); ; {
		found, err := a.tell(ctx, intruders, early)
		if err != nil {
			return false, err
		}
		left := slices.DeleteFunc(found, func(i intruder) bool { return i.Began.After(since) && !stay[i.PID] })
		for _, i := range found {
			if !stay[i.PID] {
				told++
			}
			stay[i.PID] = true
		}
		if len(left) == 0 {
			a.by("%d sessions were ended", told)
			return true, nil
		}
		if time.Now().After(end) {
			a.because("%s", stubborn(left))
			return false, nil
		}
		if err := pause(ctx, 20*time.Millisecond); err != nil {
			return false, err
		}
	}
}

func stubborn(left []intruder) string {
	var names []string
	for _, i := range left {
		names = append(names, strings.TrimSpace(fmt.Sprintf("%s of process %d %s", i.Kind, i.PID, i.Role)))
	}
	return "sessions have not ended: " + strings.Join(names, ", ")
}

// tell tells those sessions, and those of the sessions that were being let in, to end, and returns who is there.
func (s *session) tell(ctx context.Context, whom string, early []int32) ([]intruder, error) {
	rows, err := s.Query(ctx, `SELECT pid, coalesce(backend_type, ''), coalesce(usename::text, ''), coalesce(backend_start, '-infinity'::timestamptz) > '-infinity', coalesce(backend_start, now()), pg_terminate_backend(pid)
		FROM pg_stat_activity WHERE `+whom+` OR pid = ANY($1)`, early)
	if err != nil {
		return nil, failed("end sessions", err)
	}
	var found []intruder
	var i intruder
	var dated bool
	_, err = pgx.ForEachRow(rows, []any{&i.PID, &i.Kind, &i.Role, &dated, &i.Began, &i.Ended}, func() error {
		if !dated {
			i.Began = time.Time{}
		}
		found = append(found, i)
		return nil
	})
	if err != nil {
		return nil, failed("end sessions", err)
	}
	return s.tellStarting(ctx, early, found)
}

// tellStarting does the same for what only the locks know: pg_stat_activity shows a session when it is let in, before PostgreSQL 18.
func (s *session) tellStarting(ctx context.Context, early []int32, found []intruder) ([]intruder, error) {
	if len(early) == 0 {
		return found, nil
	}
	rows, err := s.Query(ctx, `SELECT DISTINCT pid, pg_terminate_backend(pid) FROM pg_locks WHERE pid = ANY($1)`, early)
	if err != nil {
		return nil, failed("end sessions", err)
	}
	i := intruder{Kind: "session that is being let in"}
	_, err = pgx.ForEachRow(rows, []any{&i.PID, &i.Ended}, func() error {
		if !slices.ContainsFunc(found, func(f intruder) bool { return f.PID == i.PID }) {
			found = append(found, i)
		}
		return nil
	})
	return found, failed("end sessions", err)
}

// starting are the processes of sessions that are being let in: their clients are being asked who they are, by the rules and
// settings of when they came.
func (s *session) starting(ctx context.Context) (pids []int32, err error) {
	err = s.QueryRow(ctx, `SELECT coalesce(array_agg(DISTINCT pid), '{}') FROM (
			SELECT l.pid FROM pg_locks l WHERE l.locktype = 'virtualxid' AND l.pid IS NOT NULL AND NOT EXISTS (SELECT FROM pg_stat_activity a WHERE a.pid = l.pid)
			UNION SELECT pid FROM pg_stat_activity WHERE state = 'starting') s`).Scan(&pids)
	return pids, failed("find sessions that are being let in", err)
}

// flushed makes sure that everything is flushed that a client was told, also by commits that did not wait for the disk, and returns
// the end of it.
func (s *session) flushed(ctx context.Context) (wal.Position, error) {
	const op = "read the end of the WAL"
	tx, err := s.BeginTx(ctx, pgx.TxOptions{AccessMode: pgx.ReadWrite})
	if err != nil {
		return wal.Position{}, failed(op, err)
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }() // does nothing after the commit
	// A standby that commits wait for may be gone; what counts is this server's disk. The commit flushes all before it.
	_, err = tx.Exec(ctx, `SELECT set_config('synchronous_commit', 'local', true), pg_logical_emit_message(true, '`+wal.MessagePrefix+`', 'fenced')`)
	if err == nil {
		err = tx.Commit(ctx)
	}
	if err != nil {
		return wal.Position{}, failed(op, err)
	}
	var lsn, file string
	err = s.QueryRow(ctx, `SELECT l::text, pg_walfile_name(l) FROM pg_current_wal_flush_lsn() l`).Scan(&lsn, &file)
	if err != nil || len(file) < 8 {
		return wal.Position{}, failed(op, err)
	}
	at, err := wal.ParseLSN(lsn)
	if err != nil {
		return wal.Position{}, fault.New(fault.Invalid, op, err)
	}
	t, err := wal.ParseTimelineKey(file[:8])
	if err != nil {
		return wal.Position{}, fault.New(fault.Invalid, op, err)
	}
	return wal.Position{Timeline: t, LSN: at}, nil
}

// nameWhatRemains says what a person should know of.
func (a *applying) nameWhatRemains(ctx context.Context) error {
	var prepared, workers []string
	err := a.QueryRow(ctx, `SELECT
		(SELECT coalesce(array_agg(format('%s in database %s', gid, database) ORDER BY prepared), '{}') FROM pg_prepared_xacts),
		(SELECT coalesce(array_agg(DISTINCT backend_type), '{}') FROM pg_stat_activity
			WHERE backend_type NOT IN (`+ownProcesses+`) AND backend_type NOT LIKE 'logical replication%')`).Scan(&prepared, &workers)
	if err != nil {
		return failed("look for what remains", err)
	}
	if len(prepared) > 0 {
		a.by("prepared transactions stay open: %s", strings.Join(prepared, ", "))
	}
	if len(workers) > 0 {
		a.by("background workers go on, read-only unless they choose otherwise: %s", strings.Join(workers, ", "))
	}
	if a.inRecovery {
		a.because("the server is a standby now")
	}
	return nil
}

// Guard ends sessions that began before the fence and were let in after it, since their clients took their time. It looks for as
// long as the server waits for a client to say who it is (authentication_timeout), and as long as subscriptions are held; or until the
// fence is lifted, or ctx is done.
func (r Result) Guard(ctx context.Context, src topology.Source) error {
	defer r.Close(context.WithoutCancel(ctx))
	s, err := open(ctx, src)
	if err != nil || !s.superuser {
		return err
	}
	defer s.close(ctx)
	var seconds int
	if err := s.QueryRow(ctx, `SELECT setting::int FROM pg_settings WHERE name = 'authentication_timeout'`).Scan(&seconds); err != nil {
		return failed("guard the fence", err)
	}
	for end := time.Now().Add(time.Duration(seconds+1) * time.Second); r.held != nil || time.Now().Before(end); {
		m, err := s.currentMark(ctx)
		if err == nil && m != nil && m.ForGood {
			r.Close(ctx)
			r.held = nil
		}
		if err == nil && m != nil { // else it was lifted
			_, err = s.tell(ctx, unadmitted, []int32{})
		}
		if err == nil && m != nil {
			err = pause(ctx, 50*time.Millisecond)
		}
		switch {
		case ctx.Err() != nil: // whoever called has enough
			return nil
		case err != nil || m == nil:
			return err
		}
	}
	return nil
}

// stillLetIn makes sure that SmartDR can come back. If it cannot, the access rules are put back: a fence that nobody can lift is
// worse than one that keeps fewer out.
func (a *applying) stillLetIn(ctx context.Context) error {
	conn, err := postgres.OpenPast(ctx, a.source)
	if err == nil {
		return failed("look whether SmartDR gets in", conn.Close(ctx))
	}
	if !a.rules || codeOf(err) != noAuthorization {
		return failed("look whether SmartDR gets in", err)
	}
	if _, err := a.widenRules(ctx, a.options.By); err != nil {
		return err
	}
	if _, err := a.reload(ctx); err != nil {
		return err
	}
	a.rules = false
	a.because("with narrower rules in %s SmartDR itself is kept out (%v)", a.hbaFile, err)
	return nil
}
