package activities

import (
	"context"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/smartdr/smartdr/internal/archive"
	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/postgres/postgrestest"
	"github.com/smartdr/smartdr/internal/replication"
	"github.com/smartdr/smartdr/internal/restore"
	"github.com/smartdr/smartdr/internal/ship"
	"github.com/smartdr/smartdr/internal/snapshot"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

// primary is a server whose WAL is shipped into a bucket, and a snapshot of it.
type primary struct {
	*postgres.Server
	t       *testing.T
	store   objectstore.Store
	lineage topology.Lineage
	choice  ship.Choice
	taken   ship.SnapshotResult

	mu     sync.Mutex
	stored wal.LSN
	moved  chan struct{} // closed when stored grows
}

// startPrimary makes a cluster, lets prepare fill it, ships its WAL and takes a snapshot.
func startPrimary(t *testing.T, bin postgres.Binaries, init postgres.InitOptions, choice ship.Choice, prepare func(*postgres.Server)) *primary {
	t.Helper()
	s := postgrestest.NewServer(t, bin)
	s.Settings["autovacuum"], s.Settings["max_prepared_transactions"] = "off", "10"
	init.NoSync = true
	check(t, s.Init(t.Context(), init))
	check(t, s.WriteHBA(postgrestest.TrustLocal))
	check(t, s.Start(t.Context()))
	prepare(s)
	p := &primary{Server: s, t: t, store: devtest.Store(t), choice: choice, moved: make(chan struct{})}
	p.begin()
	p.snapshot()
	return p
}

func (p *primary) begin() {
	p.t.Helper()
	conn, err := replication.Connect(p.t.Context(), p.Source("postgres"), "test")
	check(p.t, err)
	defer conn.Close(context.Background()) //nolint:errcheck // only asked
	at, err := reserve(p.t.Context(), conn, "edge", false)
	check(p.t, err)
	p.lineage, err = describeLineage(p.t.Context(), conn, at)
	check(p.t, err)
	p.lineage.ID, p.lineage.Epoch = "0001-0a0b0c0d", 1
	shipper := &ship.WAL{Source: p.Source("postgres"), Slot: "edge", Group: "prod", Workspace: "main", Lineage: p.lineage, Epoch: 1,
		Destinations: []ship.Destination{{Region: "west", Store: p.store}},
		CutAfter:     50 * time.Millisecond, AnnounceEvery: 50 * time.Millisecond, Announce: p.announced}
	ctx, stop := context.WithCancel(p.t.Context())
	var ended sync.WaitGroup
	ended.Go(func() {
		if err := shipper.Run(ctx); err != nil {
			p.t.Errorf("shipping: %v", err)
		}
	})
	p.t.Cleanup(func() { stop(); ended.Wait() })
}

func (p *primary) announced(_ context.Context, w topology.WALProgress) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if to := w.Cursors[0].Point.At.LSN; to > p.stored {
		p.stored = to
		close(p.moved)
		p.moved = make(chan struct{})
	}
	return nil
}

func (p *primary) waitStored(ctx context.Context, to wal.LSN) error {
	for {
		p.mu.Lock()
		stored, moved := p.stored, p.moved
		p.mu.Unlock()
		if stored >= to {
			return nil
		}
		select {
		case <-moved:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (p *primary) snapshot() {
	p.t.Helper()
	ctx := devtest.Context(p.t)
	var err error
	p.taken, err = ship.TakeSnapshot(ctx, ship.Snapshot{Source: p.Source("postgres"), Group: "prod", Workspace: "main", Lineage: p.lineage,
		Databases: p.choice, Destinations: []ship.Destination{{Region: "west", Store: p.store}}, WaitStored: p.waitStored})
	check(p.t, err)
}

// sql runs statements on the primary.
func (p *primary) sql(database string, statements ...string) {
	p.t.Helper()
	for _, sql := range statements {
		postgrestest.Exec(p.t, p.Server, database, sql)
	}
}

// restored is a server that was recovered from the bucket, with what an activity would be told of it.
type restored struct {
	*postgres.Server
	in       RestoreInput
	attached restore.Attached
}

// restore recovers everything that the primary has written until now on another server. change adds to the attach.
func (p *primary) restore(change func(*restore.AttachInput)) (restored, error) {
	p.t.Helper()
	ctx := devtest.Context(p.t)
	p.sql("postgres", "SELECT pg_logical_emit_message(true, 'test', '')")
	end, err := wal.ParseLSN(postgrestest.Query(p.t, p.Server, "postgres", "SELECT pg_current_wal_flush_lsn()"))
	check(p.t, err)
	check(p.t, p.waitStored(ctx, end))
	return p.recover(ctx, change)
}

// recover recovers what is stored.
func (p *primary) recover(ctx context.Context, change func(*restore.AttachInput)) (restored, error) {
	p.t.Helper()
	m, err := snapshot.Load(ctx, p.store, "prod", "main", p.taken.ID)
	check(p.t, err)
	s := postgrestest.NewServer(p.t, p.Bin)
	files := restore.FilesInput{Store: p.store, Manifest: m, DataDir: s.DataDir}
	if s.Account != nil {
		files.UID, files.GID = int(s.Account.UID), int(s.Account.GID)
	}
	_, err = restore.Files(ctx, files)
	check(p.t, err)
	a := archive.Open(p.store, "prod", "main", p.lineage.ID)
	fetched, err := restore.FetchWAL{Dir: filepath.Join(s.DataDir, "pg_wal"), SegmentSize: m.SegmentSize,
		Legs: []restore.Leg{{Archive: a, Lineage: p.lineage, From: m.Start}}}.Run(ctx)
	check(p.t, err)
	check(p.t, s.OwnTree(filepath.Join(s.DataDir, "pg_wal")))
	in := restore.AttachInput{Server: s, Superuser: "postgres", SlotName: "next", Minimums: fetched.MaxParameters,
		Plan:       restore.Plan{Timeline: fetched.End.Timeline, RecordEnd: fetched.RecordEnd},
		ReplayFrom: m.Start.LSN, Tablespaces: fetched.Tablespaces, FileCopies: fetched.FileCopies, Overrides: map[string]string{"max_prepared_transactions": "10"}}
	r := restored{Server: s, in: RestoreInput{Group: "prod", Plan: WorkspacePlan{Workspace: "main", Snapshot: m.ID}, Place: Place{Instance: s.InstanceDir()}}}
	for _, d := range m.Databases {
		if !d.Replicated {
			in.OmittedDatabases = append(in.OmittedDatabases, d.OID)
			r.in.Plan.Omitted = append(r.in.Plan.Omitted, OmittedDatabase{Name: d.Name, OID: d.OID})
		}
	}
	if change != nil {
		change(&in)
	}
	r.attached, err = restore.Attach(ctx, in)
	return r, err
}

func (r restored) query(t *testing.T, database, sql string) string {
	t.Helper()
	return postgrestest.Query(t, r.Server, database, sql)
}
