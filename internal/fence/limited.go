package fence

import (
	"context"
	"errors"

	"github.com/smartdr/smartdr/internal/postgres"
)

// What a role can do that is no superuser: it may have been granted ALTER SYSTEM for a setting, pg_signal_backend and
// pg_reload_conf().

func (a *applying) asFarAsAllowed(ctx context.Context) (Result, error) {
	a.because("role %s is no superuser, and cannot keep others out", a.role)
	on := "on"
	if err := a.alter(ctx, "default_transaction_read_only", &on); err != nil {
		if codeOf(err) == "" {
			return a.result, err
		}
		a.because("it may not set default_transaction_read_only (%v)", err)
	} else if _, err := a.Exec(ctx, `SELECT pg_reload_conf()`); err != nil {
		if codeOf(err) == "" {
			return a.result, failed("reload settings", err)
		}
		a.because("it may not reload settings (%v)", err)
	} else {
		a.by("transactions begin read-only, unless their session chooses otherwise")
	}
	ended, err := a.endAllowed(ctx)
	if err != nil {
		return a.result, err
	}
	a.by("%d sessions were ended", ended)
	a.result.Worth, a.result.Reason = "best effort", sentences(a.reasons)
	return a.result, nil
}

// endAllowed ends those sessions that the role may end.
func (a *applying) endAllowed(ctx context.Context) (ended int, err error) {
	rows, err := a.Query(ctx, `SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datid IS NOT NULL
		AND coalesce(backend_type, 'client backend') = 'client backend' -- hidden from who may not see others' sessions
		AND NOT (usename = current_user AND application_name = current_setting('application_name'))`)
	if err != nil {
		return 0, failed("end sessions", err)
	}
	var pids []int32
	var pid int32
	for rows.Next() {
		if err := rows.Scan(&pid); err != nil {
			break // Err says it
		}
		pids = append(pids, pid)
	}
	if rows.Close(); rows.Err() != nil {
		return 0, failed("end sessions", rows.Err())
	}
	refused := 0
	for _, pid := range pids {
		var told bool
		err := a.QueryRow(ctx, `SELECT pg_terminate_backend($1)`, pid).Scan(&told)
		switch {
		case codeOf(err) == noPrivilege:
			refused++
		case err != nil:
			return ended, failed("end sessions", err)
		case told:
			ended++
		}
	}
	if refused > 0 {
		a.because("it may not end %d sessions (grant it pg_signal_backend)", refused)
	}
	return ended, nil
}

func (s *session) liftLimited(ctx context.Context) error {
	err := s.alter(ctx, "default_transaction_read_only", nil)
	if err == nil {
		_, err = s.Exec(ctx, `SELECT pg_reload_conf()`)
	}
	if codeOf(err) == noPrivilege {
		return nil // it could not be set either
	}
	return failed("lift fence", err)
}

// limitedInForce reports whether sessions begin read-only. Where the role cannot see to that it is never in force: clients are sent
// away again and again.
func (s *session) limitedInForce(ctx context.Context) (on bool, err error) {
	conn, err := postgres.OpenAsClient(ctx, s.source)
	if err != nil {
		return false, err
	}
	err = conn.QueryRow(ctx, `SELECT current_setting('default_transaction_read_only') = 'on'`).Scan(&on)
	return on, failed("check fence", errors.Join(err, conn.Close(ctx)))
}
