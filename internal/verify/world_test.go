package verify_test

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/smartdr/smartdr/internal/archive"
	"github.com/smartdr/smartdr/internal/catalog"
	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/internal/objectstore/objectstoretest"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/postgres/postgrestest"
	"github.com/smartdr/smartdr/internal/restore"
	"github.com/smartdr/smartdr/internal/ship"
	"github.com/smartdr/smartdr/internal/snapshot"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

const (
	first  = "0001-000000aa"
	second = "0002-000000bb"
)

// world is what two buckets hold of a group that was written, snapshotted three times, and failed over once.
type world struct {
	t            testing.TB
	bin          postgres.Binaries
	east, west   *objectstoretest.Memory
	catalog      *catalog.Catalog
	group        topology.Group
	snapshots    []string // ids, oldest first; the last one is of the second lineage
	middle       wal.LSN  // of the first lineage, between its two snapshots
	fork         wal.LSN
	firstEnd     wal.LSN // of the first lineage: its tail
	secondEnd    wal.LSN
	firstLineage topology.Lineage
	mu           sync.Mutex
	progress     topology.WALProgress
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// newWorld writes it with real servers.
func newWorld(t testing.TB) *world {
	w := &world{t: t, bin: postgrestest.Installations(t)[0], east: objectstoretest.NewMemory(), west: objectstoretest.NewMemory()}
	for _, s := range []objectstore.Store{w.east, w.west} {
		_, err := objectstore.Check(t.Context(), s)
		check(t, err)
	}
	w.catalog = &catalog.Catalog{Stores: map[string]objectstore.Store{"east": w.east, "west": w.west}}
	_, err := w.catalog.Create(t.Context(), topology.Group{ID: topology.NewGroupID(), Name: "prod", Primary: "east",
		Workspaces: []topology.Workspace{{Name: "orders", Sites: map[string]topology.Site{
			"east": {Kind: topology.Adopted, Source: topology.Source{ConnString: "postgres://dr@db/postgres"}}}}}})
	check(t, err)
	_, err = w.catalog.MoveAuthority(t.Context(), "prod", "west", func(g *topology.Group) error {
		g.Secondary = "west"
		g.Replication = &topology.Replication{ConfiguredAt: time.Now().UTC()}
		return nil
	})
	check(t, err)
	w.life()
	return w
}

func (w *world) destinations() []ship.Destination {
	return []ship.Destination{{Region: "east", Store: w.east}, {Region: "west", Store: w.west}}
}

// life is what happens before anything is damaged.
func (w *world) life() {
	t := w.t
	s := postgrestest.Start(t, w.bin, map[string]string{"autovacuum": "off", "wal_keep_size": "256MB"})
	postgrestest.Exec(t, s, "postgres", "CREATE DATABASE app")
	postgrestest.Exec(t, s, "app", "CREATE TABLE t AS SELECT i, repeat(md5(i::text), 8) AS x FROM generate_series(1, 30000) i")
	w.firstLineage = w.newLineage(s)
	stop := w.ship(s, w.firstLineage)
	w.take(s, w.firstLineage)
	w.write(s, "INSERT INTO t SELECT i, md5(i::text) FROM generate_series(30001, 31000) i")
	w.middle = w.write(s, "INSERT INTO t VALUES (31001, 'middle')")
	w.write(s, "UPDATE t SET x = repeat(md5(x), 8) WHERE i % 3000 = 0") // a few pages of many chunks
	w.take(s, w.firstLineage)
	w.write(s, "INSERT INTO t SELECT i, md5(i::text) FROM generate_series(40001, 41000) i")
	w.fork = w.write(s, "INSERT INTO t VALUES (41001, 'fork')")
	w.firstEnd = w.write(s, "INSERT INTO t VALUES (41002, 'tail')")
	stop()
	postgrestest.Check(t, s.Stop(t.Context(), postgres.Fast))
	w.moveOn()
}

// moveOn fails over to the fork, and goes on there.
func (w *world) moveOn() {
	t := w.t
	s, attached, err := w.restore(w.west, []topology.Lineage{w.firstLineage}, w.snapshots[1], w.fork)
	check(t, err)
	l := topology.Lineage{ID: second, Epoch: 1, Region: "west", SystemID: attached.SystemID, SegmentSize: w.firstLineage.SegmentSize, Start: attached.Start,
		Parent: &topology.Fork{Lineage: first, At: attached.Fork}, CreatedAt: time.Now().UTC()}
	check(t, s.WriteHBA(postgrestest.TrustLocal))
	stop := w.ship(s, l)
	w.write(s, "INSERT INTO t VALUES (50001, 'second')")
	w.take(s, l)
	w.secondEnd = w.write(s, "INSERT INTO t VALUES (50002, 'end')")
	stop()
	w.record(l)
}

// record says in the catalog what has happened.
func (w *world) record(l topology.Lineage) {
	t := w.t
	fork := l.Parent.At
	u, err := w.catalog.Update(t.Context(), "prod", func(g *topology.Group) error {
		ws := &g.Workspaces[0]
		ws.Lineages, ws.Lineage = []topology.Lineage{w.firstLineage, l}, second
		g.SystemManaged = []topology.SystemManaged{{Name: "app_20261123T100000Z", Workspace: "orders", Database: "app", Lineage: first, Fork: fork, Region: "east",
			Operation: "f1", Since: time.Now().UTC()}}
		g.Branches = []topology.Branch{
			{Name: "early", Workspace: "orders", Region: "west", Base: topology.Fork{Lineage: first, At: wal.Position{Timeline: 1, LSN: w.middle}}, CreatedAt: time.Now().UTC()},
			{Name: "late", Workspace: "orders", Region: "west", Base: topology.Fork{Lineage: second, At: wal.Position{Timeline: l.Start.Timeline, LSN: w.secondEnd}}, CreatedAt: time.Now().UTC()},
		}
		return nil
	})
	check(t, err)
	w.group = u.Group
	check(t, w.catalog.PutWALProgress(t.Context(), "prod", "orders", w.progress))
	check(t, w.catalog.PutTail(t.Context(), "prod", topology.Tail{Workspace: "orders", Lineage: first, Fork: fork, Region: "west",
		At: wal.Position{Timeline: 1, LSN: w.firstEnd}, SeenAt: time.Now().UTC(), Complete: true}))
	check(t, w.catalog.PutInventory(t.Context(), "prod", "orders", catalog.Inventory{Epoch: 1, CapturedAt: time.Now().UTC(), Content: []byte(`{"roles":[]}`)}))
	check(t, w.catalog.PutMetadata(t.Context(), "prod", "orders", catalog.Metadata{Epoch: 1, CapturedAt: time.Now().UTC(), Server: []byte("{}")}))
}

func (w *world) newLineage(s *postgres.Server) topology.Lineage {
	postgrestest.Exec(w.t, s, "postgres", "SELECT pg_create_physical_replication_slot('next', true); SELECT pg_switch_wal()")
	control, err := s.ControlData(w.t.Context())
	check(w.t, err)
	restart, err := wal.ParseLSN(postgrestest.Query(w.t, s, "postgres", "SELECT restart_lsn FROM pg_replication_slots"))
	check(w.t, err)
	size := wal.DefaultSegmentSize
	return topology.Lineage{ID: first, Epoch: 1, Region: "east", SystemID: control.SystemID, SegmentSize: size,
		Start: wal.Position{Timeline: 1, LSN: size.Start(restart)}, CreatedAt: time.Now().UTC()}
}

// ship ships until stop is called.
func (w *world) ship(s *postgres.Server, l topology.Lineage) (stop func()) {
	ctx, cancel := context.WithCancel(w.t.Context())
	x := ship.WAL{Source: s.Source("postgres"), Slot: "next", Group: "prod", Workspace: "orders", Lineage: l, Epoch: 1, Destinations: w.destinations(),
		CutAfter: 50 * time.Millisecond, AnnounceEvery: 50 * time.Millisecond, Log: slog.New(slog.DiscardHandler),
		Announce: func(_ context.Context, p topology.WALProgress) error {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.progress = p
			return nil
		}}
	done := make(chan error, 1)
	go func() { done <- x.Run(ctx) }()
	w.t.Cleanup(cancel)
	return func() {
		cancel()
		check(w.t, <-done)
	}
}

// write runs a statement and returns its end, once both buckets have it.
func (w *world) write(s *postgres.Server, sql string) wal.LSN {
	postgrestest.Exec(w.t, s, "app", sql)
	end, err := wal.ParseLSN(postgrestest.Query(w.t, s, "postgres", "SELECT pg_current_wal_flush_lsn()"))
	check(w.t, err)
	w.stored(end)
	return end
}

func (w *world) stored(end wal.LSN) {
	devtest.Until(w.t, fmt.Sprintf("%s is in both buckets", end), func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return w.progress.Cursor("east").Point.At.LSN >= end && w.progress.Cursor("west").Point.At.LSN >= end
	})
}

