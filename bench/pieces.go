package main

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/smartdr/smartdr/internal/archive"
	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/replication"
	"github.com/smartdr/smartdr/internal/restore"
	"github.com/smartdr/smartdr/internal/ship"
	"github.com/smartdr/smartdr/internal/snapshot"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

const group, workspace = "bench", "main"

func destinations(ctx context.Context, buckets []bucket) (all []ship.Destination, err error) {
	for _, b := range buckets {
		s, err := b.open(ctx)
		if err != nil {
			return nil, err
		}
		all = append(all, ship.Destination{Region: b.Region, Store: s})
	}
	return all, nil
}

type shipInput struct {
	Source  topology.Source
	Slot    string
	Lineage topology.Lineage
	Buckets []bucket
}

// shipPiece ships WAL until it is stopped.
func shipPiece(ctx context.Context, in shipInput, t *teller) (any, error) {
	to, err := destinations(ctx, in.Buckets)
	if err != nil {
		return nil, err
	}
	w := ship.WAL{
		Source: in.Source, Slot: in.Slot, Group: group, Workspace: workspace, Lineage: in.Lineage, Epoch: in.Lineage.Epoch, Destinations: to,
		AnnounceEvery: 50 * time.Millisecond,
		Announce:      func(_ context.Context, p topology.WALProgress) error { return t.tell(line{Progress: &p}) },
	}
	return struct{}{}, w.Run(ctx)
}

type snapshotInput struct {
	Source  topology.Source
	Lineage topology.Lineage
	Buckets []bucket
}

// snapshotPiece takes a snapshot. It does not wait for WAL: nobody ships meanwhile.
func snapshotPiece(ctx context.Context, in snapshotInput, _ *teller) (any, error) {
	to, err := destinations(ctx, in.Buckets)
	if err != nil {
		return nil, err
	}
	res, err := ship.TakeSnapshot(ctx, ship.Snapshot{Source: in.Source, Group: group, Workspace: workspace, Lineage: in.Lineage, Destinations: to})
	if err == nil && len(res.Complete) != len(to) {
		for _, e := range res.Failed {
			err = errors.Join(err, e)
		}
	}
	res.Failed = nil // errors do not become JSON
	return res, err
}

type backupInput struct {
	Source topology.Source
	File   string
}

// backupPiece is pg_basebackup for a machine without it: it copies what the server sends to a file.
func backupPiece(ctx context.Context, in backupInput, _ *teller) (any, error) {
	conn, err := replication.Connect(ctx, in.Source, "bench")
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }() // the backup is over by then, or has failed anyhow
	b, err := conn.BaseBackup(ctx, replication.BaseBackupOptions{FastCheckpoint: true, VerifyChecksums: true})
	if err != nil {
		return nil, err
	}
	f, err := os.Create(in.File)
	if err != nil {
		return nil, err
	}
	for {
		a, err := b.NextArchive(ctx)
		if errors.Is(err, io.EOF) {
			return struct{}{}, f.Close()
		}
		if err == nil {
			_, err = io.Copy(f, a)
		}
		if err != nil {
			return nil, errors.Join(err, f.Close())
		}
	}
}

type filesInput struct {
	Bucket   bucket
	Snapshot string
	DataDir  string
}

// filesPiece restores a snapshot's files, for the account that would run the server.
func filesPiece(ctx context.Context, in filesInput, _ *teller) (any, error) {
	store, err := in.Bucket.open(ctx)
	if err != nil {
		return nil, err
	}
	m, err := snapshot.Load(ctx, store, group, workspace, in.Snapshot)
	if err != nil {
		return nil, err
	}
	f := restore.FilesInput{Store: store, Manifest: m, DataDir: in.DataDir}
	if a, err := postgres.DefaultAccount(); err != nil {
		return nil, err
	} else if a != nil {
		f.UID, f.GID = int(a.UID), int(a.GID)
	}
	return restore.Files(ctx, f)
}

type fetchInput struct {
	Bucket  bucket
	Lineage topology.Lineage
	From    wal.Position
	To      wal.LSN
	Dir     string
}

// fetchPiece fetches WAL into a folder.
func fetchPiece(ctx context.Context, in fetchInput, _ *teller) (any, error) {
	store, err := in.Bucket.open(ctx)
	if err != nil {
		return nil, err
	}
	leg := restore.Leg{Archive: archive.Open(store, group, workspace, in.Lineage.ID), Lineage: in.Lineage, From: in.From, To: in.To}
	return restore.FetchWAL{Legs: []restore.Leg{leg}, Dir: in.Dir, SegmentSize: in.Lineage.SegmentSize}.Run(ctx)
}

type getInput struct {
	Bucket bucket
	Keys   []string
}

// getPiece reads whole objects, eight at a time, and throws them away: the speed of the bucket.
func getPiece(ctx context.Context, in getInput, _ *teller) (any, error) {
	store, err := in.Bucket.open(ctx)
	if err != nil {
		return nil, err
	}
	var total atomic.Int64
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(8)
	for _, key := range in.Keys {
		g.Go(func() error {
			n, err := getInParts(ctx, store, key)
			total.Add(n)
			return err
		})
	}
	err = g.Wait()
	return total.Load(), err
}

// getInParts reads an object by ranges of 4 MiB, so that large ones need not fit into memory eight at a time.
func getInParts(ctx context.Context, store objectstore.Store, key string) (total int64, err error) {
	info, err := store.Head(ctx, key)
	if err != nil {
		return 0, err
	}
	const part = 4 << 20
	for off := int64(0); off < info.Size; off += part {
		b, err := store.GetRange(ctx, key, off, min(part, info.Size-off))
		if err != nil {
			return total, err
		}
		total += int64(len(b))
	}
	return total, nil
}

type attachInput struct {
	Server *postgres.Server
	Plan   restore.Plan
	Max    wal.Parameters
}

// attachPiece recovers a restored data directory and promotes it.
func attachPiece(ctx context.Context, in attachInput, _ *teller) (any, error) {
	in.Server.SocketDir = filepath.Join(in.Server.InstanceDir(), "run")
	return restore.Attach(ctx, restore.AttachInput{
		Server: in.Server, Superuser: "postgres", Plan: in.Plan, Minimums: in.Max, SlotName: "bench_next",
	})
}
