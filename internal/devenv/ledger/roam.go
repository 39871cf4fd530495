package ledger

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/smartdr/smartdr/internal/wal"
)

const (
	// transferWithin is how long a session waits for a server's word. One that is cut off says nothing at all.
	transferWithin = 5 * time.Second
	// connectAgain is the least pause between attempts to find a server that takes writes: the resolution of the clients' gap. Where an
	// attempt takes longer, on a busy machine, the pause does too: each is a process of the server, and what is waited for needs the machine.
	connectAgain = 20 * time.Millisecond
)

// Roam writes from several sessions until Stop. A session whose transfer fails connects again and goes on with another one, as an
// application with a pool would: connect is to find the server that takes writes. What was not acknowledged is not repeated, so
// that nothing is written twice.
func Roam(ctx context.Context, connect func(context.Context) (*pgx.Conn, error), o Options) *Load {
	if o.Writers == 0 {
		o.Writers = 2
	}
	ctx, stop := context.WithCancel(ctx)
	l := &Load{stop: stop}
	for n := range o.Writers {
		s := &session{load: l, connect: connect, name: fmt.Sprintf("%s-%d", o.Name, n), pause: o.Pause}
		l.done.Go(func() { s.run(ctx) })
	}
	return l
}

// session is one writer that roams.
type session struct {
	load     *Load
	connect  func(context.Context) (*pgx.Conn, error)
	name     string
	pause    time.Duration
	made     atomic.Int64 // transfers begun; each has an id of its own
	timeline wal.Timeline // of the server that it is connected to

	entry time.Duration // what the last attempt to connect took
}

func (s *session) run(ctx context.Context) {
	for ctx.Err() == nil {
		err := s.visit(ctx)
		if err != nil && ctx.Err() == nil {
			s.load.failed(err)
			rest(ctx, max(connectAgain, 2*s.entry))
		}
	}
}

// visit writes to one server until a transfer fails or ctx ends. It looks for the end between transfers only, so that every
// outcome is known as long as the server lives.
func (s *session) visit(ctx context.Context) error {
	conn, err := s.enter(ctx)
	if err != nil {
		return err
	}
	work := context.WithoutCancel(ctx)
	defer func() {
		bye, cancel := context.WithTimeout(work, time.Second)
		defer cancel()
		conn.Close(bye) //nolint:errcheck // nothing hangs on a clean goodbye
	}()
	for ctx.Err() == nil {
		if err := s.commit(work, conn); err != nil {
			return err
		}
		rest(ctx, s.pause)
	}
	return nil
}

// enter connects, and learns which server it is.
func (s *session) enter(ctx context.Context) (*pgx.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, transferWithin)
	defer cancel()
	began := time.Now()
	defer func() { s.entry = min(time.Since(began), time.Second) }()
	conn, err := s.connect(ctx)
	if err != nil {
		return nil, err
	}
	if s.timeline, err = timelineOf(ctx, conn); err != nil {
		return nil, errors.Join(err, conn.Close(ctx))
	}
	return conn, nil
}

func (s *session) commit(ctx context.Context, conn *pgx.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, transferWithin)
	defer cancel()
	c, err := commitOne(ctx, conn, fmt.Sprintf("%s-%d", s.name, s.made.Add(1)))
	if err != nil {
		return err
	}
	c.Timeline, c.Server = s.timeline, conn.PgConn().Conn().RemoteAddr().String()
	s.load.acknowledged(c)
	return nil
}

// timelineOf returns the timeline that a server writes. It fails on one that is in recovery.
func timelineOf(ctx context.Context, conn *pgx.Conn) (wal.Timeline, error) {
	var file string
	if err := conn.QueryRow(ctx, `select pg_walfile_name(pg_current_wal_insert_lsn())`).Scan(&file); err != nil {
		return 0, err
	}
	if len(file) < 8 {
		return 0, fmt.Errorf("%q is not the name of a WAL file", file)
	}
	return wal.ParseTimelineKey(file[:8])
}
