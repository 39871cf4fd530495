package ship

import (
	"context"
	"log/slog"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/smartdr/smartdr/internal/devenv"
	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/internal/replication"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

// bringing is a tail that is on its way.
type bringing struct {
	do   func(ctx context.Context) (Brought, error)
	done chan struct{}
	b    Brought
	err  error
}

// left returns what brings the tail of w's lineage, changed by change.
func (w *world) left(change func(*WAL)) *WAL {
	x := &WAL{Source: w.source, Slot: testSlot, Group: "prod", Workspace: "orders", Lineage: w.lineage, Epoch: 1,
		Destinations: []Destination{{"east", w.stores[0]}, {"west", w.stores[1]}},
		CutAfter:     70 * time.Millisecond, AnnounceEvery: 100 * time.Millisecond,
		Log: slog.New(slog.NewTextHandler(testWriter{w.t, make(chan struct{})}, nil))}
	if change != nil {
		change(x)
	}
	return x
}

// at ends a tail at a position of timeline 1.
func at(l wal.LSN) func(context.Context) (wal.Position, error) {
	return func(context.Context) (wal.Position, error) { return wal.Position{Timeline: 1, LSN: l}, nil }
}

func (w *world) bring(do func(ctx context.Context) (Brought, error)) *bringing {
	ctx, stop := context.WithCancel(w.t.Context())
	r := &bringing{do: do, done: make(chan struct{})}
	go func() {
		defer close(r.done)
		r.b, r.err = do(ctx)
	}()
	w.t.Cleanup(func() { stop(); <-r.done })
	return r
}

// whole fails the test unless the tail comes to its end in both buckets, which is returned. It is brought again, as Tails does, where a
// bucket did not move for too long.
func (r *bringing) whole(t testing.TB) Brought {
	t.Helper()
	select {
	case <-r.done:
	case <-time.After(devtest.Patience):
		t.Fatal("the tail does not come to its end")
	}
	must(t, r.err)
	ctx, stop := context.WithTimeout(t.Context(), devtest.Patience)
	defer stop()
	for !r.b.Whole() {
		t.Logf("brought %+v", r.b)
		must(t, ctx.Err())
		r.b, r.err = r.do(ctx)
		must(t, r.err)
	}
	return r.b
}

// fromFiles brings the tail that a folder holds to both buckets.
func (w *world) fromFiles(dir string) Brought {
	w.t.Helper()
	return w.bring(func(ctx context.Context) (Brought, error) { return w.left(nil).ShipFiles(ctx, dir) }).whole(w.t)
}

// leave ships something and stops, as a shipper does whose epoch is over; then it writes more.
func (w *world) leave() wal.LSN {
	w.t.Helper()
	s := w.ship(nil)
	end := w.write(2 << 20)
	s.until("both hold everything", func() bool { return s.reached(0, end) && s.reached(1, end) })
	s.end()
	return w.write(20 << 20)
}

func TestTheTailOfALineageThatWasLeft(t *testing.T) {
	t.Parallel()
	w := newWorld(t, map[string]string{"wal_keep_size": "1GB"})
	end := w.leave()
	fenced := make(chan struct{})
	r := w.bring(func(ctx context.Context) (Brought, error) {
		return w.left(nil).ShipTail(ctx, func(context.Context) (p wal.Position, err error) {
			select {
			case <-fenced:
				return wal.Position{Timeline: 1, LSN: end}, nil
			default:
				return p, nil
			}
		})
	})
	devtest.Until(t, "both buckets hold what there is", func() bool { return w.tip(0).Position.LSN >= end && w.tip(1).Position.LSN >= end })
	end = w.write(1 << 20) // not fenced yet
	select {
	case <-r.done:
		t.Fatalf("it ended before the server was fenced: %+v, %v", r.b, r.err)
	default:
	}
	close(fenced)
	r.whole(t)
	w.compare(0)
	w.compare(1)
	if a, b := w.tip(0), w.tip(1); a.RecordEnd < end || b.RecordEnd < end {
		t.Errorf("the buckets end at %s and %s, the tail at %s", a.RecordEnd, b.RecordEnd, end)
	}
}

// A bucket that is away does not hold up the other one, and gets the rest when it answers.
func TestATailWhileABucketIsAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t, map[string]string{"wal_keep_size": "1GB"})
	end := w.leave()
	revive := w.faults[1].Add(objectstore.Rule{Fail: fault.Newf(fault.Transient, "test", "dead")})
	b, err := w.left(nil).ShipTail(t.Context(), at(end))
	must(t, err)
	if !b.In(0) || b.In(1) || b.Whole() || b.Furthest() != 0 {
		t.Fatalf("brought %+v", b)
	}
	revive()
	r := w.bring(w.left(nil).CopyTail)
	<-r.done
	must(t, r.err)
	if r.b.End = b.End; !r.b.Whole() {
		t.Errorf("copied %+v", r.b)
	}
	w.compare(1)
}

