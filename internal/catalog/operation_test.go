package catalog

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

func operation(id string, at int64) topology.Operation {
	return topology.Operation{
		ID: id, Kind: "Failover", Group: "prod", State: topology.OperationActive, From: "east", To: "west",
		StartedAt: time.Unix(at, 0).UTC(), Phases: []topology.Phase{},
	}
}

func TestOperationsExcludeEachOther(t *testing.T) {
	w := configured(t)
	var wins atomic.Int64
	var winner atomic.Value
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			id := fmt.Sprint("op", i)
			err := w.process().BeginOperation(t.Context(), operation(id, 1))
			var busy *Busy
			switch {
			case err == nil:
				wins.Add(1)
				winner.Store(id)
			case !fault.Is(err, fault.Taken) || !errors.As(err, &busy) || fault.HintOf(err) == "":
				t.Errorf("%v", err)
			}
		})
	}
	wg.Wait()
	if wins.Load() != 1 {
		t.Fatalf("%d operations hold the group", wins.Load())
	}
	id := winner.Load().(string)
	op := operation(id, 1)
	if err := w.BeginOperation(t.Context(), op); err != nil {
		t.Errorf("beginning again: %v", err)
	}
	if err := w.EndOperation(t.Context(), op); !fault.Is(err, fault.Invalid) {
		t.Errorf("ended while active: %v", err)
	}
	op.State = topology.OperationCompleted
	for range 2 {
		if err := w.EndOperation(t.Context(), op); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.BeginOperation(t.Context(), operation("next", 2)); err != nil {
		t.Error(err)
	}
	if err := w.EndOperation(t.Context(), op); err != nil || w.at(t, "west").Operation.ID != "next" {
		t.Errorf("an old operation let go of a new one: %v", err)
	}
}

func TestTakeOver(t *testing.T) {
	w := configured(t)
	if err := w.BeginOperation(t.Context(), operation("dead", 1)); err != nil {
		t.Fatal(err)
	}
	wantKind(t, w.TakeOverOperation(t.Context(), "other", operation("heir", 2)), fault.Taken, "dead")
	if err := w.TakeOverOperation(t.Context(), "dead", operation("heir", 2)); err != nil {
		t.Fatal(err)
	}
	if h := w.at(t, "west").Operation; h.ID != "heir" {
		t.Errorf("held by %+v", h)
	}
}

func TestOperationsAreListedNewestFirst(t *testing.T) {
	w := configured(t)
	ops := []topology.Operation{operation("c", 3), operation("b", 2), operation("a", 1)}
	for _, op := range ops {
		if err := w.PutOperation(t.Context(), op); err != nil {
			t.Fatal(err)
		}
	}
	revive := w.kill("east")
	ops[1].State = topology.OperationFailed
	ops[1].Error = "the WAL has a hole"
	if err := w.PutOperation(t.Context(), ops[1]); err != nil {
		t.Fatal(err)
	}
	revive()
	got := must(w.process().Operations(t.Context(), "prod"))(t)
	if diff := cmp.Diff(ops, got); diff != "" {
		t.Error(diff)
	}
	one := must(w.Operation(t.Context(), "prod", "b"))(t)
	if diff := cmp.Diff(ops[1], one); diff != "" {
		t.Error(diff)
	}
	_, err := w.Operation(t.Context(), "prod", "z")
	wantKind(t, err, fault.Missing)
}

func progress(e topology.Epoch, at int64) topology.WALProgress {
	return topology.WALProgress{
		Lineage: fmt.Sprintf("%04d-00000000", e), Epoch: e, MeasuredAt: time.Unix(at, 0).UTC(),
		Server: wal.Position{Timeline: 1, LSN: wal.LSN(at)}, Cursors: []topology.Cursor{},
	}
}

