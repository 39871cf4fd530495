package retention

import "math/bits"

// Chunk is a chunk's number within one Bucket.
type Chunk uint32

// NoChunk is the number of none.
const NoChunk = Chunk(1<<32 - 1)

// Set is a set of chunks. A snapshot of a terabyte has a million of them, and there are dozens of snapshots: a bit for each.
type Set []uint64

// Add adds a chunk.
func (s *Set) Add(c Chunk) {
	for int(c/64) >= len(*s) {
		*s = append(*s, 0)
	}
	(*s)[c/64] |= 1 << (c % 64)
}

// Has reports whether a chunk is in the set.
func (s Set) Has(c Chunk) bool { return int(c/64) < len(s) && s[c/64]&(1<<(c%64)) != 0 }

// AddAll adds another set.
func (s *Set) AddAll(o Set) {
	for len(*s) < len(o) {
		*s = append(*s, 0)
	}
	for i, w := range o {
		(*s)[i] |= w
	}
}

// Len is how many chunks there are.
func (s Set) Len() (n int) {
	for _, w := range s {
		n += bits.OnesCount64(w)
	}
	return n
}
