package retention_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/smartdr/smartdr/internal/archive"
	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/missing"
	"github.com/smartdr/smartdr/internal/restore"
	"github.com/smartdr/smartdr/internal/retention"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

// records are those of the lineage up to a position, as the bucket has them.
func (w *world) records(to wal.LSN) restore.Records {
	leg := restore.Leg{Archive: archive.Open(w.store, "prod", "orders", w.lineage.ID), Lineage: w.lineage, From: w.lineage.Start, To: to}
	return restore.Records{Legs: []restore.Leg{leg}, SegmentSize: w.lineage.SegmentSize}
}

// looking lets a sweep find out how far back WAL is needed.
func (w *world) looking(s *retention.Sweep) {
	s.Needed = func(ctx context.Context, _ *topology.Group, sm topology.SystemManaged) (wal.LSN, error) {
		r := w.records(sm.Fork.LSN)
		oldest, err := r.Oldest(ctx)
		if err != nil {
			return 0, err
		}
		return missing.OldestNeeded(ctx, r.Walk, sm.Fork.LSN, oldest, r.SegmentSize)
	}
}

func (w *world) here() wal.LSN {
	w.t.Helper()
	conn, err := w.pg.Open(w.t.Context(), "postgres")
	must(w.t, err)
	defer conn.Close(context.Background()) //nolint:errcheck // it only asked
	var at string
	must(w.t, conn.QueryRow(w.t.Context(), "select pg_current_wal_flush_lsn()::text").Scan(&at))
	l, err := wal.ParseLSN(at)
	must(w.t, err)
	return l
}

// end is where the last record ends that the bucket has, once it has everything that was written.
func (w *world) end(from wal.LSN) (end wal.LSN) {
	w.t.Helper()
	written := w.here()
	devtest.Until(w.t, "WAL to "+written.String(), func() bool {
		tip, err := archive.Open(w.store, "prod", "orders", w.lineage.ID).TipFrom(w.t.Context(), w.lineage, w.lineage.SegmentSize.Start(from))
		must(w.t, err)
		end = tip.RecordEnd
		return tip.Position.LSN >= written
	})
	return end
}

// opens begins a transaction that writes a row and stays open, and returns where it began.
func (w *world) opens() (*pgx.Conn, wal.LSN) {
	w.t.Helper()
	must(w.t, w.pg.Exec(w.t.Context(), "postgres", "create table if not exists late (n int primary key)", "checkpoint", "select pg_switch_wal()", "checkpoint"))
	began := w.here()
	conn, err := w.pg.Open(w.t.Context(), "postgres")
	must(w.t, err)
	w.t.Cleanup(func() { _ = conn.Close(context.Background()) })
	_, err = conn.Exec(w.t.Context(), "begin; insert into late values (1)")
	must(w.t, err)
	return conn, began
}

// leave makes a lineage that left the one of the server where it is now, as a failover does, and returns that place.
func (w *world) leave() wal.LSN {
	w.t.Helper()
	fork := w.end(w.here() - 1)
	_, err := w.catalog.Update(w.t.Context(), "prod", func(g *topology.Group) error {
		at := wal.Position{Timeline: w.lineage.Start.Timeline, LSN: fork}
		next := topology.Lineage{ID: "0002-0a0b0c0d", Epoch: 1, Region: "east", SystemID: w.lineage.SystemID, SegmentSize: w.lineage.SegmentSize, CreatedAt: time.Now(),
			Start: wal.Position{Timeline: at.Timeline + 1, LSN: w.lineage.SegmentSize.Start(fork)}, Parent: &topology.Fork{Lineage: w.lineage.ID, At: at}}
		ws := g.Workspace("orders")
		ws.Lineage, ws.Lineages = next.ID, append(ws.Lineages, next)
		g.SystemManaged = []topology.SystemManaged{{Name: "app_20261123T100000Z", Workspace: "orders", Database: "postgres", Lineage: w.lineage.ID, Fork: at, Region: "east", Since: time.Now()}}
		return nil
	})
	must(w.t, err)
	return fork
}

func (w *world) systemManaged() topology.SystemManaged {
	w.t.Helper()
	l, err := w.catalog.Load(w.t.Context(), "prod")
	must(w.t, err)
	return l.Group.SystemManaged[0]
}

// scan says what rows of a table were committed behind a fork, by what the bucket has.
func (w *world) scan(fork wal.LSN) *missing.Changes {
	w.t.Helper()
	tip := w.end(fork)
	r := w.records(tip)
	oldest, err := r.Oldest(w.t.Context())
	must(w.t, err)
	c, err := missing.Scan(w.t.Context(), missing.ScanInput{Walk: r.Walk, Fork: fork, Tip: tip, Oldest: oldest, Segment: r.SegmentSize})
	must(w.t, err)
	return c
}

