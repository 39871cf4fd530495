package missing

import (
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
// runs, 8 bytes for each, be it a full page or a single row version.
type Places struct {
	runs  []run
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

// Add adds a place, and reports false for an offset that no page has.
func (p *Places) Add(t TID) bool {
	if t.Offset == 0 || t.Offset >= maxOffsets {
		return false
	}
	p.add(newRun(t.Block, t.Offset, t.Offset))
	return true
}

func (p *Places) add(r run) {
	if n := len(p.runs); n > 0 {
		if j, ok := join(p.runs[n-1], r); ok {
			p.runs[n-1] = j
			return
		}
	}
	if p.runs = append(p.runs, r); len(p.runs) >= max(p.limit, untidy) {
		p.order()
		p.limit = 2 * len(p.runs)
	}
}

// order sorts what was added, and joins what touches.
func (p *Places) order() {
	if p.tidy == len(p.runs) {
		return
	}
	slices.Sort(p.runs)
	out := p.runs[:1]
	for _, r := range p.runs[1:] {
		if j, ok := join(out[len(out)-1], r); ok {
			out[len(out)-1] = j
		} else {
			out = append(out, r)
		}
	}
	p.runs, p.tidy = out, len(out)
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
