package ship

import (
	"context"
	"fmt"
	"testing"

	"github.com/smartdr/smartdr/internal/devenv"
	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

// TestWhatASubscriptionConfirmedIsProvedToBeShipped: once its publisher is quiet, what the publisher was told is certainly in
// the buckets, although most of it is the publisher's own.
func TestWhatASubscriptionConfirmedIsProvedToBeShipped(t *testing.T) {
	w := newWorld(t, nil)
	s := w.ship(nil)
	s.until("nothing is announced of a server without subscriptions", func() bool { return s.progress().Slot.Name != "" })
	if got := s.progress().Applied; len(got) != 0 {
		t.Fatalf("proofs without subscriptions: %v", got)
	}
	publisher := devtest.Postgres(t, devenv.PostgresOptions{Settings: map[string]string{"wal_level": "logical"}, Major: major(t)})
	w.subscribe(publisher, "one", "two")
	for i := range 3 {
		must(t, publisher.Exec(t.Context(), "postgres", fmt.Sprintf("insert into one values (%d)", i), "create table other_"+fmt.Sprint(i)+" ()"))
		s.until("what both subscriptions confirmed is proved to be in both buckets", func() bool {
			confirmed := confirmedBy(t, publisher)
			return s.proved("one") >= confirmed["one"] && s.proved("two") >= confirmed["two"]
		})
	}
	again := s.progress()
	s.end()
	s = w.ship(func(x *WAL) { x.Announced = again })
	s.until("the next shipper knows the proofs of the one before", func() bool { return len(s.progress().Applied) >= len(again.Applied) })
	w.sql("alter subscription one disable")
	s.until("one that is disabled is forgotten", func() bool { return s.proved("one") == 0 && s.proved("two") > 0 })
}

func (w *world) subscribe(publisher *devenv.Postgres, tables ...string) {
	w.t.Helper()
	must(w.t, publisher.Exec(w.t.Context(), "postgres", "create role feeder login superuser password 'feeder'"))
	for _, name := range tables {
		must(w.t, publisher.Exec(w.t.Context(), "postgres", "create table "+name+" (id int)", "create publication "+name+" for table "+name))
		w.sql("create table "+name+" (id int)",
			fmt.Sprintf("create subscription %[1]s connection 'host=127.0.0.1 port=%[2]d user=feeder password=feeder dbname=postgres' publication %[1]s", name, publisher.Port))
	}
}

func confirmedBy(t *testing.T, publisher *devenv.Postgres) map[string]wal.LSN {
	t.Helper()
	w := &world{t: t, pg: publisher, source: publisher.Source("postgres")}
	all := map[string]wal.LSN{}
	for _, name := range []string{"one", "two"} {
		all[name] = w.queryLSN("select confirmed_flush_lsn::text from pg_replication_slots where slot_name = '" + name + "'")
		if end := w.queryLSN("select pg_current_wal_flush_lsn()::text"); all[name] < end {
			all[name] = end // it will be
		}
	}
	return all
}

// proved returns what is proved by what both buckets hold.
func (s *shipping) proved(name string) (upTo wal.LSN) {
	p := s.progress()
	for i, c := range p.Cursors {
		end := wal.Position{Timeline: c.Point.At.Timeline, LSN: c.Point.RecordEnd}
		if got := topology.AppliedBy(p.Applied, "postgres", name, name, end); i == 0 || got < upTo {
			upTo = got
		}
	}
	return upTo
}

// TestWhatIsNotFlushedProvesNothing: a server that crashes loses it, and writes something else in its place.
func TestWhatIsNotFlushedProvesNothing(t *testing.T) {
	w := newWorld(t, map[string]string{"wal_writer_delay": "10s"})
	w.sql("create table t (id int)")
	c := w.open()
	defer c.Close(context.Background())
	for held := false; !held; { // by chance the WAL writer wakes up just now
		_, err := c.Exec(t.Context(), "set synchronous_commit = off; insert into t values (1)")
		must(t, err)
		at, err := flushedAfter(t.Context(), c, w.lineage.SegmentSize)
		must(t, err)
		held = at.LSN == 0
	}
	_, err := c.Exec(t.Context(), "set synchronous_commit = on; insert into t values (1)")
	must(t, err)
	if at, err := flushedAfter(t.Context(), c, w.lineage.SegmentSize); err != nil || at.LSN == 0 || at.LSN > w.flushed() || at.Timeline != 1 {
		t.Errorf("flushed after %v, %v", at, err)
	}
}

func TestTheEndOfARecordBeforeAPageIsThePages(t *testing.T) {
	const segment = 1 << 20
	for insert, want := range map[wal.LSN]wal.LSN{
		3 * segment: 3 * segment, 3*segment + 40: 3 * segment, 3*segment + 24: 3*segment + 24,
		3*segment + 8192 + 24: 3*segment + 8192, 3*segment + 8192 + 40: 3*segment + 8192 + 40, 3*segment + 100: 3*segment + 100,
	} {
		if got := recordEnd(insert, segment); got != want {
			t.Errorf("%s: %s, want %s", insert, got, want)
		}
	}
}

// major is the one that newWorld's server has.
func major(t *testing.T) int {
	t.Helper()
	majors, err := devenv.Majors()
	must(t, err)
	return majors[0]
}