// A transaction that was open where the server was left, for longer than the window, and committed on the side that was left: its rows are found after
// all rounds.
func TestWALOfALongTransactionStaysBehindTheSnapshots(t *testing.T) {
	for name, c := range map[string]struct{ before, behind string }{
		"open": {"select", "commit"}, "prepared": {"prepare transaction 'late'", "commit prepared 'late'"},
	} {
		t.Run(name, func(t *testing.T) { longTransaction(t, c.before, c.behind) })
	}
}

// longTransaction does something with it before the fork, and something behind it.
func longTransaction(t *testing.T, before, behind string) {
	w := newWorld(t)
	first := w.snapshot()
	conn, began := w.opens()
	_, err := conn.Exec(t.Context(), before)
	must(t, err)
	for range 2 {
		w.snapshot()
	}
	fork := w.leave()
	_, err = conn.Exec(t.Context(), behind)
	must(t, err)
	must(t, w.pg.Exec(t.Context(), "postgres", "select pg_switch_wal()"))
	w.end(fork)
	time.Sleep(3 * time.Second) // the window is one second
	_, err = w.sweep(nil)       // which nobody has told yet how far back to look
	must(t, err)
	for range 3 {
		_, err := w.sweep(w.looking)
		must(t, err)
	}
	sm := w.systemManaged()
	if sm.Needs == 0 || sm.Needs > began || !sm.Back["east"] {
		t.Errorf("the transaction began behind %s, and WAL is needed from %s on: %v", began, sm.Needs, sm.Back)
	}
	if left := w.keys("/snapshots/" + first); len(left) > 0 {
		t.Errorf("the first snapshot is still there: nothing shows that WAL stays for its own sake")
	}
	oldest, err := w.records(fork).Oldest(t.Context())
	must(t, err)
	if size := w.lineage.SegmentSize; oldest > size.Start(sm.Needs) || oldest < size.Start(sm.Needs)-wal.LSN(2*size) {
		t.Errorf("WAL begins at %s, and is needed from %s on", oldest, sm.Needs)
	}
	c := w.scan(fork)
	if c.Expired || len(c.Commits) != 1 || len(c.Tables) == 0 || c.From > began {
		t.Errorf("of the transaction %d commits and %d tables are found from %s on, expired %v", len(c.Commits), len(c.Tables), c.From, c.Expired)
	}
}

// What a window took before a failover nobody brings back; it is said, and holds up nothing else.
func TestWALThatWasGoneAtTheForkIsTold(t *testing.T) {
	w := newWorld(t)
	w.snapshot()
	conn, began := w.opens()
	for range 2 {
		w.snapshot()
	}
	time.Sleep(3 * time.Second)
	for range 2 {
		_, err := w.sweep(w.looking)
		must(t, err)
	}
	fork := w.leave()
	if oldest, err := w.records(fork).Oldest(t.Context()); err != nil || oldest <= began {
		t.Fatalf("WAL of the transaction from %s on is still there, from %s on: %v", began, oldest, err)
	}
	_, err := conn.Exec(t.Context(), "commit")
	must(t, err)
	must(t, w.pg.Exec(t.Context(), "postgres", "select pg_switch_wal()"))
	w.end(fork)
	for range 2 {
		swept, err := w.sweep(w.looking)
		must(t, err)
		if notes := fmt.Sprint(swept.Workspaces[0].Notes); !strings.Contains(notes, "when app_20261123T100000Z was left") || !strings.Contains(notes, "as a whole") {
			t.Errorf("it is not told: %s", notes)
		}
	}
	if here, looked := w.systemManaged().Back["east"]; here || !looked {
		t.Errorf("it is on record as there: %v, looked %v", here, looked)
	}
	if c := w.scan(fork); !c.Expired {
		t.Errorf("the transaction is found from %s on", c.From)
	}
}

// While nobody can say how far back transactions go, nothing before the fork is given up.
func TestWALStaysWhileItIsNotKnownHowMuchIsNeeded(t *testing.T) {
	w := newWorld(t)
	for range 3 {
		w.snapshot()
	}
	w.leave()
	time.Sleep(3 * time.Second)
	before := w.keys("/wal/")
	for range 2 {
		swept, err := w.sweep(func(s *retention.Sweep) {
			s.Needed = func(context.Context, *topology.Group, topology.SystemManaged) (wal.LSN, error) {
				return 0, fault.Newf(fault.Transient, "read WAL", "the bucket is busy")
			}
		})
		must(t, err)
		if notes := fmt.Sprint(swept.Workspaces[0].Notes); !strings.Contains(notes, "the bucket is busy") {
			t.Errorf("it is not told: %s", notes)
		}
	}
	if after := w.keys("/wal/"); len(after) < len(before) {
		t.Errorf("%d objects are left of %d", len(after), len(before))
	}
	_, err := w.sweep(w.looking)
	must(t, err)
	if after := w.keys("/wal/"); len(after) >= len(before) {
		t.Errorf("nothing was open at the fork, and %d objects stay of %d", len(after), len(before))
	}
}
