package missing

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// Places are compared with a map, in which the lowest rank counts.
func TestPlacesAreThoseThatWereAdded(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 300 {
		var p Places
		want := map[TID]owned{}
		for range r.IntN(200) {
			first := uint16(1 + r.IntN(40))
			x := owned{newRun(uint32(r.IntN(4)), first, first+uint16(r.IntN(12))), uint32(r.IntN(3)), uint32(r.IntN(5))}
			x.rank = x.rank*3 + x.xid // one transaction has one rank
			p.add(x)
			for o := x.first(); o <= x.last(); o++ {
				if old, ok := want[TID{x.block(), o}]; !ok || x.rank < old.rank {
					want[TID{x.block(), o}] = x
				}
			}
			if r.IntN(50) == 0 {
				p.order() // as when there are many
			}
		}
		comparePlaces(t, &p, want)
	}
}

func comparePlaces(t *testing.T, p *Places, want map[TID]owned) {
	t.Helper()
	if p.Len() != int64(len(want)) {
		t.Fatalf("%d places, want %d", p.Len(), len(want))
	}
	for block := range uint32(5) {
		for o := range uint16(60) {
			at := TID{block, o}
			if x, ok := want[at]; p.Has(at) != ok || p.XID(at) != x.xid {
				t.Fatalf("%v: %t by %d, want %t by %d", at, p.Has(at), p.XID(at), ok, x.xid)
			}
		}
	}
	last, n := -1, 0
	for block, offsets := range p.Blocks() {
		if int(block) <= last || !slices.IsSorted(offsets) {
			t.Fatalf("block %d comes behind %d, with %v", block, last, offsets)
		}
		last = int(block)
		for _, o := range offsets {
			if _, ok := want[TID{block, o}]; ok {
				n++
			}
		}
	}
	if n != len(want) {
		t.Fatalf("%d of %d places are in blocks", n, len(want))
	}
}

func TestPlacesKnowWhatNoPageHas(t *testing.T) {
	var p Places
	for o, ok := range map[uint16]bool{0: false, 1: true, 291: true, maxOffsets: false, 65535: false} {
		if p.Add(TID{1, o}) != ok {
			t.Errorf("offset %d", o)
		}
	}
	if p.Len() != 2 || p.Has(TID{1, 2}) || p.Has(TID{0, 1}) || !p.Has(TID{1, 291}) {
		t.Errorf("%d places", p.Len())
	}
}

// Many places in any order do not take more room than what they are.
func TestManyPlacesTakeLittleRoom(t *testing.T) {
	var p Places
	r := rand.New(rand.NewPCG(3, 4))
	for range 3_000_000 {
		p.Add(TID{uint32(r.IntN(20_000)), uint16(1 + r.IntN(100))})
	}
	if p.Len() > 2_000_000 || cap(p.runs) > 1_100_000 {
		t.Errorf("%d places take %d runs", p.Len(), cap(p.runs))
	}
}
