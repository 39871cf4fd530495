package wal

import (
	"encoding/binary"
	"fmt"
	"iter"
)

// Records that insert or remove row versions (src/include/access/heapam_xlog.h), the same in PostgreSQL 15 to 18. All other heap records
// leave alone what can be seen: locks, pruning, freezing, visibility, in-place updates of the catalogs, and the confirmation of a
// speculative insertion.
const (
	rmStandby, rmHeap2, rmHeap, rmSequence = 8, 9, 10, 15

	heapMask        = 0x70 // XLOG_HEAP_OPMASK
	heapInsert      = 0x00
	heapDelete      = 0x10
	heapUpdate      = 0x20
	heapHotUpdate   = 0x40
	heapMultiInsert = 0x50 // of rmHeap2
	heapInitPage    = 0x80 // XLOG_HEAP_INIT_PAGE: the row versions are the only ones of their page
	deleteIsSuper   = 0x08 // XLH_DELETE_IS_SUPER: takes back a speculative insertion (ON CONFLICT), that nobody has seen

	sequenceLog = 0x00 // XLOG_SEQ_LOG
)

// Node is a relation's file, as WAL names it (RelFileLocator). Database is 0 for what all databases share.
type Node struct{ Tablespace, Database, Relation uint32 }

// RowChange is what a heap record says of the row versions of one file.
type RowChange struct {
	XID  uint32 // of the transaction, or the subtransaction
	Node Node
	New  Rows // that were inserted
	Old  Rows // that were removed
}

// Rows are row versions of one block. They are valid as long as the record that they come from.
type Rows struct {
	Block       uint32
	first, last uint16 // 0: there are none
	list        []byte // instead, when they need not lie side by side
}

// Len is how many there are.
func (r Rows) Len() int {
	switch {
	case r.list != nil:
		return len(r.list) / 2
	case r.last == 0:
		return 0
	}
	return int(r.last-r.first) + 1
}

// Offsets are their numbers in the block, from 1.
func (r Rows) Offsets() iter.Seq[uint16] {
	return func(yield func(uint16) bool) {
		for i := range r.Len() {
			o := r.first + uint16(i)
			if r.list != nil {
				o = binary.LittleEndian.Uint16(r.list[2*i:])
			}
			if !yield(o) {
				return
			}
		}
	}
}

// damaged is a record of a kind that has to be understood, and is not.
func (r Record) damaged(format string, args ...any) error {
	return &ScanError{r.Start, fmt.Sprintf(format, args...)}
}

// is reports whether it is a record of that resource manager, and an operation of it.
func (r Record) is(rm, mask, op byte) bool {
	return len(r.raw) >= recordHeader && r.raw[17] == rm && r.raw[16]&mask == op
}

// RowChange returns what the record says of rows, false when that is nothing. It can be asked only during the visit. The error, a
// *ScanError, is of a record that says something and cannot be understood.
func (r Record) RowChange() (c RowChange, ok bool, err error) {
	var read func(main []byte, at [2]block) (RowChange, bool)
	switch {
	case r.is(rmHeap, heapMask, heapInsert):
		read = readInsert
	case r.is(rmHeap, heapMask, heapDelete):
		read = readDelete
	case r.is(rmHeap, heapMask, heapUpdate), r.is(rmHeap, heapMask, heapHotUpdate):
		read = readUpdate
	case r.is(rmHeap2, heapMask, heapMultiInsert) && r.raw[16]&heapInitPage != 0:
		read = readFullPage
	case r.is(rmHeap2, heapMask, heapMultiInsert):
		read = readMultiInsert
	default:
		return c, false, nil
	}
	at, err := r.blocks()
	if err != nil {
		return c, false, err
	}
	if c, ok = read(mainData(r.raw), at); !ok {
		return c, false, r.damaged("a heap record (%02X) is too short for what it should say", r.raw[16])
	}
	c.XID, c.Node = r.XID, at[0].node
	return c, true, r.checkRows(c, at)
}

// checkRows refuses what no server writes.
func (r Record) checkRows(c RowChange, at [2]block) error {
	switch {
	case r.XID == 0:
		return r.damaged("a heap record names no transaction")
	case at[0].fork != 0 || at[1].known && (at[1].fork != 0 || at[1].node != at[0].node):
		return r.damaged("a heap record is not of one table's main fork")
	}
	for _, rows := range []Rows{c.New, c.Old} {
		for o := range rows.Offsets() {
			if o == 0 {
				return r.damaged("a heap record names row version 0")
			}
		}
	}
	return nil
}

