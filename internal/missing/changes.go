package missing

import (
	"context"
	"time"

	"github.com/smartdr/smartdr/internal/wal"
)

// Walk visits the WAL records of the old line in order: those that begin at or behind from, and end at or before to. Neither has to be where
// a record ends: the one that crosses from may be visited or left out. It fails when the way between has a hole or is damaged; fault.Missing
// when WAL from there is not kept any more.
type Walk func(ctx context.Context, from, to wal.LSN, visit func(wal.Record) error) error

// Node names a table's file, as WAL does (RelFileLocator). Database is 0 for what all databases share.
type Node = wal.Node

// TID is the place of a row version: its block, and its number there from 1.
type TID struct {
	Block  uint32
	Offset uint16
}

// Commit is a transaction that committed between fork and tip.
type Commit struct {
	XID  uint32    `json:"xid"`           // its own, or a subtransaction's
	Top  uint32    `json:"top,omitempty"` // the whole transaction's; XID itself if it is that
	Time time.Time `json:"time"`          // by the old server's clock
	LSN  wal.LSN   `json:"lsn"`           // end of its commit record
}

// Changes is what WAL says was committed between fork and tip.
type Changes struct {
	Fork, Tip wal.LSN
	// From is where the scan had to begin: before the fork, where a transaction was open there that committed later.
	From wal.LSN
	// Expired says that WAL from there is not kept any more. Tables then holds nothing, and each table has to be compared as a whole; From is
	// the fork.
	Expired   bool
	Commits   map[uint32]Commit // by XID, of top-level transactions and of their subtransactions
	Tables    map[Node]*Touched // files that committed transactions inserted row versions into, or removed them from
	Replaced  map[Node]bool     // files that committed transactions removed: of tables that were rewritten, truncated or dropped
	Sequences map[Node]bool     // files of sequences that moved
	// Prepared are transactions that were prepared at the fork and ended behind it, and those that were prepared behind it and in doubt at the
	// tip. One that was prepared at the fork and in doubt still at the tip is not among them: the server that serves has it too.
	Prepared []Prepared
}

// Touched are the places in one file that committed transactions touched.
type Touched struct {
	New Places // row versions that were inserted
	Old Places // row versions that were removed
}

// Prepared is a transaction of two phases.
type Prepared struct {
	XID      uint32 `json:"xid"`
	GID      string `json:"gid,omitempty"`      // where WAL says it: it may have been prepared before From
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
