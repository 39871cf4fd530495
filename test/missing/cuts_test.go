package missing_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/smartdr/smartdr/internal/missing"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/postgres/postgrestest"
	"github.com/smartdr/smartdr/internal/wal"
)

// loadTables are those of the load, in a schema that state knows. Vacuum does not truncate them: it would lock them so that a copy can't be
// read, which histories do.
const loadTables = `
create schema h90; set search_path = h90;
create table account (id int primary key, balance int not null, filler text) with (fillfactor = 80, vacuum_truncate = off, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 50);
create table journal (account int, delta int) with (vacuum_truncate = off);
create table queue (id int primary key, n int not null) with (vacuum_truncate = off, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20);
create table nested (id int primary key, n int not null) with (vacuum_truncate = off);
create table wide (id int primary key, big text) with (vacuum_truncate = off);
insert into account select i, 0, repeat('x', 60) from generate_series(1, 1500) i;
insert into nested select i, 0 from generate_series(1, 400) i`

// works are what a client does, again and again.
var works = []string{
	`begin; update account set balance = balance + %[1]d where id = %[2]d; insert into journal values (%[2]d, %[1]d); commit`,
	`begin; insert into queue values (%[3]d, %[1]d) on conflict (id) do update set n = queue.n + 1; delete from queue where id = %[3]d - 40; commit`,
	`do $$ begin for i in 1..150 loop begin update nested set n = n + 1 where id = 1 + (%[2]d + i) %% 400; if i %% 7 = 0 then raise division_by_zero; end if;
	   exception when division_by_zero then null; end; end loop; end $$`,
	`begin; update nested set n = -n where id between %[2]d and %[2]d + 20; savepoint s; delete from journal where account = %[2]d; rollback to s; update account set filler = filler || 'y' where id = %[2]d; commit`,
	`begin; insert into wide select %[3]d, string_agg(md5(i::text), '') from generate_series(1, 100) i on conflict (id) do update set big = excluded.big; rollback`,
	`insert into wide select %[3]d, string_agg(md5((i * %[1]d)::text), '') from generate_series(1, 100) i on conflict (id) do update set big = 'short'`,
	`delete from account where id = %[2]d and balance > 60`,
}

// load runs clients for a while.
func (l *line) load(database string, clients int, d time.Duration) {
	l.t.Helper()
	postgrestest.Exec(l.t, l.old, database, loadTables)
	ctx, cancel := context.WithTimeout(l.t.Context(), d)
	defer cancel()
	var g errgroup.Group
	for n := range clients {
		g.Go(func() error { return l.client(ctx, database, n) })
	}
	check(l.t, g.Wait())
}

func (l *line) client(ctx context.Context, database string, n int) error {
	conn, err := l.old.Open(l.t.Context(), database)
	if err != nil {
		return err
	}
	defer conn.Close(context.Background())
	if _, err := conn.Exec(l.t.Context(), "set search_path = h90; set synchronous_commit = off"); err != nil {
		return err
	}
	r := random(l.t.Name(), "client", n)
	for ctx.Err() == nil {
		_, err := conn.PgConn().Exec(l.t.Context(), fmt.Sprintf(works[r.IntN(len(works))], 1+r.IntN(9), 1+r.IntN(400), 1+r.IntN(300))).ReadAll()
		var refused *pgconn.PgError
		if err != nil && (!errors.As(err, &refused) || refused.Code != "40P01") { // deadlock_detected
			return err
		}
		if err != nil {
			_, _ = conn.Exec(l.t.Context(), "rollback")
		}
	}
	return nil
}

// Wherever the old line is cut while a load runs, what is found from there on is what a full comparison of the tables finds.
func TestCutsUnderLoad(t *testing.T) {
	postgrestest.InTurn(t, func(t *testing.T, bin postgres.Binaries) {
		n, d := 3, 3*time.Second
		if full() {
			n, d = 20, 20*time.Second
		}
		o := &opening{line: startLine(t, bin, variant{settings: map[string]string{"autovacuum": "on", "autovacuum_naptime": "1s", "bgwriter_delay": "10ms"}}), bin: bin}
		began := o.position()
		o.load(databases[0], 6, d)
		end := o.end()
		check(t, o.old.Kill(t.Context()))
		theirs := o.holdsAt(end)
		for i, cut := range o.cuts(began, end, n) {
			t.Run(cut.String(), func(t *testing.T) {
				at := &opening{line: &line{t: t, base: o.line.base, old: o.old}, bin: bin, fork: cut}
				at.cut(tip{at: end, states: theirs}, i == n-1)
			})
		}
	})
}

// holdsAt is what the old server held at a position.
func (l *line) holdsAt(at wal.LSN) map[string]state {
	l.t.Helper()
	r := l.readingPromoted(at)
	defer r.stop()
	return statesOf(l.t, r.s)
}

// cuts are ends of records right before such as change rows, or commit that.
func (l *line) cuts(from, to wal.LSN, n int) []wal.LSN {
	l.t.Helper()
	var all []wal.LSN
	last := wal.LSN(0)
	check(l.t, l.walk(l.t.Context(), from, to, func(r wal.Record) error {
		_, changes, err := r.RowChange()
		if last > 0 && (changes || r.Commit != nil) {
			all = append(all, last)
		}
		last = r.End
		return err
	}))
	if len(all) < 1000 {
		l.t.Fatalf("the load wrote %d records that change rows", len(all))
	}
	random := random(l.t.Name(), "cuts")
	out := make([]wal.LSN, n)
	for i := range out {
		out[i] = all[random.IntN(len(all))]
	}
	slices.Sort(out)
	return out
}

// cut compares what is found behind a cut with the tables, and merges it if asked to.
func (o *opening) cut(end tip, merge bool) {
	t := o.t
	o.base = o.holdsAt(o.fork)
	found := o.find(end)
	d := databases[0]
	m := &model{base: o.base[d], theirs: end.states[d], active: o.base[d], policy: missing.Keep}
	m.compare()
	report(t, "found", m.judgeSet(t, found[d]))
	t.Logf("%d changes of %s", len(m.changes), o.fork)
	if !merge {
		return
	}
	o.active = o.activeAt(o.fork)
	done := o.merge(found[d], d, missing.MergeInput{Apply: true})
	report(t, "merged", m.judge(done))
	if diff := diffStates(end.states[d], stateOf(t, o.active, d)); diff != "" {
		t.Errorf("after the merge:\n%.4000s", diff)
	}
}
