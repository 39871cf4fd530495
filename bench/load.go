package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/sync/errgroup"

	"github.com/smartdr/smartdr/internal/wal"
)

// writers is how many connections write in a burst.
const writers = 4

// probeEvery is the pause between the commits whose arrival in the bucket is timed. They are the whole light load.
const probeEvery = 100 * time.Millisecond

// loaded is what a load did.
type loaded struct {
	bytes   float64 // of WAL
	seconds float64
	end     wal.LSN   // of the server's durable WAL
	at      time.Time // when it was that
	commits []sample
}

func (l loaded) rate() float64 { return l.bytes / l.seconds / mega }

// load lets the prober and as many writers work for d.
func (p *place) load(ctx context.Context, d time.Duration, writers int) (l loaded, err error) {
	before, err := p.flushed(ctx)
	if err != nil {
		return l, err
	}
	until, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	began := time.Now()
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) { l.commits, err = p.probe(gctx, until.Done()); return err })
	for k := range writers {
		g.Go(func() error { return p.burst(gctx, until.Done(), k) })
	}
	if err := g.Wait(); err != nil {
		return l, fmt.Errorf("load: %w", err)
	}
	l.end, err = p.flushed(ctx)
	l.at = time.Now()
	l.seconds, l.bytes = l.at.Sub(began).Seconds(), float64(l.end-before)
	return l, err
}

// probe commits a row every 100 ms, and notes when the server said that it was durable, and an LSN at or after it. What
// others commit between the two makes the lag look longer, never shorter.
func (p *place) probe(ctx context.Context, done <-chan struct{}) (commits []sample, err error) {
	conn, err := p.connect(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	t := time.NewTicker(probeEvery)
	defer t.Stop()
	for {
		select {
		case <-done:
			return commits, nil
		case <-t.C:
		}
		s, err := commit(ctx, conn)
		if err != nil {
			return nil, err
		}
		commits = append(commits, s)
	}
}

func commit(ctx context.Context, conn *pgx.Conn) (s sample, err error) {
	if _, err := conn.Exec(ctx, "insert into probe default values"); err != nil {
		return s, err
	}
	s.at = time.Now()
	var text string
	if err := conn.QueryRow(ctx, flushedQuery).Scan(&text); err != nil {
		return s, err
	}
	s.lsn, err = wal.ParseLSN(text)
	return s, err
}

// burst copies and updates rows as fast as the server takes it. What it copies it throws away from time to time.
func (p *place) burst(ctx context.Context, done <-chan struct{}, k int) (err error) {
	conn, err := p.connect(ctx)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	table := fmt.Sprintf("burst%d", k)
	b := &bursting{conn: conn, table: table}
	if err := b.exec(ctx, "create table if not exists "+table+" (like docs including all)", "alter table "+table+" drop constraint if exists "+table+"_pkey"); err != nil {
		return err
	}
	if err := conn.QueryRow(ctx, "select (select max(id) from docs), (select max(aid) from accounts)").Scan(&b.docs, &b.accounts); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.exec(context.WithoutCancel(ctx), "truncate "+table)) }()
	for n := 0; ; n++ {
		select {
		case <-done:
			return nil
		default:
		}
		if err := b.step(ctx, n, k); err != nil {
			return err
		}
	}
}

type bursting struct {
	conn           *pgx.Conn
	table          string
	docs, accounts int64
}

func (b *bursting) exec(ctx context.Context, statements ...string) error {
	for _, s := range statements {
		if _, err := b.conn.Exec(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

// step inserts some MB, or updates a range of accounts that is this writer's own.
func (b *bursting) step(ctx context.Context, n, k int) error {
	if n%100 == 99 {
		return b.exec(ctx, "truncate "+b.table)
	}
	if n%4 == 3 {
		share := b.accounts / writers
		from := int64(k)*share + rand.Int64N(max(1, share-2000))
		return b.exec(ctx, fmt.Sprintf("update accounts set abalance = abalance + 1 where aid between %d and %d", from, from+min(2000, share-1)))
	}
	from := rand.Int64N(max(1, b.docs-4000))
	return b.exec(ctx, fmt.Sprintf("insert into %s select * from docs where id between %d and %d", b.table, from, from+4000))
}
