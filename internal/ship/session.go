package ship

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/smartdr/smartdr/internal/archive"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/replication"
	"github.com/smartdr/smartdr/internal/wal"
)

const (
	// statusEvery is how often the server hears of us. It drops a connection that is silent for wal_sender_timeout.
	statusEvery = time.Second
	// statusLeast is the pause before an answer: a server that shuts down asks again at once.
	statusLeast = 20 * time.Millisecond
	// stopGrace is for how long a server's planned shutdown may wait for a bucket to take its last WAL. Then we leave: it
	// keeps the WAL, and we come back for it.
	stopGrace = 8 * time.Second
	// walRemoved is the SQLSTATE (undefined_file) of "requested WAL segment has already been removed".
	walRemoved = "58P01"
)

// errBroken is a connection that ended without more being known: connect again.
var errBroken = errors.New("connection ended")

// session streams over one connection until it breaks (errBroken), the leg is over, or ctx is done: then it stores what
// it has and says so to the server before it returns. work is the context of that.
func (l *leg) session(ctx, work context.Context, k *link) error {
	at, check := l.from()
	st, err := k.conn.StartPhysical(ctx, l.w.Slot, wal.Position{Timeline: l.timeline, LSN: at})
	if err != nil {
		return l.refused(ctx, work, k, err)
	}
	sctx, stop := context.WithCancelCause(work)
	defer stop(nil)
	rctx, stopReading := context.WithCancel(sctx)
	defer stopReading()
	defer context.AfterFunc(ctx, stopReading)()
	go func() { stop(l.keepReporting(sctx, st, k.slot.RestartLSN)) }()
	go func() { stop(l.yieldToShutdown(sctx)) }()
	err = l.read(rctx, st, check)
	switch {
	case ctx.Err() != nil:
		err = l.finish(ctx, work, nil)
		_ = l.report(work, st, k.slot.RestartLSN) // the slot is only a little further behind without it
		return err
	case errors.Is(err, errRejudge):
		return l.finish(ctx, work, err)
	case fault.Is(err, fault.Missing) || fault.Is(err, fault.Diverged):
		return l.refused(ctx, work, k, err)
	}
	return fmt.Errorf("%w: %w", errBroken, errors.Join(err, context.Cause(sctx)))
}

// from returns where to stream from, and a check of the bytes before what is wanted, or nil.
func (l *leg) from() (wal.LSN, *archive.Digest) {
	at := l.cut.received()
	if at == l.first.until && l.first.from < at {
		return l.first.from, l.first.before.Clone()
	}
	return at, nil
}

// refused judges why the server does not stream from where we are. Only what it says at the very beginning of a leg is
// the truth about what is stored; otherwise the leg ends, and the next one begins from the buckets.
func (l *leg) refused(ctx, work context.Context, k *link, err error) error {
	if l.cut.received() > l.board.start {
		return l.finish(ctx, work, errRejudge)
	}
	var pg *pgconn.PgError
	switch {
	case fault.Is(err, fault.Missing) && errors.As(err, &pg) && pg.Code == walRemoved:
		return &Hole{Lineage: l.w.Lineage.ID, Stored: wal.Position{Timeline: l.timeline, LSN: l.board.start},
			Available: k.slot.RestartLSN, Silent: l.silent, Err: err}
	case fault.Is(err, fault.Diverged):
		if l.w.diverged++; l.w.diverged <= 2 { // it may be changing timelines this very moment
			return errRejudge
		}
		return err
	case fault.Is(err, fault.Invalid):
		return err
	}
	return fmt.Errorf("%w: %w", errBroken, err)
}

// read takes what the server sends until the stream ends.
func (l *leg) read(ctx context.Context, st *replication.Stream, check *archive.Digest) error {
	var stopping stopping
	for {
		m, err := st.Receive(ctx)
		if err != nil {
			return err
		}
		switch m := m.(type) {
		case replication.Data:
			stopping = stopNone
			if check, err = l.take(ctx, m, check); err != nil {
				return err
			}
		case replication.Keepalive:
			if err := l.heardOf(ctx, m, &stopping); err != nil {
				return err
			}
		case replication.EndOfTimeline:
			return l.endOfTimeline(m)
		case replication.Shutdown:
			return errors.New("the server shuts down, and everything is stored")
		}
	}
}

