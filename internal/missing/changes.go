package missing

import (
	"context"
	"time"

	"github.com/smartdr/smartdr/internal/wal"
)

// Walk visits the WAL records of the old line in order: those that end behind from, and at or before to. It fails when the way between has a
// hole, is damaged, or does not begin with a record's start; fault.Missing when WAL from there is not kept any more.
type Walk func(ctx context.Context, from, to wal.LSN, visit func(wal.Record) error) error

// Node names a table's file, as WAL does (RelFileLocator). Database is 0 for what all databases share.
type Node struct{ Tablespace, Database, Relation uint32 }

// TID is the place of a row version: its block, and its number there from 1.
type TID struct {
	Block  uint32
	Offset uint16
}

// Commit is a transaction that committed between fork and tip.
type Commit struct {
	XID  uint32    `json:"xid"`           // its own, or a subtransaction's
	Top  uint32    `json:"top,omitempty"` // the whole transaction's
	Time time.Time `json:"time"`          // by the old server's clock
	LSN  wal.LSN   `json:"lsn"`           // end of its commit record
}

// Changes is what WAL says was committed between fork and tip.
type Changes struct {
	Fork, Tip wal.LSN
	// From is where the scan had to begin: before the fork, where a transaction was open there that committed later.
	From wal.LSN
	// Expired says that WAL from there is not kept any more. Tables then holds nothing, and each table has to be compared as a whole.
	Expired   bool
	Commits   map[uint32]Commit // by XID, of top-level transactions and of their subtransactions
	Tables    map[Node]*Touched // files that committed transactions inserted row versions into, or removed them from
	Replaced  map[Node]bool     // files that committed transactions removed: of tables that were rewritten, truncated or dropped
	Sequences map[Node]bool     // files of sequences that moved
	Prepared  []Prepared        // prepared transactions that ended, or were in doubt at the tip
}

// Touched are the places in one file that committed transactions touched.
type Touched struct {
	New Places // row versions that were inserted
	Old Places // row versions that were removed
}

// Prepared is a transaction of two phases.
type Prepared struct {
	XID      uint32 `json:"xid"`
	GID      string `json:"gid,omitempty"`      // where WAL or a server says it
	Database uint32 `json:"database,omitempty"` // OID
	Fate     string `json:"fate"`               // Committed, RolledBack or InDoubt on the old server
	AtFork   bool   `json:"atFork"`             // it was prepared at the fork: the server that serves has it too, with its locks
}

// What became of prepared transactions on the old server.
const (
	Committed  = "committed"
	RolledBack = "rolled back"
	InDoubt    = "in doubt"
)

// ScanInput says what to look for.
type ScanInput struct {
	Walk      Walk
	Fork, Tip wal.LSN
	// Oldest is the first LSN from which records can be read, and Segment how far a search for the scan's start steps back at first.
	Oldest  wal.LSN
	Segment wal.SegmentSize
	// Progress is told how many bytes were read, of how many.
	Progress func(done, total int64)
}
