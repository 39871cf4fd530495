package restore

import (
	"context"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/wal"
)

const (
	lookEvery = 50 * time.Millisecond
	// stillFor is how long a server that takes no connections must show no sign of progress after it has logged the end of
	// its WAL: twice wal_retrieve_retry_interval.
	stillFor = 2 * time.Second
)

// connection is the one that Attach asks the server through, while it takes any.
type connection struct{ pg *pgx.Conn }

func (c *connection) open() bool { return c.pg != nil && !c.pg.IsClosed() }

func (a *attach) connect(ctx context.Context) error {
	if a.conn.open() {
		return nil
	}
	var err error
	a.conn.pg, err = a.Server.Open(ctx, "postgres")
	return err
}

// awaitConnections waits until the server takes connections, which it may do a moment after it was promoted.
func (a *attach) awaitConnections(ctx context.Context) error {
	for {
		err := a.connect(ctx)
		if err == nil || !fault.Is(err, fault.Transient) {
			return err
		}
		if _, running := a.Server.Running(ctx); !running {
			return a.Server.WhyEnded()
		}
		if pause(ctx, lookEvery) != nil {
			return err
		}
	}
}

func (a *attach) disconnect() {
	if a.conn.open() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = a.conn.pg.Close(ctx) // nothing depends on it any more
	}
}

// look is what a server that takes connections says of its recovery.
type look struct {
	inRecovery bool
	replayed   wal.LSN
	paused     bool
	waiting    bool // the startup process has read all WAL there is
}

const lookSQL = `SELECT pg_is_in_recovery(), coalesce(pg_last_wal_replay_lsn(), '0/0')::text,
	CASE WHEN pg_is_in_recovery() THEN pg_get_wal_replay_pause_state() ELSE '' END,
	coalesce((SELECT wait_event FROM pg_stat_activity WHERE backend_type = 'startup'), '')`

func (a *attach) look(ctx context.Context) (look, error) {
	if err := a.connect(ctx); err != nil {
		return look{}, err
	}
	var l look
	var lsn, paused, wait string
	if err := a.conn.pg.QueryRow(ctx, lookSQL).Scan(&l.inRecovery, &lsn, &paused, &wait); err != nil {
		return look{}, fault.New(fault.Transient, opAttach, err)
	}
	replayed, err := wal.ParseLSN(lsn)
	if err != nil {
		return look{}, fault.New(fault.Transient, opAttach, err)
	}
	l.replayed, l.paused = replayed, paused == "paused"
	l.waiting = wait == "RecoveryRetrieveRetryInterval"
	return l, nil
}

// watch remembers what was seen last.
type watch struct {
	before look
	sign   string    // of progress, from outside
	since  time.Time // when sign changed last
}

// awaitReplay waits until everything up to the plan's end is replayed and nothing beyond it is there. It
// reports true when the server was promoted already, by an earlier call.
func (a *attach) awaitReplay(ctx context.Context) (promoted bool, err error) {
	w := watch{since: time.Now()}
	for {
		if _, running := a.Server.Running(ctx); !running {
			return false, a.Server.WhyEnded()
		}
		done, promoted, err := a.step(ctx, &w)
		if done || err != nil {
			return promoted, err
		}
		if err := pause(ctx, lookEvery); err != nil {
			return false, fault.New(fault.Transient, opAttach, err)
		}
	}
}

func (a *attach) step(ctx context.Context, w *watch) (done, promoted bool, err error) {
	l, err := a.look(ctx)
	if ctx.Err() != nil {
		return false, false, fault.New(fault.Transient, opAttach, ctx.Err())
	}
	if err != nil && !fault.Is(err, fault.Transient) {
		return false, false, err
	}
	if err != nil {
		return a.stepUnconnected(ctx, w)
	}
	if !l.inRecovery {
		return true, true, nil
	}
	before := w.before
	w.before = l
	a.say(Recovering, l.replayed)
	switch {
	case l.paused:
		return false, false, a.pausedError()
	case !l.waiting || l != before: // seen twice, since the parts of a look are not from one moment
		w.since = time.Now()
		return false, false, nil
	case samePlace(l.replayed, a.Plan.RecordEnd):
		return true, false, nil
	case time.Since(w.since) < stillFor: // it may have been fed since it looked last
		return false, false, nil
	}
	return false, false, a.endError(l.replayed)
}

// stepUnconnected judges a server that takes no connections by its log and the file that its startup process is at. It may take
// none to the end although it is consistent: hot_standby is off, or the snapshot began during a transaction with more than 64
// subtransactions.
func (a *attach) stepUnconnected(ctx context.Context, w *watch) (done, promoted bool, err error) {
	if counts, err := a.promotionCounts(ctx); err != nil || counts {
		return counts, counts, err
	}
	seen := readRecoveryLog(a.Server.Log(), a.segmentSize)
	sign := a.Server.ReplayedFile() + "\n" + strings.Join(seen.lines, "\n")
	if sign != w.sign {
		w.sign, w.since = sign, time.Now()
		a.say(Recovering, 0)
	}
	switch {
	case seen.paused:
		return false, false, a.pausedError()
	case !seen.ended || time.Since(w.since) < stillFor:
		return false, false, nil
	case !seen.consistent:
		return false, false, fault.Newf(fault.Corrupt, opAttach, "WAL ends at %s, before the snapshot is consistent", seen.end).WithHint(hintGap)
	case seen.end < a.Plan.RecordEnd:
		return false, false, a.endError(seen.end)
	}
	return true, false, nil
}

const hintGap = "The WAL in the bucket does not reach the recovery point: nothing was promoted. Check the objects around that position, or restore to an earlier point."

// endError says that replay has ended somewhere else than planned.
func (a *attach) endError(at wal.LSN) error {
	seen := readRecoveryLog(a.Server.Log(), a.segmentSize)
	if at > a.Plan.RecordEnd {
		return fault.Newf(fault.Corrupt, opAttach, "replay reached %s, past the recovery point %s", at, a.Plan.RecordEnd).
			WithHint("pg_wal holds more than was planned. Restore again into an empty folder.")
	}
	return fault.Newf(fault.Corrupt, opAttach, "replay stopped at %s, before the recovery point %s: %s", at, a.Plan.RecordEnd, seen.reason()).WithHint(hintGap)
}

func (a *attach) pausedError() error {
	seen := readRecoveryLog(a.Server.Log(), a.segmentSize)
	return fault.Newf(fault.Invalid, opAttach, "recovery has paused: %s", seen.reason()).
		WithHint("The primary's settings were raised while it ran; give the restored server at least as much.")
}

func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
