package snapshot

import (
	"cmp"
	"context"
	"slices"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/objectstore"
)

// PackPart is what is wanted of one pack, in the order in which it lies there.
type PackPart struct {
	ID      string
	Entries []Entry
}

// Locate finds every chunk of wanted in a workspace's packs, each once. It takes from wanted what it finds. Errors:
// fault.Missing or fault.Corrupt when chunks are in no readable index; what was found is returned all the same.
func Locate(ctx context.Context, store objectstore.Store, group, ws string, wanted map[Hash]struct{}) ([]PackPart, error) {
	var parts []PackPart
	var damaged error
	err := EachIndex(ctx, store, group, ws, func(p Index) {
		if p.Err != nil {
			damaged = cmp.Or(damaged, p.Err)
			return
		}
		if part := takeWanted(p, wanted); len(part.Entries) > 0 {
			parts = append(parts, part)
		}
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(parts, func(a, b PackPart) int { return cmp.Compare(a.ID, b.ID) })
	return parts, lacking(len(wanted), damaged)
}

func takeWanted(p Index, wanted map[Hash]struct{}) PackPart {
	part := PackPart{ID: p.ID}
	for _, e := range p.Entries {
		if _, ok := wanted[e.Hash]; ok {
			delete(wanted, e.Hash)
			part.Entries = append(part.Entries, e)
		}
	}
	slices.SortFunc(part.Entries, func(a, b Entry) int { return cmp.Compare(a.Offset, b.Offset) })
	return part
}

func lacking(n int, damaged error) error {
	const hint = "Use an older snapshot, or the other region's bucket."
	switch {
	case n == 0:
		return nil
	case damaged != nil:
		return fault.Newf(fault.Corrupt, "find chunks", "%d of them are in no index that can be read: %w", n, damaged).WithHint(hint)
	}
	return fault.Newf(fault.Missing, "find chunks", "%d of them are in no pack of the bucket", n).WithHint(hint)
}

// ReadChunk reads one chunk by at most two ranged requests: one for its entry's bytes, and for a delta one for its base's. Errors:
// fault.Missing, or fault.Corrupt naming the object.
func ReadChunk(ctx context.Context, store objectstore.Store, group, ws string, at Place) ([]byte, error) {
	return nil, fault.Newf(fault.Invalid, "read chunk", "not there yet")
}

// Place is where one chunk can be read.
type Place struct {
	Pack  string // its id
	Entry Entry
	Base  *Place // of a delta
}

// Needed returns the ids of packs that suffice to read all chunks of wanted, bases of deltas included, and the chunks of wanted that
// no pack of indexes, or none with its base, holds. Locate finds everything in the packs that it returns.
func Needed(wanted map[Hash]struct{}, indexes []Index) (packs map[string]struct{}, lacking []Hash) {
	return nil, nil
}
