package ship

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/replication"
	"github.com/smartdr/smartdr/internal/snapshot"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

const opSnapshot = "take snapshot"

// Snapshot says of what a snapshot is to be taken, and where it goes.
type Snapshot struct {
	Source       topology.Source
	Group        string
	Workspace    string
	Lineage      topology.Lineage
	Databases    Choice        // what is replicated; system databases and templates always are
	Destinations []Destination // all are written at once, at the pace of the slowest; one that fails is dropped

	// WaitStored returns when the WAL up to l is stored in at least one destination: without it a snapshot is
	// worthless, so nothing is published before. Nil does not wait.
	WaitStored func(ctx context.Context, l wal.LSN) error
	Progress   func(topology.SnapshotProgress) // called twice a second, from one goroutine; may be nil

	SpreadCheckpoint bool // begin with a checkpoint that is spread over minutes, not an immediate one
	SkipChecksums    bool // do not have the server verify page checksums
	MaxRateKB        int  // kB/s that the server sends at most, from 32 to 1048576; 0 means no limit
	Parallel         int  // goroutines that hash and compress; 0 means one for each processor
	PackSize         int  // bytes of a pack; memory is about five times that; 0 means 64 MiB
	Log              *slog.Logger
}

// SnapshotResult is a published snapshot.
type SnapshotResult struct {
	ID       string
	Complete []string         // regions whose bucket holds all of it
	Failed   map[string]error // regions that were dropped, and why
	Absent   []string         // databases that were chosen and are not on the server
	Start    wal.Position
	End      wal.Position

	RawBytes     int64 // of all files, as the server sent them
	OmittedBytes int64 // of databases that were left out
	ZeroBytes    int64 // in chunks of zeros, never stored
	SharedBytes  int64 // raw, in chunks that were stored before
	DeltaBytes   int64 // raw, in chunks of which only the changed pages were stored
	SentBytes    int64 // compressed, summed over destinations
}

// TakeSnapshot streams a base backup and stores what no bucket holds yet. It can be killed and called again: chunks in
// finished packs are not sent again. Errors: fault.Corrupt when the server found damaged pages, fault.Diverged when it
// is another server than the lineage's, fault.Invalid when somebody must change something; that of the bucket which
// was dropped last; else fault.Transient.
func TakeSnapshot(ctx context.Context, s Snapshot) (SnapshotResult, error) {
	if s.Log == nil {
		s.Log = slog.New(slog.DiscardHandler)
	}
	t := &taking{Snapshot: s, started: time.Now().UTC()}
	t.id = snapshot.NewID(t.started)
	return t.run(ctx)
}

// taking is one snapshot under way.
type taking struct {
	Snapshot
	id      string
	started time.Time
	bases   *databases
	writer  *snapshot.Writer
	before  map[string]snapshot.Chunks // of the last snapshot, by path
	conn    *replication.Conn
	meter   *meter
}

func (t *taking) run(ctx context.Context) (SnapshotResult, error) {
	inv, err := Look(ctx, t.Source, t.Databases)
	if err != nil {
		return SnapshotResult{}, err
	}
	t.bases = newDatabases(inv)
	if t.conn, err = replication.Connect(ctx, t.Source, "smartdr_snapshot"); err != nil {
		return SnapshotResult{}, err
	}
	defer closeSoon(ctx, t.conn)
	if t.writer, err = t.newWriter(ctx); err != nil {
		return SnapshotResult{}, err
	}
	defer t.writer.Close()
	t.before = t.lastChunks(ctx)
	t.meter = newMeter(t)
	defer t.meter.stop()
	m, err := t.stream(ctx)
	if err != nil {
		return SnapshotResult{}, err
	}
	return t.publish(ctx, m)
}

func (t *taking) newWriter(ctx context.Context) (*snapshot.Writer, error) {
	page, err := t.conn.PageSize(ctx)
	if err != nil {
		return nil, err
	}
	o := snapshot.WriterOptions{Group: t.Group, Workspace: t.Workspace, Parallel: t.Parallel, PackSize: t.PackSize, PageSize: page, Log: t.Log}
	for _, d := range t.Destinations {
		o.Targets = append(o.Targets, snapshot.Target(d))
	}
	return snapshot.NewWriter(ctx, o)
}

// lastChunks returns the chunks of the newest snapshot that a bucket has, of whatever lineage: what is at the same place of the same file now
// is likely to differ from them in a few pages only. Without them nothing is lost but room in the buckets.
func (t *taking) lastChunks(ctx context.Context) map[string]snapshot.Chunks {
	var last *snapshot.Manifest
	for _, target := range t.writer.Live() {
		m, err := snapshot.Newest(ctx, target.Store, t.Group, t.Workspace)
		if err != nil {
			t.Log.Warn("the last snapshot cannot be built on", "region", target.Region, "err", err)
			continue
		}
		if m != nil && (last == nil || m.ID > last.ID) {
			last = m
		}
	}
	if last == nil {
		return nil
	}
	return last.ByPath()
}

