package missing

import (
	"encoding/binary"
	"hash/maphash"
)

// bag counts rows by what they hold. Two hashes of 64 bits, of seeds that nobody knows, stand for the contents: that two different rows have
// both in common is as likely as a disk that returns other bytes.
type bag struct {
	a, b   maphash.Hash
	counts map[[2]uint64]int32
	size   [8]byte
}

func newBag() *bag {
	b := &bag{counts: map[[2]uint64]int32{}}
	b.a.SetSeed(maphash.MakeSeed())
	b.b.SetSeed(maphash.MakeSeed())
	return b
}

func (b *bag) clear() { clear(b.counts) }

// hash is of the values at places.
func (b *bag) hash(values [][]byte, places []int) [2]uint64 {
	b.a.Reset()
	b.b.Reset()
	for _, i := range places {
		n := uint64(0)
		if values[i] != nil {
			n = uint64(len(values[i])) + 1
		}
		binary.LittleEndian.PutUint64(b.size[:], n)
		b.put(b.size[:])
		b.put(values[i])
	}
	return [2]uint64{b.a.Sum64(), b.b.Sum64()}
}

// put never fails, as hashes do not.
func (b *bag) put(p []byte) {
	_, _ = b.a.Write(p)
	_, _ = b.b.Write(p)
}

func (b *bag) add(h [2]uint64) { b.counts[h]++ }

// take takes one out, and reports false if there is none.
func (b *bag) take(h [2]uint64) bool {
	n := b.counts[h]
	if n == 1 {
		delete(b.counts, h)
	} else if n > 1 {
		b.counts[h] = n - 1
	}
	return n > 0
}
