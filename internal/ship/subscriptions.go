package ship

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

const (
	// provedEvery is how often it is proved how far subscriptions are: what a publisher says within that time before the
	// server is lost can not be judged after a failover.
	provedEvery = time.Second
	// subscribedEvery is how often a server without subscriptions is asked whether it has one now.
	subscribedEvery = 10 * time.Second
	// flushWithin is how long a look waits for the server to flush its WAL, which its WAL writer does several times a second.
	flushWithin = time.Second
	flushAgain  = 50 * time.Millisecond
)

// watchSubscriptions keeps proofs of how far the server's subscriptions are until ctx is done.
func (s *shipper) watchSubscriptions(ctx context.Context) {
	for every := time.Duration(0); sleep(ctx, every); {
		seen, err := s.lookAtSubscriptions(ctx)
		switch {
		case err != nil:
			every = slotEvery
			s.Log.Debug("could not ask about subscriptions", "error", err)
			continue
		case len(seen) == 0:
			every = subscribedEvery
		default:
			every = provedEvery
		}
		s.learnApplied(seen)
	}
}

// learnApplied keeps what was seen. A subscription whose position is not known yet keeps its older proofs.
func (s *shipper) learnApplied(seen []topology.Applied) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var proved []topology.Applied
	for _, a := range seen {
		if a.UpTo != 0 && a.At.LSN != 0 {
			proved = append(proved, a)
		}
	}
	s.applied = topology.OnlyApplied(topology.AddApplied(s.applied, proved), seen)
}

// lookAtSubscriptions returns the enabled subscriptions, without positions where none is certain. Over a connection of its
// own each time, as with the slot.
func (s *shipper) lookAtSubscriptions(ctx context.Context) ([]topology.Applied, error) {
	ctx, cancel := context.WithTimeout(ctx, slotTimeout)
	defer cancel()
	conn, err := postgres.Open(ctx, s.Source)
	if err != nil {
		return nil, err
	}
	defer conn.Close(ctx)
	seen, err := readApplied(ctx, conn)
	if err != nil || len(seen) == 0 {
		return nil, err
	}
	at, err := flushedAfter(ctx, conn, s.Lineage.SegmentSize)
	for i := range seen {
		seen[i].At = at
	}
	return seen, err
}

// readApplied reads how far each subscription is. latest_end_lsn is the publisher's position in the last keepalive that was
// taken, and every transaction before it was applied by then (LogicalRepApplyLoop in worker.c), by parallel workers too, for
// whose commits their leader waits. Such workers and those that copy a table are no measure of their own.
func readApplied(ctx context.Context, conn *pgx.Conn) (seen []topology.Applied, err error) {
	rows, err := conn.Query(ctx, `SELECT d.datname::text, s.subname::text, s.subslotname::text, coalesce(w.latest_end_lsn, '0/0')::text
		FROM pg_subscription s JOIN pg_database d ON d.oid = s.subdbid LEFT JOIN LATERAL (SELECT latest_end_lsn FROM pg_stat_subscription st
			WHERE st.subid = s.oid AND relid IS NULL AND pid IS NOT NULL AND to_jsonb(st) ->> 'leader_pid' IS NULL LIMIT 1) w ON true
		WHERE s.subenabled AND s.subslotname IS NOT NULL AND NOT pg_is_in_recovery() ORDER BY 1, 2`)
	if err != nil {
		return nil, err
	}
	var a topology.Applied
	var upTo string
	_, err = pgx.ForEachRow(rows, []any{&a.Database, &a.Name, &a.Slot, &upTo}, func() (err error) {
		a.UpTo, err = wal.ParseLSN(upTo)
		seen = append(seen, a)
		return err
	})
	return seen, err
}

// flushedAfter returns a position in the server's WAL before which everything lies that was committed by now, once it is
// flushed: zero if that takes long. Since the connection has lived through it, the server has not crashed in between, and what
// is at that position in a bucket is what was committed, whatever happens to the server later.
func flushedAfter(ctx context.Context, conn *pgx.Conn, size wal.SegmentSize) (at wal.Position, err error) {
	var inserted string
	var timeline int64
	err = conn.QueryRow(ctx, `SELECT l::text, ('x' || left(pg_walfile_name(l), 8))::bit(32)::bigint FROM pg_current_wal_insert_lsn() l`).Scan(&inserted, &timeline)
	if err != nil {
		return at, err
	}
	end, err := wal.ParseLSN(inserted)
	if err != nil {
		return at, err
	}
	end = recordEnd(end, size)
	for until := time.Now().Add(flushWithin); ; {
		var flushed bool
		if err := conn.QueryRow(ctx, `SELECT pg_current_wal_flush_lsn() >= $1::text::pg_lsn`, end.String()).Scan(&flushed); err != nil {
			return at, err
		}
		if flushed {
			return wal.Position{Timeline: wal.Timeline(timeline), LSN: end}, nil
		}
		if time.Now().After(until) || !sleep(ctx, flushAgain) {
			return at, ctx.Err()
		}
	}
}

// recordEnd returns the end of the record before an insert position, which is behind a page's header where the
// record ended with the page before (GetXLogInsertRecPtr in xlog.c).
func recordEnd(insert wal.LSN, size wal.SegmentSize) wal.LSN {
	header := wal.LSN(24) // SizeOfXLogShortPHD
	page := insert - insert%wal.PageSize
	if size.Start(page) == page {
		header = 40 // SizeOfXLogLongPHD
	}
	if insert-page == header {
		return page
	}
	return insert
}
