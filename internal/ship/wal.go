// Package ship moves what a PostgreSQL server writes into buckets: its write-ahead log as it comes, by WAL, and
// snapshots, by TakeSnapshot.
package ship

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

// Destination is a bucket that something is shipped to.
type Destination struct {
	Region string
	Store  objectstore.Store // the region's root store
}

// WAL ships one lineage's write-ahead log from a server to buckets. Every bucket has a cursor of its own, and none waits
// for another: one that was away catches up from another bucket. The buckets are the only memory: a WAL that is started
// anew goes on from what they hold. Zero values of the fields below Destinations mean the defaults.
type WAL struct {
	Source       topology.Source
	Slot         string // physical replication slot; made when it is not there
	Group        string
	Workspace    string
	Lineage      topology.Lineage
	Epoch        topology.Epoch
	Destinations []Destination // the first one is the local bucket, whose cursor the slot follows

	CutAfter      time.Duration // ship what there is after so long; default 1 s
	CutSize       int64         // bytes; objects end at multiples of it; a power of two, default 16 MiB
	Memory        int64         // bytes of WAL and segments kept for buckets that are slow; default 256 MiB
	AnnounceEvery time.Duration // default 2 s
	// Announced is what was announced last of the workspace, or zero. What is announced of the same lineage is never behind it.
	Announced topology.WALProgress
	// Announce is told how far shipping is, one call at a time. What it returns is logged: shipping goes on.
	Announce func(ctx context.Context, p topology.WALProgress) error
	// Fenced is asked every 5 s whether a newer epoch exists: it then returns fault.Fenced. Other errors mean that it
	// could not find out.
	Fenced func(ctx context.Context) error
	// Newer are the lineages that began from this one elsewhere. A server that turns out to be theirs is refused as fault.Diverged: it
	// goes by the same system identifier, and may even go by the same timeline.
	Newer []topology.Lineage
	Log   *slog.Logger // nil logs nothing
}

// Hole is the error that the server no longer has the WAL that follows what is stored: this lineage cannot go on, and
// a new one with a snapshot of its own must begin. What is stored stays usable up to Stored.
type Hole struct {
	Lineage   string
	Stored    wal.Position // end of the longest unbroken path in any bucket that answered
	Available wal.LSN      // where the server's WAL begins now, or 0 when it does not say
	Silent    []string     // regions whose bucket did not answer; one of them may hold more
	Err       error        // what the server said
}

func (h *Hole) Error() string {
	s := fmt.Sprintf("hole in the WAL of lineage %s: the buckets end at %s", h.Lineage, h.Stored)
	if h.Available != 0 {
		s += fmt.Sprintf(", the server's WAL begins at %s", h.Available)
	}
	if h.Err != nil {
		s += ": " + h.Err.Error()
	}
	return s
}

func (h *Hole) Unwrap() error { return h.Err }

// Run ships until ctx is done, and then tries for a few seconds to store what it has received; that is no error.
// Otherwise it returns *Hole, or an error of kind fault.Fenced (a newer epoch exists), fault.Diverged (the server, or
// another shipper, has a different history), or fault.Invalid (a person must change something). What may pass by itself,
// as a server or a bucket that is away, it waits for and shows in what it announces.
func (w *WAL) Run(ctx context.Context) error { return newShipper(w).run(ctx) }