// The old worker's shipper may be at it still when the tail's begins.
func TestATailBesideAShipper(t *testing.T) {
	t.Parallel()
	w := newWorld(t, map[string]string{"wal_keep_size": "1GB"})
	begun := w.leave()
	other := w.connect()
	must(t, other.CreateSlot(t.Context(), "second"))
	must(t, other.Close(t.Context()))
	old := w.ship(func(x *WAL) { x.CutAfter = 30 * time.Millisecond })
	same := w.bring(func(ctx context.Context) (Brought, error) { // the slot is taken: it waits for the other one's end
		return w.left(nil).ShipTail(ctx, at(begun))
	})
	end := w.write(8 << 20)
	r := w.bring(func(ctx context.Context) (Brought, error) {
		return w.left(func(x *WAL) { x.Slot = "second" }).ShipTail(ctx, at(end))
	})
	w.write(8 << 20)
	r.whole(t)
	old.end()
	same.whole(t)
	w.compare(0)
	w.compare(1)
}

// A disk without its server gives what the server had flushed, and a server that is started on it afterwards goes on from there.
func TestATailFromFiles(t *testing.T) {
	t.Parallel()
	w := newWorld(t, map[string]string{"wal_keep_size": "1GB"})
	w.leave()
	for range 3 {
		end := w.write(3 << 20)
		busy := w.bring(func(ctx context.Context) (Brought, error) { // dies in the middle of a record
			for ctx.Err() == nil && w.pg.Exec(ctx, "postgres", "insert into filler select b from filler limit 20") == nil {
			}
			return Brought{}, nil
		})
		devtest.Until(t, "it writes", func() bool { return w.flushed() > end })
		must(t, w.pg.Kill(t.Context()))
		<-busy.done
		b := w.fromFiles(filepath.Join(w.pg.DataDir, "pg_wal"))
		if b.End.LSN < end {
			t.Fatalf("brought %+v, flushed was %s", b, end)
		}
		w.compare(0)
		must(t, w.pg.Start(t.Context()))
		if again := w.queryLSN("select redo_lsn::text from pg_control_checkpoint()"); again < end {
			t.Fatalf("recovery ended at %s", again)
		}
	}
	end := w.write(1 << 20)
	w.bring(func(ctx context.Context) (Brought, error) { return w.left(nil).ShipTail(ctx, at(end)) }).whole(t)
	w.compare(0)
	w.compare(1)
}

// A data directory that was shut down properly is one too, and one whose server has nothing more is whole at once.
func TestATailFromFilesOfAServerThatWasShutDown(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	s := w.ship(nil)
	end := w.write(1 << 20)
	s.until("both hold everything", func() bool { return s.reached(0, end) && s.reached(1, end) })
	must(t, w.pg.Stop(t.Context(), "fast"))
	s.end()
	b := w.fromFiles(w.pg.DataDir)
	if b.End.LSN != w.tip(0).Position.LSN {
		t.Errorf("brought %+v, the bucket ends at %s", b, w.tip(0).Position)
	}
}

// Files are followed over a local failover that nobody had seen, whose last WAL the old timeline's copy has.
func TestATailFromFilesOfAnotherTimeline(t *testing.T) {
	t.Parallel()
	w := newWorld(t, map[string]string{"wal_keep_size": "1GB"})
	standby := w.addStandby()
	w.replayed(standby, w.leave())
	w.takeOver(standby)
	end := w.write(20 << 20)
	must(t, w.pg.Kill(t.Context()))
	b := w.fromFiles(w.pg.DataDir)
	if b.End.Timeline != 2 || b.End.LSN < end {
		t.Fatalf("brought %+v, flushed was %s", b, end)
	}
	w.compare(0)
	w.compare(1)
}

func TestFilesThatAreNotTheLineagesAreRefused(t *testing.T) {
	t.Parallel()
	w, other := newWorld(t, nil), newWorld(t, nil)
	s := w.ship(nil)
	end := w.write(1 << 20)
	s.until("both hold everything", func() bool { return s.reached(0, end) && s.reached(1, end) })
	s.end()
	refused := func(what, dir string, kind fault.Kind) {
		t.Helper()
		before := w.tip(0).Position
		_, err := w.left(nil).ShipFiles(t.Context(), dir)
		if !fault.Is(err, kind) || fault.HintOf(err) == "" {
			t.Errorf("%s: %v", what, err)
		}
		if now := w.tip(0).Position; now != before {
			t.Errorf("%s: the bucket went from %s to %s", what, before, now)
		}
	}
	refused("a server that runs", w.pg.DataDir, fault.Conflict)
	must(t, w.pg.Kill(t.Context()))
	must(t, other.pg.Kill(t.Context()))
	refused("another server", other.pg.DataDir, fault.Diverged)
	refused("no folder", filepath.Join(w.pg.DataDir, "nowhere"), fault.Invalid)
	refused("no WAL", devtest.Dir(t), fault.Missing)
}

