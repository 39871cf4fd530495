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
	xinfoDroppedStats = 1 << 8

	fileLocator  = 12 // sizeof(RelFileLocator)
	invalMessage = 16 // sizeof(SharedInvalidationMessage)
)

// Ending is the end of a transaction.
type Ending struct {
	Committed bool
	Time      time.Time // by the server's clock
	Database  uint32    // OID, or 0 where the record does not say: most do not, the transaction's other records do
	XIDs      []uint32  // its own, as far as the record says, and those of its subtransactions
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

// Ending returns what a record says that ends a transaction. It can be asked only during the visit.
func (r Record) Ending() (Ending, bool) {
	if len(r.raw) < recordHeader || r.raw[17] != rmXact {
		return Ending{}, false
	}
	op := r.raw[16] & xactMask
	prepared := op == xactCommitPrepared || op == xactAbortPrepared
	main := mainData(r.raw)
	if !prepared && op != xactCommit && op != xactAbort || len(main) < 8 {
		return Ending{}, false
	}
	e := Ending{Committed: op == xactCommit || op == xactCommitPrepared, Time: timestamp(main)}
	if r.raw[16]&xactHasInfo != 0 {
		e.details(main[8:])
	}
	if xid := binary.LittleEndian.Uint32(r.raw[4:]); xid != 0 && !prepared {
		e.XIDs = append(e.XIDs, xid)
	}
	return e, true
}

// details reads what follows the time, as ParseCommitRecord and ParseAbortRecord do. Of a record that is cut short it takes what is there.
func (e *Ending) details(b []byte) {
	c := cursor{b}
	info := c.number()
	if info&xinfoDatabase != 0 {
		e.Database = c.number()
		c.skip(4) // its tablespace
	}
	if info&xinfoSubxacts != 0 {
		for n := min(c.number(), uint32(len(c.b)/4)); n > 0; n-- {
			e.XIDs = append(e.XIDs, c.number())
		}
	}
	if info&xinfoDroppedStats != 0 { // as long as versions will
		return
	}
	if info&xinfoFiles != 0 {
		c.skip(int(c.number()) * fileLocator)
	}
	if info&xinfoInvals != 0 {
		c.skip(int(c.number()) * invalMessage)
	}
	if xid := c.number(); info&xinfoTwoPhase != 0 && xid != 0 {
		e.XIDs = append(e.XIDs, xid)
	}
}

// cursor reads numbers; behind the end they are 0.
type cursor struct{ b []byte }

func (c *cursor) number() uint32 {
	if len(c.b) < 4 {
		c.b = nil
		return 0
	}
	n := binary.LittleEndian.Uint32(c.b)
	c.b = c.b[4:]
	return n
}

func (c *cursor) skip(n int) { c.b = c.b[min(max(n, 0), len(c.b)):] }

func timestamp(b []byte) time.Time {
	return postgresEpoch.Add(time.Duration(int64(binary.LittleEndian.Uint64(b))) * time.Microsecond)
}
