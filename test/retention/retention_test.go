// Package retention_test sweeps the bucket of a real server, and restores from what is left.
package retention_test

import (
	"context"
	"log/slog"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/smartdr/smartdr/internal/archive"
	"github.com/smartdr/smartdr/internal/catalog"
	"github.com/smartdr/smartdr/internal/devenv"
	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/internal/replication"
	"github.com/smartdr/smartdr/internal/restore"
	"github.com/smartdr/smartdr/internal/retention"
	"github.com/smartdr/smartdr/internal/ship"
	"github.com/smartdr/smartdr/internal/snapshot"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

type world struct {
	t       *testing.T
	pg      *devenv.Postgres
	store   objectstore.Store
	faults  *objectstore.Faults
	catalog *catalog.Catalog
	lineage topology.Lineage
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newWorld(t *testing.T) *world {
	t.Helper()
	majors, err := devenv.Majors()
	must(t, err)
	w := &world{t: t, faults: &objectstore.Faults{}}
	w.pg = devtest.Postgres(t, devenv.PostgresOptions{Major: majors[0], Settings: map[string]string{"max_prepared_transactions": "2"}})
	w.store = devtest.Store(t)
	w.catalog = &catalog.Catalog{Stores: map[string]objectstore.Store{"east": w.store}, Timeout: 10 * time.Second}
	w.prepare()
	_, err = w.catalog.Create(t.Context(), topology.Group{ID: topology.NewGroupID(), Name: "prod", Primary: "east",
		Workspaces: []topology.Workspace{{Name: "orders", Lineage: w.lineage.ID, Lineages: []topology.Lineage{w.lineage},
			Sites: map[string]topology.Site{"east": {Kind: topology.Adopted, Source: topology.Source{ConnString: "postgres://db/postgres"}}}}}})
	must(t, err)
	x := ship.WAL{Source: w.pg.Source("postgres"), Slot: "smartdr_test", Group: "prod", Workspace: "orders", Lineage: w.lineage, Epoch: 1,
		Destinations: []ship.Destination{{Region: "east", Store: w.store}}, CutAfter: 50 * time.Millisecond, Log: slog.New(slog.DiscardHandler)}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- x.Run(ctx) }()
	t.Cleanup(func() { stop(); <-done })
	return w
}

func (w *world) prepare() {
	c, err := replication.Connect(w.t.Context(), w.pg.Source("postgres"), "test")
	must(w.t, err)
	defer c.Close(context.Background())
	must(w.t, c.CreateSlot(w.t.Context(), "smartdr_test"))
	slot, err := c.ReadSlot(w.t.Context(), "smartdr_test")
	must(w.t, err)
	sys, err := c.IdentifySystem(w.t.Context())
	must(w.t, err)
	size, err := c.SegmentSize(w.t.Context())
	must(w.t, err)
	w.lineage = topology.Lineage{ID: "0001-0a0b0c0d", Epoch: 1, Region: "east", SystemID: sys.ID, SegmentSize: size,
		Start: wal.Position{Timeline: slot.RestartTimeline, LSN: size.Start(slot.RestartLSN)}, CreatedAt: time.Now()}
}

func (w *world) tip() archive.Tip {
	tip, err := archive.Open(w.store, "prod", "orders", w.lineage.ID).Tip(w.t.Context(), w.lineage)
	must(w.t, err)
	return tip
}

func (w *world) reached(l wal.LSN) {
	devtest.Until(w.t, "WAL to "+l.String(), func() bool { return w.tip().Position.LSN >= l })
}

func (w *world) snapshot() string {
	w.t.Helper()
	must(w.t, w.pg.Exec(w.t.Context(), "postgres", "create table if not exists t (n int)", "insert into t select generate_series(1, 20000)", "select pg_switch_wal()"))
	s, err := ship.TakeSnapshot(w.t.Context(), ship.Snapshot{Source: w.pg.Source("postgres"), Group: "prod", Workspace: "orders", Lineage: w.lineage,
		Destinations: []ship.Destination{{Region: "east", Store: w.store}}})
	must(w.t, err)
	w.reached(s.End.LSN)
	return s.ID
}

func (w *world) sweep(change func(*retention.Sweep)) (topology.Swept, error) {
	s := retention.Sweep{Store: objectstore.WithFaults(w.store, w.faults), Catalog: w.catalog, Group: "prod", Region: "east", Window: time.Second}
	if change != nil {
		change(&s)
	}
	return s.Run(w.t.Context())
}

// keys are those of the workspace.
func (w *world) keys(match string) (keys []string) {
	re := regexp.MustCompile(match)
	for info, err := range w.store.List(w.t.Context(), snapshot.Prefix("prod", "orders"), "") {
		must(w.t, err)
		if re.MatchString(info.Key) {
			keys = append(keys, info.Key)
		}
	}
	return keys
}

// restores brings the files of a snapshot and the WAL behind it, all of it verified.
func (w *world) restores(id string) {
	w.t.Helper()
	m, err := snapshot.Load(w.t.Context(), w.store, "prod", "orders", id)
	must(w.t, err)
	dir := filepath.Join(devtest.Dir(w.t), id, "data")
	_, err = restore.Files(w.t.Context(), restore.FilesInput{Store: w.store, Manifest: m, DataDir: dir})
	must(w.t, err)
	got, err := restore.FetchWAL{Dir: filepath.Join(dir, "pg_wal"), SegmentSize: m.SegmentSize, Legs: []restore.Leg{{
		Archive: archive.Open(w.store, "prod", "orders", m.Lineage), Lineage: w.lineage, From: m.Start}}}.Run(w.t.Context())
	must(w.t, err)
	if got.RecordEnd < m.End.LSN {
		w.t.Errorf("snapshot %s is consistent at %s, and its WAL ends at %s", id, m.End, got.RecordEnd)
	}
}

func TestASweepThatIsKilledGoesOn(t *testing.T) {
	w := newWorld(t)
	ids := []string{w.snapshot(), w.snapshot(), w.snapshot()}
	time.Sleep(3 * time.Second) // the window is one second
	before := w.keys("")
	if _, err := w.sweep(func(s *retention.Sweep) { s.DryRun = true }); err != nil || len(w.keys("")) != len(before) {
		t.Fatalf("a dry run: %v; %d objects of %d are left", err, len(w.keys("")), len(before))
	}
	if _, err := w.sweep(func(s *retention.Sweep) { s.Epoch = 7 }); !fault.Is(err, fault.Fenced) || len(w.keys("")) != len(before) {
		t.Fatalf("under another epoch: %v; %d objects of %d are left", err, len(w.keys("")), len(before))
	}
	for k := range 12 { // every delete fails once, after it was done or before
		undo := w.faults.Add(objectstore.Rule{Ops: objectstore.OpDelete, Keys: regexp.MustCompile("^groups/"), Times: 1, LoseAck: k%2 == 0, Fail: map[bool]error{true: nil, false: fault.Newf(fault.Transient, "delete", "killed")}[k%2 == 0]})
		_, err := w.sweep(nil)
		undo()
		if err != nil && !fault.Is(err, fault.Transient) {
			t.Fatal(err)
		}
		w.restores(ids[2])
	}
	for range 4 {
		_, err := w.sweep(nil)
		must(t, err)
	}
	if left := w.keys("/snapshots/"); len(left) != 1 {
		t.Errorf("one snapshot is needed, and there are %v", left)
	}
	if left := w.keys(`condemned`); len(left) == 1 {
		if c, _, err := snapshot.ReadCondemned(t.Context(), w.store, "prod", "orders"); err != nil || len(c.Packs) > 0 {
			t.Errorf("still condemned: %v, %v", c.Packs, err)
		}
	}
	w.restores(ids[2])
	l, err := w.catalog.Load(t.Context(), "prod")
	must(t, err)
	m, err := snapshot.Load(t.Context(), w.store, "prod", "orders", ids[2])
	must(t, err)
	if f := l.Group.Workspace("orders").Floor("east", w.lineage.ID); f != m.End.LSN {
		t.Errorf("the floor is %s, and the snapshot is consistent at %s", f, m.End)
	}
}

func TestAClockThatIsAYearAheadRemovesNothing(t *testing.T) {
	w := newWorld(t)
	ids := []string{w.snapshot(), w.snapshot()}
	_, err := w.sweep(func(s *retention.Sweep) {
		s.Window, s.Grace, s.Clock = time.Hour, time.Hour, func() time.Time { return time.Now().AddDate(1, 0, 0) }
	})
	must(t, err)
	if left := w.keys("/snapshots/"); len(left) != 2 {
		t.Fatalf("%v are left", left)
	}
	w.restores(ids[0])
}
