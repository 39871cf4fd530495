package restore

import (
	"context"

	"github.com/smartdr/smartdr/internal/archive"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/wal"
)

// CountCommits counts the commit records that end behind from and at or before to; 0 means the end of what the bucket has. It reads
// what lies between them, and no more. A transaction counts for the database that its records between the two name, and for OID
// 0 where none of them does.
func CountCommits(ctx context.Context, legs []Leg, size wal.SegmentSize, from, to wal.LSN) (total int64, byDatabase map[uint32]int64, err error) {
	if len(legs) == 0 || !size.Valid() || to != 0 && to < from {
		return 0, nil, fault.Newf(fault.Invalid, opPoint, "%d legs, segment size %d, from %s to %s", len(legs), size, from, to)
	}
	var c census
	w := walk{legs: legs, size: size, from: from, visit: func(_ int, _ archive.Line, r wal.Record) error {
		if to != 0 && r.End > to {
			return errEnough
		}
		c.see(r, r.End > from)
		return nil
	}}
	err = w.run(ctx, func() { c = census{writes: map[uint32]uint32{}, own: map[uint32]bool{}, by: map[uint32]int64{}} })
	return c.total, c.by, err
}

// census counts commits, all but those by which SmartDR itself had a server flush its WAL.
type census struct {
	writes map[uint32]uint32 // by transaction that has not ended: the database
	own    map[uint32]bool   // those that hold a message of SmartDR
	by     map[uint32]int64
	total  int64
}

func (c *census) see(r wal.Record, counts bool) {
	e, ends := r.Ending()
	if !ends {
		if r.XID == 0 {
			return
		}
		if db := r.Database(); db != 0 {
			c.writes[r.XID] = db
		}
		if r.MessagePrefix() == wal.MessagePrefix {
			c.own[r.XID] = true
		}
		return
	}
	db, own := e.Database, c.own[e.Top]
	for _, xid := range e.XIDs {
		if db == 0 {
			db = c.writes[xid]
		}
		delete(c.writes, xid)
		delete(c.own, xid)
	}
	if e.Committed && counts && (!own || db != 0) {
		c.by[db]++
		c.total++
	}
}
