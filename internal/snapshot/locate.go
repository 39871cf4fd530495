package snapshot

import (
	"bytes"
	"cmp"
	"context"
	"maps"
	"slices"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/objectstore"
)

// PackPart is what is wanted of one pack, in the order in which it lies there.
type PackPart struct {
	ID      string
	Entries []Entry
}

// Locate finds every chunk of wanted in a workspace's packs, each once, and the bases of those that are found as deltas, each once. It takes
// from wanted what it finds. Errors: fault.Missing or fault.Corrupt when chunks, or the bases of their deltas, are in no readable index;
// what was found is returned all the same.
func Locate(ctx context.Context, store objectstore.Store, group, ws string, wanted map[Hash]struct{}) ([]PackPart, error) {
	var damaged error
	s := newSearch(wanted)
	err := EachIndex(ctx, store, group, ws, func(p Index) {
		if damaged = cmp.Or(damaged, p.Err); p.Err == nil {
			s.add(p)
		}
	})
	if err != nil {
		return nil, err
	}
	parts := s.parts()
	return parts, lacking(len(wanted), damaged)
}

// Needed returns the ids of packs that suffice to read all chunks of wanted, bases of deltas included, and the chunks of wanted that
// no pack of indexes, or none with its base, holds. Locate finds everything in the packs that it returns.
func Needed(wanted map[Hash]struct{}, indexes []Index) (packs map[string]struct{}, lacking []Hash) {
	wanted = maps.Clone(wanted)
	s := newSearch(wanted)
	for _, p := range indexes {
		if p.Err == nil {
			s.add(p)
		}
	}
	packs = map[string]struct{}{}
	for _, p := range s.parts() {
		packs[p.ID] = struct{}{}
	}
	return packs, slices.SortedFunc(maps.Keys(wanted), func(a, b Hash) int { return bytes.Compare(a[:], b[:]) })
}

// Lacking returns the packs, out of here, that have to be copied so that chunks can be read where there are the packs of there. A delta's base
// that is there is not copied. Errors: fault.Missing or fault.Corrupt when here lacks some of them itself.
func Lacking(chunks []Hash, here, there []Index) ([]string, error) {
	wanted := map[Hash]struct{}{}
	for _, h := range chunks {
		wanted[h] = struct{}{}
	}
	var damaged error
	s := newSearch(wanted)
	for _, p := range here {
		if damaged = cmp.Or(damaged, p.Err); p.Err == nil {
			s.add(p)
		}
	}
	parts := s.parts()
	if err := lacking(len(wanted), damaged); err != nil {
		return nil, err
	}
	for _, h := range chunks {
		wanted[h] = struct{}{}
	}
	whole := wholeIn(there)
	var packs []string
	for _, p := range parts {
		if slices.ContainsFunc(p.Entries, func(e Entry) bool { return has(wanted, e.Hash) || !has(whole, e.Hash) }) {
			packs = append(packs, p.ID)
		}
	}
	return packs, nil
}

// wholeIn returns the chunks that are stored whole in packs.
func wholeIn(packs []Index) map[Hash]struct{} {
	whole := map[Hash]struct{}{}
	for _, p := range packs {
		for _, e := range p.Entries {
			if !e.IsDelta() {
				whole[e.Hash] = struct{}{}
			}
		}
	}
	return whole
}

func has(set map[Hash]struct{}, h Hash) bool {
	_, ok := set[h]
	return ok
}

// search finds chunks in indexes that come in any order.
type search struct {
	wanted map[Hash]struct{}
	packs  []string
	whole  map[Hash]located   // of wanted
	deltas map[Hash][]located // of wanted
	others []othersOf         // whole chunks that may turn out to be bases
}

type located struct {
	pack  int
	entry Entry
}

// othersOf are the entries of one pack that are not wanted themselves. They are kept as they are small beside a plan of all chunks.
type othersOf struct {
	pack    int
	entries []Entry
}

func newSearch(wanted map[Hash]struct{}) *search {
	return &search{wanted: wanted, whole: map[Hash]located{}, deltas: map[Hash][]located{}}
}

func (s *search) add(p Index) {
	n := len(s.packs)
	s.packs = append(s.packs, p.ID)
	others := othersOf{pack: n}
	for _, e := range p.Entries {
		_, wanted := s.wanted[e.Hash]
		switch {
		case wanted && e.IsDelta():
			s.deltas[e.Hash] = append(s.deltas[e.Hash], located{n, e})
		case wanted:
			s.keepWhole(located{n, e})
		case !e.IsDelta():
			others.entries = append(others.entries, e)
		}
	}
	if len(others.entries) > 0 {
		s.others = append(s.others, others)
	}
}

// keepWhole remembers one place of a chunk that is stored whole: the same one in whatever order indexes come, so that two who search
// agree on the packs that they need.
func (s *search) keepWhole(l located) {
	if old, ok := s.whole[l.entry.Hash]; !ok || s.packs[l.pack] < s.packs[old.pack] {
		s.whole[l.entry.Hash] = l
	}
}

// parts settles where each wanted chunk is read: whole where it is whole, else as a delta whose base is there. It takes what it finds from wanted.
func (s *search) parts() []PackPart {
	s.findBases()
	byPack := map[int][]Entry{}
	taken := map[Hash]bool{}
	take := func(l located) {
		if !taken[l.entry.Hash] {
			taken[l.entry.Hash] = true
			byPack[l.pack] = append(byPack[l.pack], l.entry)
		}
	}
	for h := range s.wanted {
		l, ok := s.whole[h]
		if !ok {
			if l, ok = s.delta(h); ok {
				take(s.whole[l.entry.Base])
			}
		}
		if ok {
			take(l)
			delete(s.wanted, h)
		}
	}
	parts := make([]PackPart, 0, len(byPack))
	for pack, entries := range byPack {
		slices.SortFunc(entries, func(a, b Entry) int { return cmp.Compare(a.Offset, b.Offset) })
		parts = append(parts, PackPart{s.packs[pack], entries})
	}
	slices.SortFunc(parts, func(a, b PackPart) int { return cmp.Compare(a.ID, b.ID) })
	return parts
}

// findBases looks among the other chunks for the bases of deltas.
func (s *search) findBases() {
	bases := map[Hash]bool{}
	for h, all := range s.deltas {
		if _, whole := s.whole[h]; whole {
			continue
		}
		for _, l := range all {
			bases[l.entry.Base] = true
		}
	}
	if len(bases) == 0 {
		return
	}
	for _, o := range s.others {
		for _, e := range o.entries {
			if bases[e.Hash] {
				s.keepWhole(located{o.pack, e})
			}
		}
	}
}

// delta returns the delta of a chunk whose base is there, always the same one.
func (s *search) delta(h Hash) (best located, ok bool) {
	for _, l := range s.deltas[h] {
		if _, there := s.whole[l.entry.Base]; there && (!ok || s.packs[l.pack] < s.packs[best.pack]) {
			best, ok = l, true
		}
	}
	return best, ok
}

func lacking(n int, damaged error) error {
	const hint = "Use an older snapshot, or the other region's bucket."
	switch {
	case n == 0:
		return nil
	case damaged != nil:
		return fault.Newf(fault.Corrupt, "find chunks", "%d of them are in no index that can be read: %w", n, damaged).WithHint(hint)
	}
	return fault.Newf(fault.Missing, "find chunks", "%d of them, or what their deltas stand on, are in no pack of the bucket", n).WithHint(hint)
}
