package snapshot

import (
	"context"
	"sync"
)

// holding says where a chunk is.
type holding struct {
	to    targets // that hold it in whatever form, or will
	whole targets // that held it whole when the Writer began
	pack  int32   // one that holds it whole: its place in known.packs
	size  uint32  // compressed, whole
}

// known is what the buckets hold of a workspace's chunks.
type known struct {
	mu     sync.Mutex
	chunks map[Hash]holding
	bases  map[Hash]Hash  // of chunks that are stored as deltas
	spent  map[Hash]int64 // by base: compressed bytes of all deltas on it
	packs  []string
	found  []foundDelta // not judged yet
}

// foundDelta is a delta that an index lists.
type foundDelta struct {
	entry  Entry
	target int
}

func newKnown() *known {
	return &known{chunks: map[Hash]holding{}, bases: map[Hash]Hash{}, spent: map[Hash]int64{}}
}

// learn takes in what a pack of a target holds.
func (k *known) learn(target int, p Index) {
	k.mu.Lock()
	defer k.mu.Unlock()
	n := int32(len(k.packs))
	k.packs = append(k.packs, p.ID)
	for _, e := range p.Entries {
		if e.IsDelta() {
			k.found = append(k.found, foundDelta{e, target})
			continue
		}
		h := k.chunks[e.Hash]
		h.to |= 1 << target
		h.whole |= 1 << target
		h.pack, h.size = n, e.Size
		k.chunks[e.Hash] = h
	}
}

// settle counts the deltas whose base is in the same bucket; the chunks of others are stored anew.
func (k *known) settle() {
	k.mu.Lock()
	defer k.mu.Unlock()
	perTarget := map[foundKey]int64{}
	for _, f := range k.found {
		base := f.entry.Base
		if !k.chunks[base].whole.has(f.target) {
			continue
		}
		h := k.chunks[f.entry.Hash]
		h.to |= 1 << f.target
		k.chunks[f.entry.Hash] = h
		k.bases[f.entry.Hash] = base
		key := foundKey{base, f.target}
		perTarget[key] += int64(f.entry.Size)
		k.spent[base] = max(k.spent[base], perTarget[key])
	}
	k.found = nil
}

type foundKey struct {
	base   Hash
	target int
}

// claim returns those of live that the caller must store the chunk in.
func (k *known) claim(h Hash, live targets) targets {
	k.mu.Lock()
	defer k.mu.Unlock()
	there := k.chunks[h]
	to := live &^ there.to
	if to != 0 {
		there.to |= to
		k.chunks[h] = there
	}
	return to
}

// base is a chunk that another one may be stored as a delta on.
type base struct {
	hash Hash
	at   targets // that hold it
	pack string  // one of them
	size uint32  // compressed
}

// baseFor returns the base for what takes the place of chunk before, if there is one in any of to: before itself, or its own base, since deltas
// stand on whole chunks only. When the deltas on a base take together as much as it does, the next chunk is stored whole and becomes a
// base in its turn: building on would store the same pages again each time.
func (k *known) baseFor(before Hash, to targets) (base, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	b := base{hash: before}
	h := k.chunks[before]
	if h.whole&to == 0 {
		b.hash = k.bases[before]
		h = k.chunks[b.hash]
	}
	b.at = h.whole & to
	if b.hash.IsZero() || b.at == 0 || k.spent[b.hash] >= int64(h.size) {
		return base{}, false
	}
	b.pack, b.size = k.packs[h.pack], h.size
	return b, true
}

// addDelta notes a delta that is stored now.
func (k *known) addDelta(h Hash, b base, size int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.bases[h] = b.hash
	k.spent[b.hash] += int64(size)
}

// onlyAsDelta reports whether some target may hold a chunk as a delta alone.
func (k *known) onlyAsDelta(h Hash) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	_, delta := k.bases[h]
	return delta && k.chunks[h].whole != k.chunks[h].to
}

// readKnown fills known from the indexes in all buckets.
func (w *Writer) readKnown() error {
	var all sync.WaitGroup
	for i, t := range w.opts.Targets {
		all.Go(func() {
			if err := w.readTarget(i, t); err != nil {
				w.drop(i, err)
			}
		})
	}
	all.Wait()
	w.known.settle()
	return context.Cause(w.ctx)
}

// readTarget reads one bucket's indexes. What is condemned there does not count, from before they are read on.
func (w *Writer) readTarget(i int, t Target) error {
	watch, err := WatchCondemned(w.ctx, t.Store, w.opts.Group, w.opts.Workspace)
	if err != nil {
		return err
	}
	w.watches[i] = watch
	return EachIndex(w.ctx, t.Store, w.opts.Group, w.opts.Workspace, func(p Index) {
		switch {
		case p.Err != nil: // its chunks are stored anew, which heals it
			w.opts.Log.Warn("damaged pack index", "region", t.Region, "err", p.Err)
		case !watch.Condemned(p.ID):
			w.known.learn(i, p)
		}
	})
}