// readInsert reads xl_heap_insert.
func readInsert(main []byte, at [2]block) (c RowChange, ok bool) {
	if len(main) < 3 {
		return c, false
	}
	c.New = one(at[0], main)
	return c, true
}

// readDelete reads xl_heap_delete.
func readDelete(main []byte, at [2]block) (c RowChange, ok bool) {
	if len(main) < 8 {
		return c, false
	}
	if main[7]&deleteIsSuper == 0 {
		c.Old = one(at[0], main[4:])
	}
	return c, true
}

// readUpdate reads xl_heap_update. The old version is in block 1, unless both are in the same.
func readUpdate(main []byte, at [2]block) (c RowChange, ok bool) {
	if len(main) < 14 {
		return c, false
	}
	if !at[1].known {
		at[1] = at[0]
	}
	c.Old, c.New = one(at[1], main[4:]), one(at[0], main[12:])
	return c, true
}

// readMultiInsert reads xl_heap_multi_insert.
func readMultiInsert(main []byte, at [2]block) (c RowChange, ok bool) {
	if len(main) < 4 {
		return c, false
	}
	n := int(binary.LittleEndian.Uint16(main[2:]))
	if n == 0 || len(main) < 4+2*n {
		return c, false
	}
	c.New = Rows{Block: at[0].number, list: main[4 : 4+2*n]}
	return c, true
}

// readFullPage reads an xl_heap_multi_insert that begins a page: it has no offsets, which are those from 1 on.
func readFullPage(main []byte, at [2]block) (c RowChange, ok bool) {
	if len(main) < 4 {
		return c, false
	}
	c.New = Rows{Block: at[0].number, first: 1, last: binary.LittleEndian.Uint16(main[2:])}
	return c, c.New.last > 0
}

func one(at block, offset []byte) Rows {
	o := binary.LittleEndian.Uint16(offset)
	return Rows{Block: at.number, first: o, last: o}
}

// Sequence returns the file of the sequence that the record moves, or makes. It can be asked only during the visit.
func (r Record) Sequence() (n Node, ok bool, err error) {
	if !r.is(rmSequence, infoMask, sequenceLog) {
		return n, false, nil
	}
	at, err := r.blocks()
	if err != nil || at[0].fork != 0 { // the initial state of an unlogged one
		return n, false, err
	}
	return at[0].node, true, nil
}

// block is what a record says of a block that it changes (XLogRecordBlockHeader).
type block struct {
	known  bool
	node   Node
	fork   byte // 0 is the main one
	number uint32
}

// blocks returns the first two blocks; the first must be there.
func (r Record) blocks() (at [2]block, err error) {
	var last Node
	for p := recordHeader; p < len(r.raw); {
		switch id := r.raw[p]; {
		case id == 253: // XLR_BLOCK_ID_ORIGIN
			p += 3
		case id == 252: // XLR_BLOCK_ID_TOPLEVEL_XID
			p += 5
		case id <= 32:
			size, _, ok := blockHeader(r.raw[p:])
			if !ok || p+size > len(r.raw) {
				return at, r.damaged("the header of block %d is cut", id)
			}
			b := readBlock(r.raw[p:p+size], last)
			if last = b.node; id < 2 {
				at[id] = b
			}
			p += size
		case id < 254:
			return at, r.damaged("block %d is of no kind that is known", id)
		default:
			p = len(r.raw)
		}
	}
	if !at[0].known {
		return at, r.damaged("the record names no block")
	}
	return at, nil
}

// readBlock reads a whole header, whose relation may be that of the block before.
func readBlock(b []byte, node Node) block {
	le, end := binary.LittleEndian, len(b)-4
	if b[1]&0x80 == 0 { // not BKPBLOCK_SAME_REL
		l := b[end-fileLocator:]
		node = Node{le.Uint32(l), le.Uint32(l[4:]), le.Uint32(l[8:])}
	}
	return block{true, node, b[1] & 0x0F, le.Uint32(b[end:])}
}
