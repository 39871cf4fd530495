package verify

import (
	"context"
	"sync"

	"github.com/smartdr/smartdr/internal/objectstore"
)

// held is a view that keeps what it has read whole: the indexes of packs, which are looked through for every snapshot.
type held struct {
	*view
	mu  sync.Mutex
	got map[string][]byte
}

func newHeld(v *view) *held { return &held{view: v, got: map[string][]byte{}} }

func (h *held) Get(ctx context.Context, key string) ([]byte, objectstore.Info, error) {
	h.mu.Lock()
	b, ok := h.got[key]
	h.mu.Unlock()
	info, there := h.find(key)
	if ok && there {
		return b, info, nil
	}
	b, info, err := h.view.Get(ctx, key)
	if err == nil {
		h.mu.Lock()
		h.got[key] = b
		h.mu.Unlock()
	}
	return b, info, err
}