func TestProgressIsTheNewestAnnouncement(t *testing.T) {
	w := configured(t)
	_, err := w.WALProgress(t.Context(), "prod", "main")
	wantKind(t, err, fault.Missing)
	for at := range int64(3) {
		if err := w.PutWALProgress(t.Context(), "prod", "main", progress(1, at+1)); err != nil {
			t.Fatal(err)
		}
	}
	w.kill("east")
	if err := w.PutWALProgress(t.Context(), "prod", "main", progress(1, 9)); err != nil {
		t.Fatal(err)
	}
	got := must(w.process().WALProgress(t.Context(), "prod", "main"))(t)
	if diff := cmp.Diff(progress(1, 9), got); diff != "" {
		t.Error(diff)
	}
	w.kill("west")
	wantKind(t, w.PutWALProgress(t.Context(), "prod", "main", progress(1, 10)), fault.Transient, "east", "west")
}

// A failover holds what it finds against what was announced: a shipper that starts anew and has found out nothing yet must not
// take that back, whether it writes through the same catalog or another process's.
func TestAnAnnouncedPointNeverGoesDown(t *testing.T) {
	w := configured(t)
	point := func(lineage string, at wal.Position) topology.RecoveryPoint {
		return topology.RecoveryPoint{Lineage: lineage, At: at, RecordEnd: at.LSN, AsOf: time.Unix(int64(at.LSN), 0).UTC()}
	}
	step := func(what string, c *Catalog, second int64, p topology.RecoveryPoint, want wal.Position) {
		t.Helper()
		said := progress(1, second)
		said.Lineage, said.Server = p.Lineage, wal.Position{}
		said.Cursors = []topology.Cursor{{Region: "west", Point: p}}
		if err := c.PutWALProgress(t.Context(), "prod", "main", said); err != nil {
			t.Fatal(err)
		}
		for _, dead := range []string{"east", "west"} {
			revive := w.kill(dead)
			got := must(w.process().WALProgress(t.Context(), "prod", "main"))(t)
			revive()
			if c := got.Cursor("west"); c == nil || c.Point.At != want || c.Point.Lineage != p.Lineage && want.LSN != 0 || got.MeasuredAt.Unix() != second {
				t.Errorf("%s, without %s: %+v", what, dead, got)
			}
		}
	}
	const one, two = "0001-00000001", "0001-00000002"
	same := w.process()
	step("first", same, 1, point(one, wal.Position{Timeline: 1, LSN: 100}), wal.Position{Timeline: 1, LSN: 100})
	step("nothing known, in the same process", same, 2, point(one, wal.Position{}), wal.Position{Timeline: 1, LSN: 100})
	step("nothing known, in another", w.process(), 3, point(one, wal.Position{}), wal.Position{Timeline: 1, LSN: 100})
	step("further", w.process(), 4, point(one, wal.Position{Timeline: 1, LSN: 200}), wal.Position{Timeline: 1, LSN: 200})
	step("behind", same, 5, point(one, wal.Position{Timeline: 1, LSN: 150}), wal.Position{Timeline: 1, LSN: 200})
	step("a new timeline", same, 6, point(one, wal.Position{Timeline: 2, LSN: 180}), wal.Position{Timeline: 2, LSN: 180})
	step("a new lineage", same, 7, point(two, wal.Position{Timeline: 2, LSN: 10}), wal.Position{Timeline: 2, LSN: 10})
}

func TestAnOldEpochCannotAnnounce(t *testing.T) {
	w := configured(t)
	old, young := w.process(), w.process()
	if err := old.PutWALProgress(t.Context(), "prod", "main", progress(1, 50)); err != nil {
		t.Fatal(err)
	}
	if err := young.PutWALProgress(t.Context(), "prod", "main", progress(2, 3)); err != nil {
		t.Fatal(err)
	}
	wantKind(t, old.PutWALProgress(t.Context(), "prod", "main", progress(1, 60)), fault.Fenced, "epoch 2")
	if got := must(w.WALProgress(t.Context(), "prod", "main"))(t); got.Epoch != 2 {
		t.Errorf("epoch %d announces", got.Epoch)
	}
	snap := topology.SnapshotProgress{ID: "s", Lineage: "0002-00000000", MeasuredAt: time.Unix(1, 0).UTC()}
	if err := young.PutSnapshotProgress(t.Context(), "prod", "main", snap); err != nil {
		t.Fatal(err)
	}
	snap.Lineage = "0001-00000000"
	wantKind(t, old.PutSnapshotProgress(t.Context(), "prod", "main", snap), fault.Fenced)
	if err := young.PutMetadata(t.Context(), "prod", "main", Metadata{Epoch: 2, Databases: []string{"app"}, Server: []byte(`{}`)}); err != nil {
		t.Fatal(err)
	}
	wantKind(t, old.PutMetadata(t.Context(), "prod", "main", Metadata{Epoch: 1, Server: []byte(`{}`)}), fault.Fenced)
	if m := must(w.Metadata(t.Context(), "prod", "main"))(t); !cmp.Equal(m.Databases, []string{"app"}) {
		t.Errorf("got %+v", m)
	}
}

