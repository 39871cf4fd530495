package snapshot

import (
	"context"

	"golang.org/x/sync/errgroup"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/objectstore"
)

// Place is where one chunk can be read.
type Place struct {
	Pack  string // its id
	Entry Entry
	Base  *Place // of a delta
}

// Places says of every chunk that Locate found where it can be read.
func Places(parts []PackPart) map[Hash]*Place {
	all := map[Hash]*Place{}
	for _, p := range parts {
		for _, e := range p.Entries {
			all[e.Hash] = &Place{Pack: p.ID, Entry: e}
		}
	}
	for _, p := range all {
		if p.Entry.IsDelta() {
			p.Base = all[p.Entry.Base]
		}
	}
	return all
}

// ReadChunk reads one chunk and verifies it, by one ranged request, or for a delta by two at once: one for its own bytes and one for its base's.
// Errors: fault.Missing, or fault.Corrupt naming the object.
func (d *Decoder) ReadChunk(ctx context.Context, store objectstore.Store, group, ws string, at *Place) ([]byte, error) {
	if !at.Entry.IsDelta() {
		stored, err := at.fetch(ctx, store, group, ws)
		if err != nil {
			return nil, err
		}
		return d.decodeAt(stored, at, group, ws)
	}
	if at.Base == nil || at.Base.Entry.Hash != at.Entry.Base || at.Base.Entry.IsDelta() {
		return nil, fault.Newf(fault.Missing, "read chunk", "chunk %s needs chunk %s, and nobody said where that is", at.Entry.Hash, at.Entry.Base)
	}
	return d.readDelta(ctx, store, group, ws, at)
}

func (d *Decoder) readDelta(ctx context.Context, store objectstore.Store, group, ws string, at *Place) ([]byte, error) {
	var delta, stored []byte
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) { delta, err = at.fetch(ctx, store, group, ws); return err })
	g.Go(func() (err error) { stored, err = at.Base.fetch(ctx, store, group, ws); return err })
	if err := g.Wait(); err != nil {
		return nil, err
	}
	base, err := d.decodeAt(stored, at.Base, group, ws)
	if err != nil {
		return nil, err
	}
	chunk := Resize(base, int(at.Entry.Raw))
	if _, err := d.Patch(delta, at.Entry, chunk); err != nil {
		return nil, at.corrupt(group, ws, err)
	}
	return chunk, nil
}

// Resize returns chunk at another length: cut, or with zeros behind it. It may use chunk's memory.
func Resize(chunk []byte, n int) []byte {
	if n <= len(chunk) {
		return chunk[:n]
	}
	return append(chunk, make([]byte, n-len(chunk))...)
}

func (at *Place) fetch(ctx context.Context, store objectstore.Store, group, ws string) ([]byte, error) {
	return store.GetRange(ctx, PackKey(group, ws, at.Pack), int64(at.Entry.Offset), int64(at.Entry.Size))
}

func (d *Decoder) decodeAt(stored []byte, at *Place, group, ws string) ([]byte, error) {
	chunk, err := d.Decode(stored, at.Entry.Hash, int(at.Entry.Raw), nil)
	if err != nil {
		return nil, at.corrupt(group, ws, err)
	}
	return chunk, nil
}

func (at *Place) corrupt(group, ws string, err error) error {
	return fault.Newf(fault.Corrupt, "read chunk", "object %s, bytes %d to %d: %w", PackKey(group, ws, at.Pack), at.Entry.Offset,
		int64(at.Entry.Offset)+int64(at.Entry.Size), err).
		WithHint("The object was altered or damaged. Use an older snapshot, or the other region's bucket.")
}