// stream stores the whole backup and returns its manifest.
func (t *taking) stream(ctx context.Context) (*snapshot.Manifest, error) {
	m := &snapshot.Manifest{
		ID: t.id, Group: t.Group, Workspace: t.Workspace, Lineage: t.Lineage.ID,
		ServerVersion: t.conn.ServerVersion(), StartedAt: t.started,
	}
	if err := t.identify(ctx, m); err != nil {
		return nil, err
	}
	b, err := t.conn.BaseBackup(ctx, replication.BaseBackupOptions{
		Label: "smartdr " + t.id, FastCheckpoint: !t.SpreadCheckpoint, MaxRateKB: t.MaxRateKB, VerifyChecksums: !t.SkipChecksums,
	})
	if err != nil {
		return nil, err
	}
	if err := t.checkStart(b.Start); err != nil {
		return nil, err
	}
	if err := t.bases.checkTablespaces(b.Tablespaces); err != nil {
		return nil, err
	}
	t.meter.begin(b.Tablespaces)
	if err := t.archives(ctx, b, m); err != nil {
		return nil, err
	}
	if err := t.writer.Flush(); err != nil {
		return nil, err
	}
	m.Format = t.writer.FormatOf(m.Files)
	m.Start, m.End = b.Start, b.End
	m.Databases, err = t.listed(ctx)
	return m, err
}

// identify makes sure that the server is the lineage's: a snapshot of another one would never fit its WAL.
func (t *taking) identify(ctx context.Context, m *snapshot.Manifest) error {
	sys, err := t.conn.IdentifySystem(ctx)
	if err != nil {
		return err
	}
	if t.Lineage.SystemID != "" && sys.ID != t.Lineage.SystemID {
		return fault.Newf(fault.Diverged, opSnapshot, "the server's system identifier is %s, that of lineage %s is %s", sys.ID, t.Lineage.ID, t.Lineage.SystemID).
			WithHint("The connection string leads to another server than before. Correct it, or configure replication anew.")
	}
	m.SystemID = sys.ID
	m.SegmentSize, err = t.conn.SegmentSize(ctx)
	return err
}

// checkStart refuses a backup whose recovery needs WAL from before the lineage began.
func (t *taking) checkStart(start wal.Position) error {
	if start.LSN < t.Lineage.Start.LSN {
		return fault.Newf(fault.Diverged, opSnapshot, "the backup begins at %s, before lineage %s begins at %s", start, t.Lineage.ID, t.Lineage.Start)
	}
	return nil
}

func (t *taking) archives(ctx context.Context, b *replication.Backup, m *snapshot.Manifest) error {
	c := snapshot.Cutter{Writer: t.writer, Omit: t.bases.omitted, Read: t.meter.read, Before: func(path string) snapshot.Chunks { return t.before[path] }}
	for {
		a, err := b.NextArchive(ctx)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		prefix := ""
		if ts := a.Tablespace; ts.OID != 0 {
			prefix = snapshot.TablespacePath(ts.OID)
			m.Tablespaces = append(m.Tablespaces, snapshot.Tablespace{OID: ts.OID, Location: ts.Location, InPlace: ts.Location == prefix})
		}
		if err := c.Archive(a, prefix); err != nil {
			return err
		}
	}
	m.Files, m.TotalBytes = c.Files(), c.TotalBytes()
	return nil
}

// listed names the databases that the backup holds, those too that were made while it ran.
func (t *taking) listed(ctx context.Context) ([]snapshot.Database, error) {
	names := map[uint32]string{}
	for _, d := range t.bases.Databases {
		names[d.OID] = d.Name
	}
	now, err := Look(ctx, t.Source, t.Databases)
	if err != nil {
		return nil, err
	}
	for _, d := range now.Databases {
		names[d.OID] = d.Name
	}
	read := t.meter.byDatabase()
	var out []snapshot.Database
	for _, oid := range slices.Sorted(maps.Keys(names)) {
		if _, ok := read[oid]; ok {
			out = append(out, snapshot.Database{Name: names[oid], OID: oid, Replicated: !t.bases.omitted(oid), Bytes: read[oid]})
		}
	}
	return out, nil
}

// publish puts the manifest where everything else arrived, once the WAL that the backup needs is stored.
func (t *taking) publish(ctx context.Context, m *snapshot.Manifest) (SnapshotResult, error) {
	if t.WaitStored != nil {
		if err := t.WaitStored(ctx, m.End.LSN); err != nil {
			return SnapshotResult{}, err
		}
	}
	m.CompletedAt = time.Now().UTC()
	res := SnapshotResult{ID: m.ID, Failed: t.writer.Failed(), Absent: t.bases.Absent, Start: m.Start, End: m.End}
	var last error
	for _, target := range t.writer.Live() {
		if err := t.writer.Publish(ctx, target.Region, m); err != nil {
			res.Failed[target.Region], last = err, err
			continue
		}
		res.Complete = append(res.Complete, target.Region)
	}
	if len(res.Complete) == 0 {
		return SnapshotResult{}, last
	}
	t.sum(&res, m)
	t.meter.complete(res.Complete)
	return res, nil
}

func (t *taking) sum(res *SnapshotResult, m *snapshot.Manifest) {
	s := t.writer.Stats()
	res.RawBytes, res.OmittedBytes = m.TotalBytes, m.TotalBytes-s.RawBytes
	res.ZeroBytes, res.SharedBytes, res.DeltaBytes, res.SentBytes = s.ZeroBytes, s.SharedBytes, s.DeltaBytes, s.SentBytes
	t.Log.Info("snapshot published", "id", m.ID, "regions", res.Complete, "raw", res.RawBytes, "shared", res.SharedBytes,
		"delta", res.DeltaBytes, "sent", res.SentBytes, "took", m.CompletedAt.Sub(m.StartedAt))
}

// closeSoon closes a connection that may be in the middle of a backup, also when ctx is done.
func closeSoon(ctx context.Context, conn *replication.Conn) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	_ = conn.Close(ctx) // the server notices by itself
}
