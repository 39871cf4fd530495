package restore

import (
	"context"
	"sort"
	"sync/atomic"

	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/internal/snapshot"
)

// plan says which chunk belongs where. Chunks are numbered through all files, so that a plan for a terabyte, a
// million chunks, takes tens of megabytes.
type plan struct {
	m     *snapshot.Manifest
	base  []int32                           // by file: the number of its first chunk
	first map[snapshot.Hash]int32           // by name: the number of the first chunk with that content
	next  []int32                           // by number: the next chunk with the same content, or -1
	there []bool                            // by number: filled, or nothing to fill
	onto  map[snapshot.Hash][]snapshot.Hash // by base: the chunks that are fetched as deltas on it

	control     []byte // pg_control, which is written last
	controlFile int    // its number; -1 if there is none

	total   int64        // bytes of all files with content
	done    atomic.Int64 // of total
	reused  atomic.Int64 // of done: were there before
	fetched atomic.Int64 // compressed
}

func newPlan(m *snapshot.Manifest) *plan {
	p := &plan{m: m, base: make([]int32, len(m.Files)), controlFile: -1}
	var n int32
	for i := range m.Files {
		f := &m.Files[i]
		p.base[i] = n
		n += int32(len(f.Chunks))
		if !f.Omitted {
			p.total += f.Size
		}
		if f.Path == controlPath {
			p.controlFile = i
		}
	}
	p.there = make([]bool, n)
	return p
}

// made says whether the restore writes a file's content itself.
func made(f *snapshot.File) bool { return f.Path == mapPath }

// locate finds the packs of what is not there yet: what is stored whole, with the bases of deltas, and the deltas.
func (p *plan) locate(ctx context.Context, store objectstore.Store) (whole, deltas []snapshot.PackPart, err error) {
	parts, err := snapshot.Locate(ctx, store, p.m.Group, p.m.Workspace, p.want())
	if err != nil {
		return nil, nil, err
	}
	p.onto = map[snapshot.Hash][]snapshot.Hash{}
	for _, part := range parts {
		w, d := snapshot.PackPart{ID: part.ID}, snapshot.PackPart{ID: part.ID}
		for _, e := range part.Entries {
			if !e.IsDelta() {
				w.Entries = append(w.Entries, e)
				continue
			}
			d.Entries = append(d.Entries, e)
			p.onto[e.Base] = append(p.onto[e.Base], e.Hash)
		}
		whole, deltas = append(whole, w), append(deltas, d)
	}
	return whole, deltas, nil
}

// want notes which chunks are not there yet, and where they belong, and returns their names.
func (p *plan) want() map[snapshot.Hash]struct{} {
	p.first = map[snapshot.Hash]int32{}
	p.next = make([]int32, len(p.there))
	wanted := map[snapshot.Hash]struct{}{}
	for i := range p.m.Files {
		f := &p.m.Files[i]
		for k, h := range f.Chunks {
			n := p.base[i] + int32(k)
			p.next[n] = -1
			if p.there[n] || h.IsZero() || made(f) {
				continue
			}
			if first, ok := p.first[h]; ok {
				p.next[n] = first
			}
			p.first[h] = n
			wanted[h] = struct{}{}
		}
	}
	return wanted
}

// each calls visit for every place that a chunk's content goes to.
func (p *plan) each(h snapshot.Hash, visit func(file, chunk int) error) error {
	n, ok := p.first[h]
	for ; ok && n >= 0; n = p.next[n] {
		file := sort.Search(len(p.base), func(i int) bool { return p.base[i] > n }) - 1
		if err := visit(file, int(n-p.base[file])); err != nil {
			return err
		}
	}
	return nil
}

// settle counts a chunk as done.
func (p *plan) settle(file, chunk int, reused bool) {
	n := int64(snapshot.ChunkLen(p.m.Files[file].Size, chunk))
	p.done.Add(n)
	if reused {
		p.reused.Add(n)
	}
}
