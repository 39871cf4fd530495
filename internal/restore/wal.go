package restore

import (
	"context"
	"log/slog"
	"time"

	"github.com/smartdr/smartdr/internal/archive"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

// Leg is a stretch of one lineage's path.
type Leg struct {
	Archive *archive.Archive
	Lineage topology.Lineage
	From    wal.Position // first byte; rounded down to the start of its segment file
	To      wal.LSN      // first byte that is not wanted; 0 means the end of what the bucket holds
}

// whole lists all that the bucket has of the leg's lineage.
func (l Leg) whole(ctx context.Context) (archive.Inventory, error) {
	inv, err := l.Archive.List(ctx)
	if err == nil {
		err = inv.CheckHistories()
	}
	return inv, err
}

// FetchWAL writes the WAL of some legs, oldest lineage first, as segment files and history files into a pg_wal folder.
type FetchWAL struct {
	Legs        []Leg
	Dir         string // pg_wal; made when it is not there
	SegmentSize wal.SegmentSize
	Parallel    int                     // objects fetched at a time; default 4
	Progress    func(done, total int64) // bytes of WAL; may be nil; one call at a time
	Log         *slog.Logger            // nil logs nothing
}

// FetchedWAL is what FetchWAL wrote.
type FetchedWAL struct {
	Start         wal.LSN      // first byte: the start of a segment file
	End           wal.Position // first byte that is not there
	Beyond        wal.LSN      // where the bucket's next object begins when there is one behind a hole at End, else 0
	RecordEnd     wal.LSN      // end of the last complete record: where recovery must arrive
	LastCommit    time.Time    // of the last commit record; zero when there was none
	LastCommitLSN wal.LSN      // its end
	MaxParameters wal.Parameters
	Tablespaces   []CreatedTablespace // made by the WAL: replay needs their folders
	FileCopies    []wal.FileCopy      // databases that were copied file by file
	Histories     []wal.Timeline      // whose history files were written
	Files         int
	Fetched       int64 // stored bytes read; less when files of an earlier attempt were kept
}

// CreatedTablespace is a CREATE TABLESPACE that the WAL holds.
type CreatedTablespace struct {
	OID      uint32
	Location string // on the primary; empty for one that lies in pg_tblspc itself
	At       wal.LSN
}

// Run fetches. The whole chain is verified: the objects' own digests, that each continues the one before, and every
// record's CRC. Files that an earlier, interrupted Run wrote whole are kept. Errors are fault.Missing for a gap and
// fault.Corrupt for damage, naming the object and the range of LSNs; fault.Diverged when the legs do not continue each
// other; fault.Full when the disk has no room.
func (f FetchWAL) Run(ctx context.Context) (FetchedWAL, error) { return newFetch(f).run(ctx) }
