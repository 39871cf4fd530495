package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/replication"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

// run is one pass over everything, with a slot, a lineage, a place in the buckets and a scratch folder of its own.
type run struct {
	*bench
	n       int
	slot    string
	lineage topology.Lineage
	source  topology.Source
	scratch string

	snapshot snapshotTaken // to restore from
	end      wal.LSN       // of the WAL in the buckets
	disk     float64       // MB/s of a synced copy
}

type snapshotTaken struct {
	ID       string
	Start    wal.Position
	RawBytes int64
}

func (b *bench) oneRun(ctx context.Context, n int) (err error) {
	r := &run{bench: b, n: n, slot: fmt.Sprintf("bench_%d", n), source: b.place.server.RemoteSource("bench"), scratch: filepath.Join(b.place.dir, fmt.Sprintf("scratch%d", n))}
	if err := r.prepare(ctx); err != nil {
		return fmt.Errorf("prepare: %w", err)
	}
	b.rec.addLoadAverage()
	for _, step := range []struct {
		name string
		do   func(context.Context) error
	}{{"snapshot", r.measureSnapshots}, {"incremental", r.measureIncremental}, {"wal", r.measureWAL}, {"restore", r.measureRestore}, {"failover", r.measureFailover}, {"moves", r.measureMoves}, {"missing", r.measureMissing}} {
		if !r.wants(step.name) {
			continue
		}
		note("run %d of %d: %s", n, r.runs, step.name)
		if err := step.do(ctx); err != nil {
			return fmt.Errorf("measure %s: %w", step.name, err)
		}
	}
	return r.cleanUp(ctx)
}

// prepare makes a slot and a lineage that begins where the slot does.
func (r *run) prepare(ctx context.Context) error {
	if err := mkdirForServer(r.scratch); err != nil {
		return err
	}
	conn, err := replication.Connect(ctx, r.source, "bench")
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }() // nothing is under way on it
	if err := conn.CreateSlot(ctx, r.slot); err != nil {
		return err
	}
	slot, err := conn.ReadSlot(ctx, r.slot)
	if err != nil {
		return err
	}
	sys, err := conn.IdentifySystem(ctx)
	if err != nil {
		return err
	}
	size, err := conn.SegmentSize(ctx)
	r.lineage = topology.Lineage{
		ID: topology.NewLineageID(1), Epoch: 1, Region: regions[0], SystemID: sys.ID, SegmentSize: size, CreatedAt: time.Now().UTC(),
		Start: wal.Position{Timeline: sys.Position.Timeline, LSN: size.Start(slot.RestartLSN)},
	}
	return err
}

// cleanUp makes room for the next run.
func (r *run) cleanUp(ctx context.Context) error {
	if err := r.place.exec(ctx, fmt.Sprintf("select pg_drop_replication_slot('%s')", r.slot), "checkpoint"); err != nil {
		return err
	}
	for _, kind := range []string{"two", "one"} {
		if err := r.place.empty(r.prefix(kind)); err != nil {
			return err
		}
	}
	return os.RemoveAll(r.scratch)
}

// prefix is where in the buckets a run puts its objects of one kind: "two" for both buckets, "one" for the local one alone.
func (r *run) prefix(kind string) string { return fmt.Sprintf("run%d-%s/", r.n, kind) }

func (r *run) buckets() []bucket { return r.place.buckets(r.prefix("two")) }

// other is the other region's bucket: what a failover has.
func (r *run) other() bucket { return r.buckets()[1] }

// mkdirForServer makes a folder that belongs to the account that servers run under.
func mkdirForServer(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	a, err := postgres.DefaultAccount()
	if err != nil || a == nil {
		return err
	}
	return os.Chown(dir, int(a.UID), int(a.GID))
}
