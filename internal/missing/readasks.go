package missing

import (
	"fmt"
	"iter"
	"math"
	"slices"
	"strconv"
)

const (
	// batchTIDs is how many places one query asks for.
	batchTIDs = 10_000
	// minRun and maxRun are how many blocks in a row, each with enough places, are read by a range: 2 million rows took 11 s by place and 3 s by range.
	minRun, maxRun = 16, 4096
	// denseShare is the part of a block's row versions from which reading all of them is cheaper.
	denseShare = 0.3
	// minDense keeps blocks of few rows, of which little is known, out of ranges.
	minDense = 8
)

// ask is one query for row versions: by their places, or for all of a run of blocks, of which some are wanted.
type ask struct {
	tids  tidList
	first uint32 // block of the run
	run   [][]uint16
}

// condition is the query's, with its parameters, and says what is wanted of what it finds.
func (a ask) condition() (where string, params [][]byte, wanted func(TID) bool) {
	if a.run == nil {
		return " where ctid = any($1::tid[])", [][]byte{a.tids.text()}, func(TID) bool { return true }
	}
	where = fmt.Sprintf(" where ctid >= '(%d,0)'", a.first)
	if end := uint64(a.first) + uint64(len(a.run)); end <= math.MaxUint32 {
		where += fmt.Sprintf(" and ctid < '(%d,0)'", end)
	}
	return where, nil, func(t TID) bool {
		_, found := slices.BinarySearch(a.run[t.Block-a.first], t.Offset)
		return found
	}
}

// asks cuts the places in blocks, which are in order, into queries. A table has perPage rows on a page, or so; 0: nobody knows.
func asks(blocks iter.Seq2[uint32, []uint16], perPage float64) iter.Seq[ask] {
	return func(yield func(ask) bool) {
		c := cutter{perPage: perPage, yield: yield}
		for block, offsets := range blocks {
			if !c.add(block, offsets) {
				return
			}
		}
		if c.endRun() && c.tids.n > 0 {
			yield(ask{tids: c.tids})
		}
	}
}

// cutter gathers places for queries. Its methods report false when no more are wanted.
type cutter struct {
	perPage float64
	yield   func(ask) bool
	tids    tidList
	first   uint32 // block of the run
	run     [][]uint16
}

func (c *cutter) add(block uint32, offsets []uint16) bool {
	dense := c.dense(offsets)
	if n := len(c.run); n > 0 && (!dense || uint64(block) != uint64(c.first)+uint64(n) || n >= maxRun) && !c.endRun() {
		return false
	}
	if !dense {
		return c.single(block, offsets)
	}
	if len(c.run) == 0 {
		c.first = block
	}
	c.run = append(c.run, offsets)
	return true
}

// dense reports whether so much of a block is wanted that all of it may be read.
func (c *cutter) dense(offsets []uint16) bool {
	if len(offsets) < minDense {
		return false
	}
	there := max(float64(offsets[len(offsets)-1]), c.perPage)
	return float64(len(offsets)) > denseShare*there
}

// endRun asks for a run by its ends if it is long enough, else by its places.
func (c *cutter) endRun() bool {
	first, run := c.first, c.run
	c.run = nil
	if len(run) >= minRun {
		return c.yield(ask{first: first, run: run})
	}
	for i, offsets := range run {
		if !c.single(first+uint32(i), offsets) {
			return false
		}
	}
	return true
}

func (c *cutter) single(block uint32, offsets []uint16) bool {
	c.tids.add(block, offsets)
	if c.tids.n < batchTIDs {
		return true
	}
	full := c.tids
	c.tids = tidList{}
	return c.yield(ask{tids: full})
}

// tidList is an array of places as PostgreSQL reads it.
type tidList struct {
	buf []byte
	n   int
}

func (l *tidList) add(block uint32, offsets []uint16) {
	for _, o := range offsets {
		l.buf = append(l.buf, `,"(`...)
		l.buf = strconv.AppendUint(l.buf, uint64(block), 10)
		l.buf = append(l.buf, ',')
		l.buf = strconv.AppendUint(l.buf, uint64(o), 10)
		l.buf = append(l.buf, `)"`...)
	}
	l.n += len(offsets)
}

func (l *tidList) text() []byte { return append(append([]byte{'{'}, l.buf[1:]...), '}') }
