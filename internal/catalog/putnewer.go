package catalog

import (
	"context"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/objectstore"
)

// write is a document on its way to several buckets.
type write struct {
	key string
	// next returns what to write over the document that is there (nil for none), or an error if it must stay.
	next func(there []byte) ([]byte, error)
	// blind: next does not depend on what is there, as long as nobody else wrote since this catalog last did.
	blind []byte
	// overtake copies it to a bucket that missed it; nil where somebody else sees to that.
	overtake overtake
}

// spread writes to each region's bucket at once. It succeeds if one of them takes it; fault.Fenced of any stands for all. Repeat brings it to
// the others later.
func (c *Catalog) spread(ctx context.Context, regions []string, w write) error {
	replies := ask(ctx, c, regions, func(ctx context.Context, region string, s objectstore.Store) (struct{}, error) {
		return struct{}{}, c.put(ctx, region, s, w)
	})
	if err := refused(fault.Fenced, replies); err != nil {
		return err
	}
	noteTaken(c, w, replies)
	return noneTook("write "+w.key, replies)
}

// put writes to one bucket by conditional write. The ETag of this catalog's last write saves reading before writing; if
// somebody else wrote since, the write loses and the document is read.
func (c *Catalog) put(ctx context.Context, region string, s objectstore.Store, w write) error {
	if etag := c.cachedETag(region, w.key); etag != "" && w.blind != nil {
		info, err := s.Put(ctx, w.key, w.blind, objectstore.PutOptions{IfMatch: etag})
		if !fault.Is(err, fault.Conflict) {
			c.rememberETag(region, w.key, info.ETag)
			return err
		}
	}
	info, err := putUntil(ctx, s, w)
	c.rememberETag(region, w.key, info.ETag)
	return err
}

// putUntil is putOver, again while others write.
func putUntil(ctx context.Context, s objectstore.Store, w write) (objectstore.Info, error) {
	for n := 0; ; n++ {
		info, err := putOver(ctx, s, w)
		if err == nil || !fault.Is(err, fault.Conflict) || n+1 == attempts {
			return info, err
		}
		if err := pause(ctx, n); err != nil {
			return objectstore.Info{}, err
		}
	}
}

func putOver(ctx context.Context, s objectstore.Store, w write) (objectstore.Info, error) {
	there, info, err := s.Get(ctx, w.key)
	opts := objectstore.PutOptions{IfMatch: info.ETag}
	if fault.Is(err, fault.Missing) {
		there, opts = nil, objectstore.PutOptions{IfAbsent: true}
	} else if err != nil {
		return objectstore.Info{}, err
	}
	body, err := w.next(there)
	if err != nil {
		return objectstore.Info{}, err
	}
	return s.Put(ctx, w.key, body, opts)
}
