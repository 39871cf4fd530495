package fence_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/postgres/postgrestest"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

// commitsAfter returns the positions of commits in the WAL that end after a position, up to what is flushed now.
func (w world) commitsAfter(end wal.Position) (after []wal.LSN) {
	w.Helper()
	flushed := position(w, postgrestest.Query(w, w.server, "postgres", "SELECT pg_current_wal_flush_lsn()"))
	const size = wal.SegmentSize(16 << 20)
	scanner := wal.NewScanner(size)
	for at := size.Start(end.LSN); at < flushed; at += wal.LSN(size) {
		name := fmt.Sprintf("%08X%08X%08X", end.Timeline, uint32(at>>32), uint32(at)>>24)
		b := postgrestest.WALFile(w, w.server, name)
		b = b[:min(wal.LSN(len(b)), flushed-at)]
		postgrestest.Check(w, scanner.Feed(at, b, func(r wal.Record) {
			if r.Commit != nil && r.End > end.LSN {
				after = append(after, r.End)
			}
		}))
	}
	return after
}

// What clients were told before the fence lies before its end, and nothing is committed after it, however they try.
func TestNothingIsCommittedAfterTheFence(t *testing.T) {
	postgrestest.ForEach(t, func(t *testing.T, bin postgres.Binaries) {
		w := newWorld(t, bin, map[string]string{"autovacuum": "off"})
		writers := []*writer{
			w.write("app", 1_000_000, "BEGIN"),
			w.write("app", 2_000_000, "BEGIN READ WRITE"),
			w.write("owner", 3_000_000, "SET default_transaction_read_only = off; BEGIN"),
			w.write("app", 4_000_000, "SET synchronous_commit = off; BEGIN READ WRITE"),
			w.write("postgres options='-c session_preload_libraries='", 5_000_000, "BEGIN READ WRITE"),
		}
		for _, l := range writers {
			l.wait(20)
		}
		open := w.mustAs("app", "")
		_, err := open.Exec(t.Context(), "BEGIN; INSERT INTO t VALUES (1)")
		postgrestest.Check(t, err)

		r := w.apply(w.options("op-1"))
		if r.Worth != topology.FenceProven || r.End.LSN == 0 {
			t.Fatalf("worth %s (%s), end %s", r.Worth, r.Reason, r.End)
		}
		if _, err := open.Exec(t.Context(), "COMMIT"); err == nil {
			t.Error("a transaction that was open was committed")
		}
		told := map[*writer]int{}
		for _, l := range writers {
			l.fails(1)
			told[l] = len(l.acknowledged())
		}
		for _, l := range writers {
			l.fails(10) // they go on trying
			l.end()
			if now := len(l.acknowledged()); now != told[l] {
				t.Errorf("%s was told of %d commits after the fence", l.role, now-told[l])
			}
		}
		if after := w.commitsAfter(r.End); len(after) > 0 {
			t.Errorf("commits at %v lie after the fence's end %s", after, r.End)
		}
		w.holdsAll(writers)
	})
}

// holdsAll fails unless everything is there that clients were told.
func (w world) holdsAll(writers []*writer) {
	w.Helper()
	conn := postgrestest.Open(w, w.server, "shop")
	defer conn.Close(context.Background())
	rows, err := conn.Query(context.Background(), "SELECT n FROM t")
	postgrestest.Check(w, err)
	there, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	postgrestest.Check(w, err)
	slices.Sort(there)
	for _, l := range writers {
		for _, n := range l.acknowledged() {
			if _, found := slices.BinarySearch(there, n); !found {
				w.Errorf("%s was told of %d, and it is not there", l.role, n)
			}
		}
	}
}

// A client may have come before the fence, and say only afterwards who it is.
func TestALateClientIsSentAway(t *testing.T) {
	postgrestest.ForEach(t, func(t *testing.T, bin postgres.Binaries) {
		w := newWorld(t, bin, nil)
		p := newProxy(t, w, 0)
		release := make(chan struct{})
		p.hold[1] = release
		in := make(chan *pgx.Conn, 1)
		go func() {
			conn, err := pgx.Connect(context.Background(), p.as("app"))
			if err != nil {
				t.Errorf("it was refused, so that this test shows nothing: %v", err)
			}
			in <- conn
		}()
		devtest.Until(t, "the client's first message is held", func() bool { p.mu.Lock(); defer p.mu.Unlock(); return p.seen == 1 })
		r := w.apply(w.options("op-1"))
		ctx, cancel := context.WithCancel(t.Context())
		guarded := make(chan error, 1)
		go func() { guarded <- r.Guard(ctx, w.source) }()
		close(release)
		if conn := <-in; conn != nil {
			if _, err := conn.Exec(t.Context(), "INSERT INTO t VALUES (7)"); err == nil {
				t.Error("its transaction did not begin read-only")
			}
			devtest.Until(t, "the late client is sent away", func() bool { return conn.Ping(t.Context()) != nil })
		}
		cancel()
		postgrestest.Check(t, <-guarded)
	})
}

// A client that is just being asked for its password is ended with the sessions.
func TestAClientThatIsBeingLetInIsSentAway(t *testing.T) {
	postgrestest.ForEach(t, func(t *testing.T, bin postgres.Binaries) {
		w := newWorld(t, bin, nil)
		postgrestest.Exec(t, w.server, "postgres", "ALTER ROLE owner PASSWORD 'x'")
		w.writeRules(strings.Replace(userRules, "owner 127.0.0.1 255.255.255.255 trust", "owner 127.0.0.1 255.255.255.255 scram-sha-256", 1))
		p := newProxy(t, w, 0)
		release := make(chan struct{})
		p.hold[2] = release
		refused := make(chan error, 1)
		go func() {
			conn, err := pgx.Connect(context.Background(), p.as("owner")+" password=x")
			if err == nil {
				_ = conn.Close(context.Background())
			}
			refused <- err
		}()
		devtest.Until(t, "the client's password is held", func() bool { p.mu.Lock(); defer p.mu.Unlock(); return p.seen == 2 })
		// smartdr shares the rule with owner: it has no password, so the fence is set through the socket
		w.source = w.server.Source("shop")
		r := w.apply(w.options("op-1"))
		if !contains(r.Means, "1 sessions were ended") {
			t.Errorf("means %q", r.Means)
		}
		close(release)
		if err := <-refused; err == nil {
			t.Error("it got in")
		}
	})
}