// take keeps what a message brings. Until check is satisfied it brings what is stored already.
func (l *leg) take(ctx context.Context, m replication.Data, check *archive.Digest) (*archive.Digest, error) {
	now := time.Now()
	l.w.diverged = 0
	l.w.note(nil)
	l.learn(m.ServerEnd, now)
	start, b := m.Start, m.Bytes
	if check != nil {
		n := min(len(b), int(l.first.until-start))
		check.Write(b[:n])
		start, b = start+wal.LSN(n), b[n:]
		if start < l.first.until {
			return check, nil
		}
		if got := check.Sum(); got != l.first.want {
			return nil, fault.Newf(fault.Diverged, "follow timeline", "the WAL of timeline %d before %s has digest %s, what is stored %s",
				l.timeline, l.first.until, got, l.first.want).WithHint("It is of another server than the one that wrote the lineage.")
		}
		check = nil
	}
	l.blocked.Store(now.UnixNano())
	err := l.cut.append(ctx, start, b)
	l.blocked.Store(0)
	if err == nil && l.cut.received() >= m.ServerEnd {
		err = l.current(ctx, now)
	}
	return check, err
}

// learn notes how far the server is.
func (l *leg) learn(end wal.LSN, now time.Time) {
	l.w.lag.seen(end, now)
	l.w.setServer(wal.Position{Timeline: l.timeline, LSN: end})
}

// current notes that everything the server had flushed by now has been received.
func (l *leg) current(ctx context.Context, now time.Time) error {
	l.heard.Store(now.UnixNano())
	return l.cut.current(ctx, now.UTC())
}

// stopping counts the signs that the server waits for us to shut down.
type stopping struct {
	asked int
	since time.Time
}

var stopNone stopping

// heardOf answers a keepalive. A server that asks although it heard of us a moment ago, and has nothing more to send,
// shuts down and waits until everything is flushed (WalSndDone in walsender.c): so what there is goes out now, and when no
// bucket takes it we leave.
func (l *leg) heardOf(ctx context.Context, m replication.Keepalive, s *stopping) error {
	now := time.Now()
	l.learn(m.ServerEnd, now)
	if l.cut.received() < m.ServerEnd {
		if m.ReplyRequested {
			l.ask()
		}
		return nil
	}
	if err := l.current(ctx, now); err != nil {
		return err
	}
	l.w.note(nil)
	if !m.ReplyRequested {
		return nil
	}
	if s.asked++; s.asked == 1 {
		s.since = now
	}
	if s.asked > 3 && now.Sub(s.since) > stopGrace {
		return errors.New("the server shuts down, and no bucket takes its last WAL: leaving it to the server")
	}
	l.ask()
	return l.cut.cutOlder(ctx, now)
}

// endOfTimeline ends the leg. Whatever was received beyond the switch is stored first, as evidence of what the server's
// failover lost.
func (l *leg) endOfTimeline(m replication.EndOfTimeline) error {
	at := l.cut.received()
	l.w.Log.Info("the server changed its timeline", "from", l.timeline, "to", m.Next, "at", m.Switch, "received", at)
	if m.Next <= l.timeline {
		return fault.Newf(fault.Diverged, "follow timeline", "timeline %d cannot follow %d", m.Next, l.timeline)
	}
	if at > m.Switch {
		l.w.Log.Warn("the server's failover lost WAL that is stored here", "bytes", int64(at-m.Switch))
	}
	return errRejudge
}

// yieldToShutdown returns when the server shuts down while reading waits for a bucket: then nobody reads the
// server's requests to be acknowledged.
func (l *leg) yieldToShutdown(ctx context.Context) error {
	t := time.NewTicker(time.Second)
	defer t.Stop()
	for {
		select {
		case now := <-t.C:
			since := time.Unix(0, l.blocked.Load())
			if l.blocked.Load() != 0 && now.Sub(since) > stopGrace && l.w.closedFor(now) > stopGrace {
				return errors.New("the server shuts down, and no bucket takes its WAL: leaving it to the server")
			}
		case <-ctx.Done():
			return nil
		}
	}
}

// ask asks for a status update soon.
func (l *leg) ask() {
	select {
	case l.status <- struct{}{}:
	default:
	}
}

// keepReporting reports to the server until ctx is done: every second, and whenever asked. It waits for nothing that
// waits for a bucket, so that wal_sender_timeout strikes only when we are dead.
func (l *leg) keepReporting(ctx context.Context, st *replication.Stream, floor wal.LSN) error {
	t := time.NewTicker(statusEvery)
	defer t.Stop()
	for {
		if err := l.report(ctx, st, floor); err != nil {
			return err
		}
		select {
		case <-t.C:
		case <-l.status:
			if !sleep(ctx, statusLeast) {
				return nil
			}
		case <-ctx.Done():
			return nil
		}
	}
}

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// report sends one status update. floor is where the slot stands: less would move it back.
func (l *leg) report(ctx context.Context, st *replication.Stream, floor wal.LSN) error {
	flush := max(floor, l.board.flush(time.Now()))
	return st.SendStatus(ctx, max(l.cut.received(), flush), flush, false)
}
