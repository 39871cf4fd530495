package snapshot

import (
	"context"
	"log/slog"
	"sync"

	"github.com/smartdr/smartdr/internal/fault"
)

// printPacks is how many packs' page fingerprints are kept in memory, about 700 kB each. A backup comes in nearly the order of the one
// before, so that few are in use at a time.
const printPacks = 24

// fingerprints reads page fingerprints when they are first asked for.
type fingerprints struct {
	read func(ctx context.Context, pack string) (map[Hash]prints, error)
	log  *slog.Logger

	mu    sync.Mutex
	packs map[string]*packPrints
	order []string // of packs, the one used longest ago first
}

type packPrints struct {
	once sync.Once
	all  map[Hash]prints
}

// of returns the fingerprints of a chunk that a pack holds whole. It is not ok when there are none, as in packs of old: then nothing can be
// said about what has changed.
func (f *fingerprints) of(ctx context.Context, b base) (prints, bool) {
	p := f.pack(b.pack)
	p.once.Do(func() {
		all, err := f.read(ctx, b.pack)
		if err != nil && ctx.Err() == nil {
			f.log.Info("chunks of a pack whose page fingerprints cannot be read are stored whole", "pack", b.pack, "reason", err)
		}
		p.all = all
	})
	found, ok := p.all[b.hash]
	return found, ok
}

func (f *fingerprints) pack(id string) *packPrints {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := f.packs[id]
	if p == nil {
		p = new(packPrints)
		f.packs[id] = p
	}
	for i, other := range f.order {
		if other == id {
			f.order = append(f.order[:i], f.order[i+1:]...)
			break
		}
	}
	if f.order = append(f.order, id); len(f.order) > printPacks {
		delete(f.packs, f.order[0])
		f.order = f.order[1:]
	}
	return p
}

// readPrints reads a pack's page fingerprints from the first target that has them.
func (w *Writer) readPrints(ctx context.Context, pack string) (all map[Hash]prints, err error) {
	for i, t := range w.opts.Targets {
		if !w.alive(i) {
			continue
		}
		key := PagesKey(w.opts.Group, w.opts.Workspace, pack)
		var b []byte
		if b, _, err = t.Store.Get(ctx, key); err != nil {
			continue
		}
		if all, err = parsePages(b); err == nil {
			return all, nil
		}
		err = fault.New(fault.Corrupt, "read "+key, err)
	}
	return nil, err
}
