package wal

import (
	"encoding/binary"
	"time"
)

// Flags and operations of transaction records (src/include/access/xact.h), the same in PostgreSQL 15 to 18.
const (
	xactAbort         = 0x20 // XLOG_XACT_ABORT
	xactAbortPrepared = 0x40 // XLOG_XACT_ABORT_PREPARED
	xactHasInfo       = 0x80 // XLOG_XACT_HAS_INFO

	xinfoDatabase     = 1 << 0
	xinfoSubxacts     = 1 << 1
	xinfoFiles        = 1 << 2
	xinfoInvals       = 1 << 3
	xinfoTwoPhase     = 1 << 4
	xinfoOrigin       = 1 << 5
	xinfoGID          = 1 << 7
	xinfoDroppedStats = 1 << 8
	xinfoKnown        = 0x1FF | 7<<29 // the others announce no data

	fileLocator  = 12 // sizeof(RelFileLocator)
	invalMessage = 16 // sizeof(SharedInvalidationMessage)
	originData   = 16 // sizeof(xl_xact_origin)

	lastMagicShortStats = 0xD116 // XLOG_PAGE_MAGIC of PostgreSQL 17: up to there xl_xact_stats_item has 12 bytes, then 16
)

// Ending is the end of a transaction.
type Ending struct {
	Committed bool
	Time      time.Time // by the server's clock
	Database  uint32    // OID, or 0 where the record does not say: most do not, the transaction's other records do
	XIDs      []uint32  // its own, as far as the record says, and those of its subtransactions
	Top       uint32    // its own
	Prepared  bool      // it was a prepared one
	GID       string    // of a prepared one, with wal_level logical
	Removed   []Node    // files that go with it: of tables, indexes and others that it dropped or replaced
}

// Database returns the OID of the database that the record changes, by the first block that it names; 0 when it names none, or one
// of the cluster as a whole. Like the record itself it can be asked only during the visit.
func (r Record) Database() uint32 {
	for p := recordHeader; p < len(r.raw); {
		switch id := r.raw[p]; {
		case id == 253: // XLR_BLOCK_ID_ORIGIN
			p += 3
		case id == 252: // XLR_BLOCK_ID_TOPLEVEL_XID
			p += 5
		case id <= 32:
			size, _, ok := blockHeader(r.raw[p:])
			if !ok || p+size > len(r.raw) {
				return 0
			}
			if r.raw[p+1]&0x80 != 0 { // BKPBLOCK_SAME_REL
				return 0
			}
			return binary.LittleEndian.Uint32(r.raw[p+size-12:]) // the locator is tablespace, database, relation; the block number follows
		default:
			return 0
		}
	}
	return 0
}

// MessagePrefix is that of the messages that SmartDR writes so that a commit of its own flushes everybody's.
const MessagePrefix = "smartdr"

// MessagePrefix returns the prefix of a message of pg_logical_emit_message (xl_logical_message), or "" for another record. Like the
// record itself it can be asked only during the visit.
func (r Record) MessagePrefix() string {
	const prefixSize, text = 8, 24 // offsets: the database, whether it is transactional, two sizes, prefix and message
	if len(r.raw) < recordHeader || r.raw[17] != rmMessage {
		return ""
	}
	main := mainData(r.raw)
	if len(main) < text || binary.LittleEndian.Uint64(main[prefixSize:]) > uint64(len(main)-text) {
		return ""
	}
	return untilNUL(main[text:])
}

// Ending returns what a record says that ends a transaction; of one that is not understood, as far as it is. It can be asked only
// during the visit.
func (r Record) Ending() (Ending, bool) {
	e, ok, _ := r.WholeEnding()
	return e, ok
}

