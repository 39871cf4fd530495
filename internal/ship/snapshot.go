package ship

import (
	"context"
	"errors"
	"log/slog"

	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

// Snapshot says of what a snapshot is to be taken, and where it goes.
type Snapshot struct {
	Source       topology.Source
	Group        string
	Workspace    string
	Lineage      topology.Lineage
	Databases    []string      // what is replicated; empty means all. System databases always are.
	Destinations []Destination // all are written at once; one that fails is dropped

	// WaitStored returns when the WAL up to l is stored in at least one destination: without it a snapshot is
	// worthless, so nothing is published before. Nil does not wait.
	WaitStored func(ctx context.Context, l wal.LSN) error
	Progress   func(topology.SnapshotProgress) // called about twice a second, from one goroutine; may be nil

	SpreadCheckpoint bool // begin with a checkpoint that is spread over minutes, not an immediate one
	SkipChecksums    bool // do not have the server verify page checksums
	MaxRateKB        int  // kB/s that the server sends at most, from 32 to 1048576; 0 means no limit
	Parallel         int  // goroutines that hash and compress; 0 means one for each processor
	Log              *slog.Logger
}

// SnapshotResult is a published snapshot.
type SnapshotResult struct {
	ID       string
	Complete []string         // regions whose bucket holds all of it
	Failed   map[string]error // regions that were dropped, and why
	Start    wal.Position
	End      wal.Position

	RawBytes     int64 // of all files, as the server sent them
	OmittedBytes int64 // of databases that were left out
	ZeroBytes    int64 // in chunks of zeros, never stored
	SharedBytes  int64 // raw, in chunks that were stored before
	SentBytes    int64 // compressed, summed over destinations
}

// TakeSnapshot streams a base backup and stores what no bucket holds yet. It can be killed and called again: chunks in
// finished packs are not sent again. Errors: fault.Corrupt when the server found damaged pages, fault.Invalid when
// somebody must change something; else the last destination's error, or fault.Transient.
func TakeSnapshot(ctx context.Context, s Snapshot) (SnapshotResult, error) {
	return SnapshotResult{}, errors.New("not there yet")
}