// take takes a snapshot.
func (w *world) take(s *postgres.Server, l topology.Lineage) {
	r, err := ship.TakeSnapshot(w.t.Context(), ship.Snapshot{Source: s.Source("postgres"), Group: "prod", Workspace: "orders", Lineage: l,
		Destinations: w.destinations(), PackSize: 1 << 20, Progress: func(p topology.SnapshotProgress) {
			check(w.t, w.catalog.PutSnapshotProgress(context.Background(), "prod", "orders", p))
		}, WaitStored: func(_ context.Context, end wal.LSN) error { w.stored(end); return nil }})
	check(w.t, err)
	if len(r.Complete) != 2 {
		w.t.Fatal(r.Failed)
	}
	w.snapshots = append(w.snapshots, r.ID)
}

// restore brings up a server at a point, as a failover would.
func (w *world) restore(store objectstore.Store, line []topology.Lineage, id string, to wal.LSN) (*postgres.Server, restore.Attached, error) {
	t := w.t
	s := postgrestest.NewServer(t, w.bin)
	m, err := snapshot.Load(t.Context(), store, "prod", "orders", id)
	if err != nil {
		return nil, restore.Attached{}, err
	}
	files := restore.FilesInput{Store: store, Manifest: m, DataDir: s.DataDir}
	if s.Account != nil {
		files.UID, files.GID = int(s.Account.UID), int(s.Account.GID)
	}
	if _, err := restore.Files(t.Context(), files); err != nil {
		return nil, restore.Attached{}, err
	}
	fetch := restore.FetchWAL{Dir: filepath.Join(s.DataDir, "pg_wal"), SegmentSize: m.SegmentSize}
	for i, l := range line {
		leg := restore.Leg{Archive: archive.Open(store, "prod", "orders", l.ID), Lineage: l, From: l.Start, To: to}
		if l.ID == m.Lineage {
			leg.From = wal.Position{Timeline: m.Start.Timeline, LSN: m.SegmentSize.Start(m.Start.LSN)}
		}
		if i+1 < len(line) {
			leg.To = line[i+1].Parent.At.LSN
		}
		fetch.Legs = append(fetch.Legs, leg)
	}
	fetched, err := fetch.Run(t.Context())
	if err != nil {
		return nil, restore.Attached{}, err
	}
	if fetched.RecordEnd != to {
		return nil, restore.Attached{}, fmt.Errorf("the WAL ends at %s, not at %s", fetched.RecordEnd, to)
	}
	check(t, s.OwnTree(s.DataDir))
	attached, err := restore.Attach(t.Context(), restore.AttachInput{Server: s, Superuser: "postgres", SlotName: "next",
		Plan: restore.Plan{Timeline: fetched.End.Timeline, RecordEnd: to}, Minimums: fetched.MaxParameters})
	return s, attached, err
}

// tries restores a point and takes the server away again.
func (w *world) tries(b *bucket, line []topology.Lineage, n int, to wal.LSN) error {
	s, _, err := w.restore(b, line, w.snapshots[n], to)
	if s != nil {
		check(w.t, s.Kill(w.t.Context()))
	}
	return err
}

// catalogOf is the catalog as the west bucket alone has it.
func (w *world) catalogOf(b objectstore.Store) *catalog.Catalog {
	return &catalog.Catalog{Stores: map[string]objectstore.Store{"east": objectstoretest.NewMemory(), "west": b}}
}
