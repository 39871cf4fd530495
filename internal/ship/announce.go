package ship

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

const (
	// slotEvery is how often the server is asked about the slot. Each time over a connection of its own: one that
	// stayed would hold up a smart shutdown.
	slotEvery   = 5 * time.Second
	slotTimeout = 4 * time.Second
	// cannotConnect is the SQLSTATE (cannot_connect_now) of a server that shuts down.
	cannotConnect = "57P03"
)

func (s *shipper) setServer(p wal.Position) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.server = p
}

// closedFor returns for how long the server has refused new connections because it shuts down.
func (s *shipper) closedFor(now time.Time) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed.IsZero() {
		return 0
	}
	return now.Sub(s.closed)
}

// watchSlot keeps what status shows of the slot until ctx is done.
func (s *shipper) watchSlot(ctx context.Context) {
	t := time.NewTicker(slotEvery)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			slot, end, err := s.askSlot(ctx)
			s.learnSlot(slot, end, err)
		case <-ctx.Done():
			return
		}
	}
}

// slotQuery reads the view that only superusers and members of pg_monitor see whole; the columns used here are for all.
const slotQuery = `SELECT coalesce(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_receive_lsn() ELSE pg_current_wal_flush_lsn() END::text, '0/0'),
	coalesce(restart_lsn::text, '0/0'), coalesce(wal_status, ''), safe_wal_size
	FROM (SELECT 1) one LEFT JOIN pg_replication_slots ON slot_name = $1`

func (s *shipper) askSlot(ctx context.Context) (slot topology.SlotState, end wal.LSN, err error) {
	ctx, cancel := context.WithTimeout(ctx, slotTimeout)
	defer cancel()
	conn, err := postgres.Open(ctx, s.Source)
	if err != nil {
		return slot, 0, err
	}
	defer conn.Close(ctx)
	var flushed, restart string
	slot.Name = s.Slot
	err = conn.QueryRow(ctx, slotQuery, s.Slot).Scan(&flushed, &restart, &slot.WALStatus, &slot.SafeWALSize)
	if err != nil {
		return slot, 0, err
	}
	if slot.RestartLSN, err = wal.ParseLSN(restart); err != nil {
		return slot, 0, err
	}
	end, err = wal.ParseLSN(flushed)
	return slot, end, err
}

// learnSlot keeps what was learned. Not to know is no failure of shipping.
func (s *shipper) learnSlot(slot topology.SlotState, end wal.LSN, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var pg *pgconn.PgError
	if errors.As(err, &pg) && pg.Code == cannotConnect {
		if s.closed.IsZero() {
			s.closed = time.Now()
		}
		return
	}
	s.closed = time.Time{}
	if err != nil {
		s.Log.Debug("could not ask about the slot", "error", err)
		return
	}
	s.slot = slot
	if s.leg != nil && end > s.server.LSN { // what is not read because no bucket takes it is lag, too
		s.server.LSN = end
		s.lag.seen(end, time.Now())
	}
}

func (s *shipper) announceAll(ctx context.Context) {
	t := time.NewTicker(s.AnnounceEvery)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			s.announce(ctx)
		case <-ctx.Done():
			return
		}
	}
}

// announce tells how far shipping is.
func (s *shipper) announce(ctx context.Context) {
	if s.Announce == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, max(5*time.Second, s.AnnounceEvery))
	defer cancel()
	if err := s.Announce(ctx, s.progress(time.Now())); err != nil && ctx.Err() == nil {
		s.Log.Warn("could not announce progress", "error", err)
	}
}

// progress returns what status shows of shipping at this moment.
func (s *shipper) progress(now time.Time) topology.WALProgress {
	s.mu.Lock()
	l, err := s.leg, s.err
	p := topology.WALProgress{Lineage: s.Lineage.ID, Epoch: s.Epoch, MeasuredAt: now.UTC(), Server: s.server, Slot: s.slot, Applied: s.applied}
	s.mu.Unlock()
	if err != nil {
		p.Error = err.Error()
	}
	if l != nil {
		s.advance(l.standing(now))
	}
	p.Cursors = s.describe(p.Server.LSN, now)
	return p
}

// advance keeps where the buckets stand now. A leg that has not found out yet where one stands does not take back what was
// announced of it.
func (s *shipper) advance(standing []topology.Cursor) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range standing {
		standing[i].Point = standing[i].Point.NotBehind(s.cursors[i].Point)
	}
	s.cursors = standing
}

// standing returns the cursors without what belongs to the moment.
func (l *leg) standing(now time.Time) []topology.Cursor {
	places, end := l.board.places()
	least := end
	cursors := make([]topology.Cursor, len(places))
	for i, p := range places {
		c := topology.Cursor{Region: l.cursors[i].region, Point: p.point, Mode: "catching up"}
		if p.live {
			c.Mode = "live"
		}
		if p.err != nil {
			c.Error = p.err.Error()
		}
		// A bucket that has all that was received has all that was flushed when everything had been received.
		if heard := l.heard.Load(); heard != 0 && p.live && p.durable >= l.cut.received() {
			c.Point.AsOf = time.Unix(0, heard).UTC()
		}
		least = min(least, p.durable)
		cursors[i] = c
	}
	l.w.lag.forget(least)
	return cursors
}

// describe adds lags and counts to the cursors, which may be those of a leg that is over.
func (s *shipper) describe(server wal.LSN, now time.Time) []topology.Cursor {
	s.mu.Lock()
	out := slices.Clone(s.cursors)
	s.mu.Unlock()
	for i := range out {
		c := &out[i]
		if at := c.Point.At.LSN; at != 0 {
			c.LagBytes = max(0, int64(server)-int64(at))
			c.LagSeconds = s.lag.age(at, now).Seconds()
		}
		c.BytesSent = s.counters[i].BytesOut.Load()
		c.Requests = s.counters[i].Requests()
	}
	return out
}
