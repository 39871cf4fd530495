package snapshot

import (
	"context"
	"fmt"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/objectstore"
)

// CopyPack copies a pack, its page fingerprints and its index from one bucket to another, and returns the bytes sent. Only what is whole is
// copied: fault.Corrupt names the object otherwise. Of deltas the checksum is looked at; their bases are for the caller to copy.
func CopyPack(ctx context.Context, from, to objectstore.Store, group, ws, id string) (int64, error) {
	s, err := readPack(ctx, from, group, ws, id)
	if err != nil {
		return 0, err
	}
	if err := PutPack(ctx, to, group, ws, s); err != nil {
		return 0, err
	}
	return s.Len(), nil
}

// readPack reads and checks a pack's objects.
func readPack(ctx context.Context, from objectstore.Store, group, ws, id string) (s Sealed, err error) {
	s.ID = id
	key := IndexKey(group, ws, id)
	if s.Index, _, err = from.Get(ctx, key); err != nil {
		return s, err
	}
	entries, err := decodeIndex(s.Index)
	if err != nil {
		return s, fault.Newf(fault.Corrupt, "read pack index", "%s: %w", key, err)
	}
	key = PackKey(group, ws, id)
	if s.Body, _, err = from.Get(ctx, key); err != nil {
		return s, err
	}
	if err := checkPack(s.Body, entries); err != nil {
		return s, fault.Newf(fault.Corrupt, "read pack", "%s: %w", key, err)
	}
	s.Pages, err = readPages(ctx, from, PagesKey(group, ws, id))
	return s, err
}

// readPages reads a pack's page fingerprints; nil when there are none that are any good, without which snapshots only cost more.
func readPages(ctx context.Context, from objectstore.Store, key string) ([]byte, error) {
	b, _, err := from.Get(ctx, key)
	if fault.Is(err, fault.Missing) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if _, err := parsePages(b); err != nil {
		return nil, nil //nolint:nilerr // they can be done without
	}
	return b, nil
}

// pagesOf returns the page fingerprints of some chunks out of those of a pack, nil when there are none.
func pagesOf(pages []byte, entries []Entry) []byte {
	if pages == nil {
		return nil
	}
	all, err := parsePages(pages)
	if err != nil {
		return nil // without them the next snapshot only costs more
	}
	page := 0
	var records []byte
	for _, e := range entries {
		if p, ok := all[e.Hash]; ok && !e.IsDelta() {
			page, records = p.page, append(records, p.record...)
		}
	}
	if records == nil {
		return nil
	}
	return sealPages(records, page)
}

// checkPack verifies every chunk of a pack.
func checkPack(body []byte, entries []Entry) error {
	d := NewDecoder(1)
	defer d.Close()
	var raw []byte
	for _, e := range entries {
		end := int64(e.Offset) + int64(e.Size)
		if end > int64(len(body)) {
			return fmt.Errorf("the pack ends at byte %d, before chunk %s does", len(body), e.Hash)
		}
		var err error
		if raw, err = d.Check(body[e.Offset:end], e, raw); err != nil {
			return err
		}
	}
	return nil
}