// WholeEnding returns what a record says that ends a transaction, and an error, a *ScanError, when not all of it is understood. It can be
// asked only during the visit.
func (r Record) WholeEnding() (e Ending, ok bool, err error) {
	if len(r.raw) < recordHeader || r.raw[17] != rmXact {
		return e, false, nil
	}
	op := r.raw[16] & xactMask
	e.Committed = op == xactCommit || op == xactCommitPrepared
	e.Prepared = op == xactCommitPrepared || op == xactAbortPrepared
	if !e.Committed && !e.Prepared && op != xactAbort {
		return e, false, nil
	}
	main := mainData(r.raw)
	if len(main) < 8 {
		return e, false, r.damaged("the end of a transaction without its time")
	}
	e.Time = timestamp(main)
	if !e.Prepared {
		e.Top = binary.LittleEndian.Uint32(r.raw[4:])
	}
	c := cursor{b: main[8:]}
	if r.raw[16]&xactHasInfo != 0 {
		err = r.details(&e, &c)
	}
	if e.Top != 0 {
		e.XIDs = append(e.XIDs, e.Top)
	}
	switch {
	case err != nil:
	case c.short || len(c.b) > 0:
		err = r.damaged("the end of a transaction has %d bytes, which is not what it announces", len(main))
	case e.Top == 0:
		err = r.damaged("the end of a transaction that is not named")
	}
	return e, true, err
}

// details reads what follows the time, as ParseCommitRecord and ParseAbortRecord do. Of a record that is cut short it takes what is there.
func (r Record) details(e *Ending, c *cursor) error {
	info := c.number()
	if info&xinfoDatabase != 0 {
		e.Database = c.number()
		c.skip(4) // its tablespace
	}
	if info&xinfoSubxacts != 0 {
		for n := c.count(4); n > 0; n-- {
			e.XIDs = append(e.XIDs, c.number())
		}
	}
	if info&xinfoFiles != 0 {
		for n := c.count(fileLocator); n > 0; n-- {
			e.Removed = append(e.Removed, Node{c.number(), c.number(), c.number()})
		}
	}
	if info&xinfoDroppedStats != 0 {
		size := r.statsItem()
		if size == 0 {
			return r.damaged("the end of a transaction that dropped statistics, before a page's header said which version wrote it")
		}
		c.skip(c.count(size) * size)
	}
	if info&xinfoInvals != 0 {
		c.skip(c.count(invalMessage) * invalMessage)
	}
	c.prepared(info, e)
	if info&xinfoOrigin != 0 {
		c.skip(originData)
	}
	if info&^xinfoKnown != 0 {
		return r.damaged("the end of a transaction with parts (%X) that are not known", info)
	}
	return nil
}

// statsItem is the size of xl_xact_stats_item, 0 when the version is not known.
func (r Record) statsItem() int {
	switch {
	case r.magic == 0:
		return 0
	case r.magic <= lastMagicShortStats:
		return 12
	}
	return 16
}

// cursor reads numbers; behind the end they are 0, and it is short.
type cursor struct {
	b     []byte
	short bool
}

func (c *cursor) number() uint32 {
	b := c.take(4)
	if b == nil {
		return 0
	}
	return binary.LittleEndian.Uint32(b)
}

// take returns the next n bytes, or nil when there are fewer.
func (c *cursor) take(n int) []byte {
	if n > len(c.b) {
		c.b, c.short = nil, true
		return nil
	}
	b := c.b[:n]
	c.b = c.b[n:]
	return b
}

// count reads how many items of that size follow, and returns how many are there.
func (c *cursor) count(size int) int {
	n := uint64(c.number())
	if there := len(c.b) / size; n > uint64(there) {
		c.short = true
		return there
	}
	return int(n)
}

func (c *cursor) skip(n int) { c.take(n) }

// prepared reads what there is of a prepared transaction.
func (c *cursor) prepared(info uint32, e *Ending) {
	if info&xinfoTwoPhase == 0 {
		return
	}
	if xid := c.number(); xid != 0 {
		e.Top = xid
	}
	if info&xinfoGID != 0 {
		e.GID = untilNUL(c.b)
		c.skip(len(e.GID) + 1)
	}
}

func timestamp(b []byte) time.Time {
	return postgresEpoch.Add(time.Duration(int64(binary.LittleEndian.Uint64(b))) * time.Microsecond)
}
