package retention

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/smartdr/smartdr/internal/snapshot"
)

// Packs that are mostly dead are written anew with what is needed of them. Less than half of a pack that stays is dead, but for small ones, where a
// request costs more than the bytes.
const (
	deadAtMost = 0.5
	smallPack  = 64 << 10
)

// Verdict is what becomes of a workspace's packs in one round.
type Verdict struct {
	List   snapshot.Condemned // as it is to be from now on
	Going  []Pack             // to be deleted now; the list says so already
	Repack []Repack
}

// Repack is a pack of which only a part is needed.
type Repack struct {
	ID   string
	Keep []bool // by entry
	Dead int64  // bytes
}

// Rest is what Condemn has to know besides the bucket and what is needed.
type Rest struct {
	Now    time.Time // the bucket's clock
	Grace  time.Duration
	Taking bool // a snapshot is being taken: nothing is condemned that it may rely on
}

// Condemn decides about packs. One that is not needed is put on the list, and goes in a round that is at least a grace later, if it is
// still on the list and still not needed. Before every chunk is known that the snapshots that stay need, nothing is condemned.
func Condemn(b *Bucket, m Marks, list snapshot.Condemned, r Rest) Verdict {
	use := assign(b, m.Chunks, list)
	v := Verdict{List: snapshot.Condemned{Packs: map[string]snapshot.Condemnation{}}}
	sure := len(m.Unknown) == 0 && use.lacking == 0
	old := func(t time.Time) bool { return !t.After(r.Now.Add(-r.Grace)) }
	for i := range b.Packs {
		p := &b.Packs[i]
		c, listed := list.Packs[p.ID]
		needed := use.bytes[i] > 0 || !sure || m.Lacking && !p.Readable()
		switch {
		case listed && c.Going: // there is no way back: a snapshot that needs it was refused
			v.List.Packs[p.ID], v.Going = c, append(v.Going, *p)
		case needed:
			v.Repack = append(v.Repack, repack(p, use, i, sure && !listed && old(p.modified()) && !r.Taking)...)
		case listed && !c.Spared.IsZero() && !old(c.Spared):
			v.List.Packs[p.ID] = c
		case listed && c.Spared.IsZero() && old(c.At):
			v.List.Packs[p.ID], v.Going = snapshot.Condemnation{At: c.At, Going: true}, append(v.Going, *p)
		case listed && c.Spared.IsZero():
			v.List.Packs[p.ID] = c
		case old(p.modified()) && !r.Taking:
			v.List.Packs[p.ID] = snapshot.Condemnation{At: r.Now}
		}
	}
	return v
}

// usage says which of the packs hold what is needed.
type usage struct {
	bytes   []int64 // by pack: stored bytes of chunks that it is relied on for
	entries []Set   // by pack: which of its entries those are
	lacking int     // chunks that no pack has
}

// assign finds for each chunk a pack to rely on. Of those that are not condemned the ones with the most live bytes come first, so that copies that are left of
// a pack written anew empty it. A delta whose chunk is live needs its base, even where the chunk is had from elsewhere: readers choose for
// themselves.
func assign(b *Bucket, live Set, list snapshot.Condemned) usage {
	live = slices.Clone(live)
	withBases(b, &live)
	u := usage{bytes: make([]int64, len(b.Packs)), entries: make([]Set, len(b.Packs))}
	var done Set
	for _, i := range preferred(b, live, list) {
		for n, e := range b.Packs[i].Entries {
			if live.Has(e.Chunk) && !done.Has(e.Chunk) {
				done.Add(e.Chunk)
				u.bytes[i] += e.Size
				u.entries[i].Add(Chunk(n))
			}
		}
	}
	u.lacking = live.Len() - done.Len()
	return u
}

// withBases adds the bases of all deltas of live chunks. A base is no delta itself.
func withBases(b *Bucket, live *Set) {
	for i := range b.Packs {
		for _, e := range b.Packs[i].Entries {
			if e.Base != NoChunk && live.Has(e.Chunk) {
				live.Add(e.Base)
			}
		}
	}
}

// preferred returns the readable packs in the order in which they are relied on.
func preferred(b *Bucket, live Set, list snapshot.Condemned) []int {
	share := map[int]float64{}
	for i := range b.Packs {
		if p := &b.Packs[i]; p.Readable() {
			alive, all := weigh(p, live)
			share[i] = float64(alive) / float64(max(all, 1))
		}
	}
	return slices.SortedFunc(maps.Keys(share), func(x, y int) int {
		_, a := list.Packs[b.Packs[x].ID]
		_, c := list.Packs[b.Packs[y].ID]
		if a != c {
			return cmp.Compare(condemnedLast(a), condemnedLast(c))
		}
		return cmp.Or(cmp.Compare(share[y], share[x]), cmp.Compare(b.Packs[x].ID, b.Packs[y].ID))
	})
}

func condemnedLast(listed bool) int {
	if listed {
		return 1
	}
	return 0
}

func weigh(p *Pack, live Set) (alive, all int64) {
	for _, e := range p.Entries {
		all += e.Size
		if live.Has(e.Chunk) {
			alive += e.Size
		}
	}
	return alive, all
}

// repack says how a pack is written anew, if that is worth it.
func repack(p *Pack, u usage, i int, may bool) []Repack {
	dead := p.Body.Size - u.bytes[i]
	if !may || !p.Readable() || p.Body.Size <= smallPack || float64(dead) <= deadAtMost*float64(p.Body.Size) {
		return nil
	}
	keep := make([]bool, len(p.Entries))
	for n := range keep {
		keep[n] = u.entries[i].Has(Chunk(n))
	}
	return []Repack{{p.ID, keep, dead}}
}
