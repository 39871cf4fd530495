package missing

import (
	"cmp"
	"iter"
	"slices"
)

const (
	// maxOffsets is how many row versions a page can have, and more (MaxHeapTuplesPerPage is 291 with pages of 8 KiB).
	maxOffsets = 320
	// untidy is how many runs may be collected before they are put in order for the first time.
	untidy = 1 << 16
)

// Places is a set of TIDs of one file. What one statement writes fills pages, and what it changes lies anywhere: so they are kept as
// runs, 16 bytes for each, be it a full page or a single row version. After Scan it is only read, and may be by several at a time.
type Places struct {
	runs  []owned
	tidy  int // of runs, how many are in order and apart from each other
	limit int // how many may be there before they are put in order
}

// run is a block, its first offset and its last one, so that runs sort as places do.
type run uint64

func newRun(block uint32, first, last uint16) run {
	return run(block)<<32 | run(first)<<16 | run(last)
}

func (r run) block() uint32 { return uint32(r >> 32) }
func (r run) first() uint16 { return uint16(r >> 16) }
func (r run) last() uint16  { return uint16(r) }

// join returns a run that covers both, if they touch and b does not begin before a.
func join(a, b run) (run, bool) {
	if a.block() != b.block() || b.first() < a.first() || b.first() > a.last()+1 {
		return a, false
	}
	return newRun(a.block(), a.first(), max(a.last(), b.last())), true
}

// owned is a run with the transaction that was there, 0 where that does not matter, and in which order transactions were.
type owned struct {
	run
	xid, rank uint32
}

func (a owned) join(b owned) (owned, bool) {
	j, ok := join(a.run, b.run)
	if ok = ok && a.xid == b.xid && a.rank == b.rank; ok {
		a.run = j
	}
	return a, ok
}

// Add adds a place, and reports false for an offset that no page has.
func (p *Places) Add(t TID) bool {
	if t.Offset == 0 || t.Offset >= maxOffsets {
		return false
	}
	p.add(owned{run: newRun(t.Block, t.Offset, t.Offset)})
	return true
}

func (p *Places) add(r owned) {
	if n := len(p.runs); n > 0 {
		if j, ok := p.runs[n-1].join(r); ok {
			p.runs[n-1] = j
			return
		}
	}
	if p.runs = append(p.runs, r); len(p.runs) >= max(p.limit, untidy) {
		p.order()
		p.limit = 2 * len(p.runs)
	}
}

// order sorts what was added, and joins what touches. Of several transactions in one place the first counts.
func (p *Places) order() {
	if p.tidy == len(p.runs) {
		return
	}
	slices.SortFunc(p.runs, func(a, b owned) int { return cmp.Compare(a.run, b.run) })
	out := make([]owned, 0, len(p.runs))
	for rest := p.runs; len(rest) > 0; {
		n := 1
		for n < len(rest) && rest[n].block() == rest[0].block() {
			n++
		}
		out, rest = tidyBlock(out, rest[:n]), rest[n:]
	}
	p.runs, p.tidy = out, len(out)
}

// tidyBlock appends the runs of one block.
func tidyBlock(out, runs []owned) []owned {
	if len(runs) == 1 {
		return append(out, runs[0])
	}
	var at [maxOffsets]*owned
	for i := range runs {
		r := &runs[i]
		for o := r.first(); o <= r.last(); o++ {
			if at[o] == nil || r.rank < at[o].rank {
				at[o] = r
			}
		}
	}
	begun := len(out)
	for o, r := range at {
		if r == nil {
			continue
		}
		one := owned{newRun(r.block(), uint16(o), uint16(o)), r.xid, r.rank}
		if n := len(out); n > begun {
			if j, ok := out[n-1].join(one); ok {
				out[n-1] = j
				continue
			}
		}
		out = append(out, one)
	}
	return out
}

// find returns the run that holds a place.
func (p *Places) find(t TID) (owned, bool) {
	p.order()
	i, _ := slices.BinarySearchFunc(p.runs, newRun(t.Block, t.Offset, maxOffsets), func(r owned, t run) int { return cmp.Compare(r.run, t) })
	if i == 0 {
		return owned{}, false
	}
	r := p.runs[i-1] // the last that begins at or before it
	return r, r.block() == t.Block && r.last() >= t.Offset
}

// Has reports whether a place is in the set.
func (p *Places) Has(t TID) bool {
	_, ok := p.find(t)
	return ok
}

// XID returns the transaction that removed the row version which was in a place at the fork, or 0: New keeps none, since row versions
// tell who made them.
func (p *Places) XID(t TID) uint32 {
	r, ok := p.find(t)
	if !ok {
		return 0
	}
	return r.xid
}

// Len is how many places there are.
func (p *Places) Len() (n int64) {
	p.order()
	for _, r := range p.runs {
		n += int64(r.last()-r.first()) + 1
	}
	return n
}

// Blocks returns the blocks with the offsets in each, in order.
func (p *Places) Blocks() iter.Seq2[uint32, []uint16] {
	p.order()
	return func(yield func(uint32, []uint16) bool) {
		var offsets []uint16
		for i, r := range p.runs {
			for o := r.first(); o <= r.last(); o++ {
				offsets = append(offsets, o)
			}
			if i+1 < len(p.runs) && p.runs[i+1].block() == r.block() {
				continue
			}
			if !yield(r.block(), offsets) {
				return
			}
			offsets = nil
		}
	}
}
