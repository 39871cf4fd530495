package fence

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/replication"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

// session is a connection that gets past a fence, and what it found.
type session struct {
	*pgx.Conn
	source     topology.Source
	role       string
	superuser  bool
	inRecovery bool
	systemID   string
	dataDir    string // as far as the role may know
	hbaFile    string // superusers only
	// noSettings: ALTER SYSTEM is refused (allow_alter_system, since PostgreSQL 17).
	noSettings bool
}

func open(ctx context.Context, src topology.Source) (*session, error) {
	conn, err := postgres.OpenPast(ctx, src)
	if err != nil {
		return nil, err
	}
	s := &session{Conn: conn, source: src}
	if err := s.look(ctx); err != nil {
		s.close(ctx)
		return nil, failed("look at the server", err)
	}
	return s, nil
}

func (s *session) close(ctx context.Context) {
	_ = s.Close(context.WithoutCancel(ctx)) // whatever it did is done by then
}

func (s *session) look(ctx context.Context) error {
	_, err := s.Exec(ctx, `SELECT set_config('statement_timeout', '30s', false), set_config('lock_timeout', '20s', false),
		set_config('idle_in_transaction_session_timeout', '0', false), set_config('search_path', 'pg_catalog', false),
		set_config('lc_messages', 'C', false) WHERE (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)`)
	if err != nil {
		return err
	}
	err = s.QueryRow(ctx, `SELECT current_user, (SELECT rolsuper FROM pg_roles WHERE rolname = current_user), pg_is_in_recovery(),
			(SELECT system_identifier::text FROM pg_control_system()), coalesce(current_setting('allow_alter_system', true), 'on') = 'off',
			coalesce((SELECT setting FROM pg_settings WHERE name = 'data_directory'), '')`).
		Scan(&s.role, &s.superuser, &s.inRecovery, &s.systemID, &s.noSettings, &s.dataDir)
	if err != nil || !s.superuser {
		return err
	}
	return s.QueryRow(ctx, `SHOW hba_file`).Scan(&s.hbaFile)
}

// On reports whether a server is fenced, or about to be, as a session that is there sees it. What is captured of it then would be the
// fence's: the files have it before the server has read them, for good if whoever fenced died in between.
func On(ctx context.Context, conn *pgx.Conn) (on bool, err error) {
	var may bool
	err = conn.QueryRow(ctx, `SELECT coalesce(current_setting($1, true), '') <> '', has_function_privilege('pg_catalog.pg_show_all_file_settings()', 'execute')`,
		markSetting).Scan(&on, &may)
	if err == nil && !on && may { // without that right it reads none of the files that a fence changes first
		err = conn.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_catalog.pg_show_all_file_settings() WHERE name = $1)`, markSetting).Scan(&on)
	}
	return on, failed("look for a fence", err)
}

// fenceLock is the key of the advisory lock that all who fence or lift hold; any number that nobody else uses.
const fenceLock = 0x5344_5246_454e_4345 // "SDRFENCE"

// lock makes sure that a server is fenced or let go of by one at a time. The session's end gives it back.
func (s *session) lock(ctx context.Context) error {
	_, err := s.Exec(ctx, `SELECT pg_advisory_lock($1)`, int64(fenceLock))
	return failed("wait for another fence", err)
}

// identify refuses a server that is not the lineage's. The same system identifier says little: a server that was promoted
// from a copy has it too, and may be what an address leads to after a failover. Its history tells: there it left the old
// lineage for the newer one's timeline. So does a local standby of the old server that was promoted at that very place; what each has
// written since tells them apart.
func (s *session) identify(ctx context.Context, o Options) error {
	if o.Lineage.SystemID != "" && s.systemID != o.Lineage.SystemID {
		return errNotOurs("the server's system identifier is %s, and lineage %s was written by %s", s.systemID, o.Lineage.ID, o.Lineage.SystemID)
	}
	if len(o.Newer) == 0 {
		return nil
	}
	history, now, err := s.readHistory(ctx)
	if err != nil {
		return err
	}
	for _, newer := range o.Newer {
		next, left := history.LeftFor(newer.Parent.At, now)
		if !left || next != newer.Start.Timeline {
			continue
		}
		if err := o.notOf(ctx, newer); err != nil {
			return err
		}
	}
	return nil
}

// notOf refuses a server that writes a newer lineage, or of which nobody can tell.
func (o Options) notOf(ctx context.Context, newer topology.Lineage) error {
	wrote, err := o.Wrote == nil, error(nil)
	if o.Wrote != nil {
		wrote, err = o.Wrote(ctx, newer)
	}
	switch {
	case fault.Is(err, fault.Missing):
		return errNotOurs("the server's history left lineage %s at %s, as that of lineage %s does, and what it wrote there first is gone: it may be the one that serves", o.Lineage.ID, newer.Parent.At.LSN, newer.ID)
	case err == nil && wrote:
		return errNotOurs("the server's history left lineage %s at %s: it serves the newer lineage %s", o.Lineage.ID, newer.Parent.At.LSN, newer.ID)
	}
	return err
}

// readHistory returns the timelines that a server has left behind, and the one that it is on. Access rules without one for replication, as
// somebody may have written who let clients in, keep nobody from fencing.
func (s *session) readHistory(ctx context.Context) (h wal.History, now wal.Timeline, err error) {
	conn, err := replication.Connect(ctx, s.source, "smartdr_fence")
	if codeOf(err) == noAuthorization && !s.inRecovery && s.superuser {
		return s.readHistoryFile(ctx)
	}
	if err != nil {
		return nil, 0, err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }() // only read from
	system, err := conn.IdentifySystem(ctx)
	now = system.Position.Timeline
	if err != nil || now == 1 {
		return nil, now, err
	}
	b, err := conn.TimelineHistory(ctx, now)
	if codeOf(err) != "" {
		return nil, now, nil // the file was removed long ago: one that was promoted lately has it
	}
	if err == nil {
		h, err = wal.ParseHistory(b)
	}
	return h, now, err
}

func (s *session) readHistoryFile(ctx context.Context) (h wal.History, now wal.Timeline, err error) {
	var timeline string
	err = s.QueryRow(ctx, `SELECT substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8)`).Scan(&timeline)
	if err == nil {
		now, err = wal.ParseTimelineKey(timeline)
	}
	if err != nil || now == 1 {
		return nil, now, failed("read timeline", err)
	}
	var text *string
	if err = s.QueryRow(ctx, `SELECT pg_read_file('pg_wal/' || $1, 0, 1 << 20, true)`, wal.HistoryFileName(now)).Scan(&text); err != nil || text == nil {
		return nil, now, failed("read timeline history", err) // a file that was removed long ago says nothing
	}
	h, err = wal.ParseHistory([]byte(*text))
	return h, now, err
}

// failed gives an error of a statement its kind: what a role may not do stays as it is, everything else may pass.
func failed(op string, err error) error {
	if err == nil {
		return nil
	}
	return fault.New(fault.Transient, op, err)
}

// SQLSTATEs (the manual's appendix "PostgreSQL Error Codes").
const (
	noSuchFile      = "58P01" // the library is not there
	noAuthorization = "28000" // no rule of pg_hba.conf
	noPrivilege     = "42501"
	noSuchSetting   = "42704"
)

func codeOf(err error) string {
	var refused *pgconn.PgError
	if errors.As(err, &refused) {
		return refused.Code
	}
	return ""
}

// sentences joins reasons.
func sentences(parts []string) string { return strings.Join(parts, "; ") }

// pause waits, or returns when ctx is done.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return fault.New(fault.Transient, "fence server", context.Cause(ctx))
	}
}
