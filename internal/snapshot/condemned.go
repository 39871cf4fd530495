package snapshot

import (
	"context"
	"encoding/json"
	"errors"
	"path"
	"strings"
	"time"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/objectstore"
)

// Condemned are the packs of a workspace that a bucket is to lose, since no snapshot there needs them (object W/condemned.json). Every pack is
// on this list for a while before it is deleted, so that whoever makes a snapshot meanwhile sees it: he stores anew what is only there.
type Condemned struct {
	Format int                     `json:"format"`
	Packs  map[string]Condemnation `json:"packs"` // by id
}

// Condemnation is what is decided about one pack. Times are of the bucket's clock.
type Condemnation struct {
	At time.Time `json:"at"`
	// Going packs are being deleted: from now on there is no way back.
	Going bool `json:"going,omitempty"`
	// Spared is when somebody stored the pack again, whose snapshot is not published yet: it counts as new from then on.
	Spared time.Time `json:"spared,omitzero"`
}

// Holds reports whether the pack may not be relied on: it is on the list, and nobody has stored it again.
func (c Condemned) Holds(id string) bool {
	p, there := c.Packs[id]
	return there && p.Spared.IsZero()
}

// CondemnedKey returns the key of the list of condemned packs, below the root.
func CondemnedKey(group, ws string) string { return Prefix(group, ws) + "condemned.json" }

// ReadCondemned returns the list and its ETag; an empty list and no ETag when there is none.
func ReadCondemned(ctx context.Context, store objectstore.Store, group, ws string) (c Condemned, etag string, err error) {
	key := CondemnedKey(group, ws)
	b, info, err := store.Get(ctx, key)
	if fault.Is(err, fault.Missing) {
		return c, "", nil
	}
	if err != nil {
		return c, "", err
	}
	if err := json.Unmarshal(b, &c); err != nil {
		return c, info.ETag, fault.New(fault.Corrupt, "read "+key, err).
			WithHint("Delete it: packs that nothing needs are found and condemned anew.")
	}
	if c.Format != Format {
		return c, info.ETag, fault.Newf(fault.Invalid, "read "+key, "format %d is not known", c.Format).WithHint("It was written by a newer SmartDR: upgrade this one.")
	}
	return c, info.ETag, nil
}

// ReplaceCondemned writes the list over the one of that ETag, or where there is none. It is fault.Conflict when somebody else changed it.
func ReplaceCondemned(ctx context.Context, store objectstore.Store, group, ws string, c Condemned, etag string) (objectstore.Info, error) {
	c.Format = Format
	b, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return objectstore.Info{}, fault.New(fault.Invalid, "encode condemned packs", err)
	}
	return store.Put(ctx, CondemnedKey(group, ws), b, objectstore.PutOptions{IfAbsent: etag == "", IfMatch: etag})
}

// Watch is a look at the condemned packs of a workspace in one bucket, by whoever makes a snapshot there.
type Watch struct {
	store     objectstore.Store
	group, ws string
	list      Condemned
	etag      string
}

// WatchCondemned reads the list. It must come before the indexes are read.
func WatchCondemned(ctx context.Context, store objectstore.Store, group, ws string) (*Watch, error) {
	list, etag, err := ReadCondemned(ctx, store, group, ws)
	if err != nil {
		return nil, err
	}
	return &Watch{store, group, ws, list, etag}, nil
}

// Condemned reports whether a pack must be treated as if it were not there.
func (w *Watch) Condemned(id string) bool { return w.list.Holds(id) }

// Spare takes a pack off the list that is about to be stored, since equal content has an equal id. It is fault.Transient while the pack is
// being deleted: soon it may be stored anew.
func (w *Watch) Spare(ctx context.Context, id string) error {
	if !w.Condemned(id) {
		return nil
	}
	for range 20 {
		list, etag, err := ReadCondemned(ctx, w.store, w.group, w.ws)
		if err != nil || !list.Holds(id) {
			return err
		}
		p := list.Packs[id]
		if p.Going {
			return fault.Newf(fault.Transient, "store pack", "pack %s is being deleted, since nothing needed it", id)
		}
		p.Spared = time.Now().UTC()
		list.Packs[id] = p
		if _, err = ReplaceCondemned(ctx, w.store, w.group, w.ws, list, etag); !fault.Is(err, fault.Conflict) {
			return err
		}
	}
	return fault.Newf(fault.Transient, "store pack", "others change the list of condemned packs all the time")
}

// Publish is the function Publish for a snapshot that may rely on packs which were there before. It is fault.Transient when one of them was condemned
// meanwhile: the snapshot has to be made anew. It looks before and after: what is condemned after the second look will be found needed.
func (w *Watch) Publish(ctx context.Context, m *Manifest) error {
	if err := w.check(ctx, m); err != nil {
		return err
	}
	if err := Publish(ctx, w.store, m); err != nil {
		return err
	}
	if err := w.check(ctx, m); err != nil {
		key := ManifestKey(m.Group, m.Workspace, m.ID)
		return errors.Join(err, w.store.Delete(context.WithoutCancel(ctx), key))
	}
	return nil
}

// check finds out whether everything that m needs is in packs that stay. Nothing was condemned, and so nothing deleted, while the list is the same.
func (w *Watch) check(ctx context.Context, m *Manifest) error {
	list, etag, err := ReadCondemned(ctx, w.store, w.group, w.ws)
	if err != nil || etag == w.etag {
		return err
	}
	there, err := w.reliable(ctx, list)
	if err != nil {
		return err
	}
	if _, lacking := Needed(m.Wanted(), there); len(lacking) > 0 {
		return fault.Newf(fault.Transient, "publish snapshot", "packs that hold %d chunks of snapshot %s were condemned meanwhile", len(lacking), m.ID).
			WithHint("It is taken anew.")
	}
	w.list, w.etag = list, etag
	return nil
}

// reliable returns the indexes of the packs that stay. One that was put back beside a pack that was just being deleted does not count.
func (w *Watch) reliable(ctx context.Context, list Condemned) (there []Index, err error) {
	whole := map[string]bool{}
	for info, err := range w.store.List(ctx, packsPrefix(w.group, w.ws), "") {
		if err != nil {
			return nil, err
		}
		if id, is := strings.CutSuffix(path.Base(info.Key), ".pack"); is {
			whole[id] = true
		}
	}
	err = EachIndex(ctx, w.store, w.group, w.ws, func(p Index) {
		if p.Err == nil && whole[p.ID] && !list.Holds(p.ID) {
			there = append(there, p)
		}
	})
	return there, err
}
