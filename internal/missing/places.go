package missing

import (
	"iter"
	"maps"
	"slices"
)

// maxOffsets is how many row versions a page can have, and more (MaxHeapTuplesPerPage is 291 with pages of 8 KiB).
const maxOffsets = 320

// Places is a set of TIDs of one file: a bitmap per block.
type Places struct {
	blocks map[uint32]*[maxOffsets / 64]uint64
	n      int64
}

// Add adds a place, and reports false for an offset that no page has.
func (p *Places) Add(t TID) bool {
	if t.Offset == 0 || t.Offset >= maxOffsets {
		return false
	}
	if p.blocks == nil {
		p.blocks = map[uint32]*[maxOffsets / 64]uint64{}
	}
	b := p.blocks[t.Block]
	if b == nil {
		b = new([maxOffsets / 64]uint64)
		p.blocks[t.Block] = b
	}
	if bit := uint64(1) << (t.Offset % 64); b[t.Offset/64]&bit == 0 {
		b[t.Offset/64] |= bit
		p.n++
	}
	return true
}

// Len is how many places there are.
func (p *Places) Len() int64 { return p.n }

// Blocks returns the blocks with the offsets in each, in order.
func (p *Places) Blocks() iter.Seq2[uint32, []uint16] {
	return func(yield func(uint32, []uint16) bool) {
		for _, block := range slices.Sorted(maps.Keys(p.blocks)) {
			var offsets []uint16
			for offset := uint16(1); offset < maxOffsets; offset++ {
				if p.blocks[block][offset/64]&(1<<(offset%64)) != 0 {
					offsets = append(offsets, offset)
				}
			}
			if !yield(block, offsets) {
				return
			}
		}
	}
}