func TestAnAnnouncementCostsOneRequest(t *testing.T) {
	w := configured(t)
	var n objectstore.Counters
	c := w.process()
	c.Stores["west"] = objectstore.WithCounters(c.Stores["west"], &n)
	if err := c.PutWALProgress(t.Context(), "prod", "main", progress(1, 1)); err != nil {
		t.Fatal(err)
	}
	before := n.Requests()
	for at := range int64(10) {
		if err := c.PutWALProgress(t.Context(), "prod", "main", progress(1, at+2)); err != nil {
			t.Fatal(err)
		}
	}
	if cost := n.Requests() - before; cost != 10 {
		t.Errorf("10 announcements cost %d requests", cost)
	}
	before = n.Requests()
	if err := c.CheckEpoch(t.Context(), "prod", 1); err != nil || n.Requests()-before != 1 {
		t.Errorf("looking for a newer epoch cost %d requests: %v", n.Requests()-before, err)
	}
}

func TestADamagedAnnouncementIsReplaced(t *testing.T) {
	w := configured(t)
	for _, region := range []string{"east", "west"} {
		w.overwrite(t, region, workspaceKey("prod", "main", walFile), []byte(`{"format":1,`))
	}
	_, err := w.WALProgress(t.Context(), "prod", "main")
	wantKind(t, err, fault.Corrupt)
	if err := w.PutWALProgress(t.Context(), "prod", "main", progress(1, 1)); err != nil {
		t.Fatal(err)
	}
	must(w.WALProgress(t.Context(), "prod", "main"))(t)
}

func TestStatus(t *testing.T) {
	w := configured(t)
	now := time.Unix(100, 0).UTC()
	lineage := topology.Lineage{ID: "0001-00000000", Epoch: 1, Region: "east", SegmentSize: wal.DefaultSegmentSize, CreatedAt: now}
	must(w.Update(t.Context(), "prod", func(g *topology.Group) error {
		g.Workspaces[0].Lineage = lineage.ID
		g.Workspaces[0].Lineages = []topology.Lineage{lineage}
		return nil
	}))(t)
	p := progress(1, 90)
	p.Cursors = []topology.Cursor{{Region: "west", LagSeconds: 1.5, LagBytes: 10}}
	if err := w.PutWALProgress(t.Context(), "prod", "main", p); err != nil {
		t.Fatal(err)
	}
	if err := w.PutSnapshotProgress(t.Context(), "prod", "main", topology.SnapshotProgress{
		ID: "s", Lineage: lineage.ID, MeasuredAt: now, Complete: []string{"west"},
	}); err != nil {
		t.Fatal(err)
	}
	if err := w.PutMetadata(t.Context(), "prod", "main", Metadata{Epoch: 1, Databases: []string{"app", "postgres"}, Server: []byte(`{}`)}); err != nil {
		t.Fatal(err)
	}
	for _, dead := range []string{"", "east", "west"} {
		t.Run("dead "+dead, func(t *testing.T) {
			if dead != "" {
				defer w.kill(dead)()
			}
			s := must(w.process().Status(t.Context(), "prod", now))(t)
			if len(s.Workspaces) != 1 || len(s.Workspaces[0].Databases) != 2 {
				t.Fatalf("got %+v", s)
			}
			d := s.Workspaces[0].Databases[0]
			if d.Database != "app" || d.State != topology.Active || d.Lag.Seconds != 1.5 || d.Region != "west" {
				t.Errorf("got %+v", d)
			}
			if (dead == "") != (len(s.Silent) == 0) {
				t.Errorf("silent: %v", s.Silent)
			}
		})
	}
}
