package wal

import "fmt"

// DefaultSegmentSize is what initdb chooses unless told otherwise. A server's own size is in its settings.
const DefaultSegmentSize SegmentSize = 16 << 20

// SegmentSize is the size in bytes of a server's WAL segment files: a power of two from 1 MiB to 1 GiB
// (initdb --wal-segsize).
type SegmentSize uint32

// Valid reports whether s is a size that initdb accepts.
func (s SegmentSize) Valid() bool { return s >= 1<<20 && s <= 1<<30 && s&(s-1) == 0 }

// Start returns the first byte of the segment file that holds l.
func (s SegmentSize) Start(l LSN) LSN { return l - l%LSN(s) }

// Next returns the first byte of the segment file after the one that holds l.
func (s SegmentSize) Next(l LSN) LSN { return s.Start(l) + LSN(s) }

// FileName returns the name in pg_wal of the segment file that holds l (XLogFileName).
func (s SegmentSize) FileName(t Timeline, l LSN) string {
	perID := uint64(1<<32) / uint64(s)
	n := uint64(l) / uint64(s)
	return fmt.Sprintf("%08X%08X%08X", uint32(t), n/perID, n%perID)
}
