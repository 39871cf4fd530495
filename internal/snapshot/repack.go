package snapshot

import (
	"context"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/objectstore"
)

// Repack stores what is kept of a pack as a pack of its own, and returns the new one's id. keep is by entry. The bytes are copied as they are;
// the old pack stays. Doing it again makes the same pack. Errors: fault.Missing, or fault.Corrupt naming the object.
func Repack(ctx context.Context, store objectstore.Store, group, ws, id string, keep []bool) (string, error) {
	index, err := readIndex(ctx, store, IndexKey(group, ws, id))
	if err == nil {
		err = index.Err
	}
	if err != nil {
		return "", err
	}
	if len(keep) != len(index.Entries) {
		return "", fault.Newf(fault.Conflict, "write pack anew", "pack %s has %d chunks and not %d", id, len(index.Entries), len(keep))
	}
	key := PackKey(group, ws, id)
	body, _, err := store.Get(ctx, key)
	if err != nil {
		return "", err
	}
	next := newPack(0, nil)
	for n, e := range index.Entries {
		if !keep[n] {
			continue
		}
		end := int64(e.Offset) + int64(e.Size)
		if end > int64(len(body)) {
			return "", fault.Newf(fault.Corrupt, "write pack anew", "%s ends at %d, before the end of a chunk at %d", key, len(body), end)
		}
		stored := body[e.Offset:end]
		e.Offset = uint32(len(next.body))
		next.entries, next.body = append(next.entries, e), append(next.body, stored...)
	}
	pages, err := readPages(ctx, store, PagesKey(group, ws, id))
	if err != nil {
		return "", err
	}
	sealed := next.seal(defaultPage)
	sealed.Pages = pagesOf(pages, next.entries)
	return sealed.ID, PutPack(ctx, store, group, ws, sealed)
}