// A copy of the server that went its own way from an earlier point has the same name, and other WAL where the bucket ends.
func TestFilesOfACloneAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, map[string]string{"wal_keep_size": "1GB"})
	clone := w.addStandby()
	w.replayed(clone, w.write(1<<20))
	must(t, clone.Kill(t.Context()))
	must(t, clone.RemoveStandbySignal())
	must(t, clone.Start(t.Context()))
	must(t, clone.Exec(t.Context(), "postgres", "create table other as select g from generate_series(1, 100000) g"))
	must(t, clone.Kill(t.Context()))
	s := w.ship(nil)
	end := w.write(1 << 20)
	s.until("both hold everything", func() bool { return s.reached(0, end) && s.reached(1, end) })
	s.end()
	before := w.tip(0).Position
	_, err := w.left(nil).ShipFiles(t.Context(), clone.DataDir)
	if !fault.Is(err, fault.Diverged) || w.tip(0).Position != before {
		t.Errorf("it was taken: %v", err)
	}
}

// Both sides were promoted at the same place to the same timeline. The one that is the newer lineage's is refused; the other is
// followed.
func TestASideThatWentToTheSameTimelineAtTheSamePlace(t *testing.T) {
	t.Parallel()
	w := newWorld(t, map[string]string{"wal_keep_size": "1GB"})
	ours, theirs := w.addStandby(), w.addStandby()
	source := w.source
	w.replayed(ours, w.leave())
	w.replayed(theirs, w.flushed())
	must(t, w.pg.Stop(t.Context(), "fast")) // both have the same last record
	must(t, ours.Promote(t.Context()))
	must(t, theirs.Promote(t.Context()))
	must(t, ours.WaitPromoted(t.Context()))
	must(t, theirs.WaitPromoted(t.Context()))
	old := w.lineage
	newer := w.shipNewer(theirs)
	w.lineage, w.pg, w.source = old, ours, source
	w.source.ConnString = ours.Source("postgres").ConnString
	end := w.write(1 << 20)

	left := w.left(func(x *WAL) { x.Newer = []topology.Lineage{newer} })
	left.Source = theirs.Source("postgres")
	if _, err := left.ShipTail(t.Context(), at(end)); !fault.Is(err, fault.Diverged) {
		t.Errorf("the newer lineage's server was taken: %v", err)
	}
	if _, err := left.ShipFiles(t.Context(), w.copyWAL(theirs)); !fault.Is(err, fault.Diverged) {
		t.Errorf("the newer lineage's files were taken: %v", err)
	}
	left.Source = w.source
	r := w.bring(func(ctx context.Context) (Brought, error) {
		return left.ShipTail(ctx, func(context.Context) (wal.Position, error) { return wal.Position{Timeline: 2, LSN: end}, nil })
	})
	r.whole(t)
	w.compare(0)
	w.compare(1)
	w.pg, w.lineage = theirs, newer
	w.compare(0)
}

// shipNewer begins a lineage on a server that was promoted, and ships some of it.
func (w *world) shipNewer(p *devenv.Postgres) topology.Lineage {
	w.t.Helper()
	c, err := replication.Connect(w.t.Context(), p.Source("postgres"), "test")
	must(w.t, err)
	h, err := c.TimelineHistory(w.t.Context(), 2)
	must(w.t, err)
	must(w.t, c.Close(w.t.Context()))
	history, err := wal.ParseHistory(h)
	must(w.t, err)
	old := w.lineage
	w.pg, w.source = p, p.Source("postgres")
	w.lineage.ID, w.lineage.Epoch, w.lineage.Start = "0002-0a0b0c0d", 2, wal.Position{Timeline: 2, LSN: old.SegmentSize.Start(history[0].LSN)}
	w.lineage.Parent = &topology.Fork{Lineage: old.ID, At: wal.Position{Timeline: 1, LSN: history[0].LSN}}
	s := w.ship(func(x *WAL) { x.Epoch = 2 })
	end := w.write(1 << 20)
	s.until("both hold everything", func() bool { return s.reached(0, end) && s.reached(1, end) })
	s.end()
	return w.lineage
}

// copyWAL copies a server's pg_wal while it runs.
func (w *world) copyWAL(p *devenv.Postgres) string {
	w.t.Helper()
	dir := filepath.Join(devtest.Dir(w.t), "pg_wal")
	out, err := exec.Command("cp", "-a", filepath.Join(p.DataDir, "pg_wal"), dir).CombinedOutput()
	if err != nil {
		w.t.Fatalf("%v: %s", err, out)
	}
	return dir
}
