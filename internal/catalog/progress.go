package catalog

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"time"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/internal/topology"
)

// Metadata is what was captured from a workspace's server (catalog document metadata.json). What Server holds is for
// package metadata to read.
type Metadata struct {
	Format     int             `json:"format"`
	Epoch      topology.Epoch  `json:"epoch"`
	CapturedAt time.Time       `json:"capturedAt"`
	Databases  []string        `json:"databases"` // names, without templates
	Server     json.RawMessage `json:"server"`
}

type walDocument struct {
	Format int  `json:"format"`
	Copied bool `json:"copied,omitempty"` // from another bucket: it came to this one later than it was written
	topology.WALProgress
}

type snapshotDocument struct {
	Format int `json:"format"`
	topology.SnapshotProgress
}

// age orders announcements: by epoch, then by the announcer's clock.
type age struct {
	epoch topology.Epoch
	at    time.Time
}

func (a age) before(b age) bool {
	return a.epoch < b.epoch || a.epoch == b.epoch && a.at.Before(b.at)
}

// announcement is a document that its writer replaces again and again.
type announcement interface{ age() age }

func (d walDocument) age() age { return age{d.Epoch, d.MeasuredAt} }
func (d Metadata) age() age    { return age{d.Epoch, d.CapturedAt} }
func (d snapshotDocument) age() age {
	e, _ := topology.ParseLineageID(d.Lineage) // 0 for a lineage of nobody
	return age{e, d.MeasuredAt}
}

// PutWALProgress announces what a shipper says of itself in the group's buckets. It succeeds if one of them takes it, and
// is fault.Fenced if a shipper of a newer epoch has announced itself there. A point of recovery that was announced of the same
// lineage stays where p is behind it: a failover holds what it finds against it.
func (c *Catalog) PutWALProgress(ctx context.Context, group, workspace string, p topology.WALProgress) error {
	d := walDocument{Format: format, WALProgress: c.notBehind(group, workspace, p)}
	return announce(ctx, c, group, workspace, walFile, d, func(there walDocument) walDocument {
		return walDocument{Format: format, WALProgress: c.notBehind(group, workspace, d.NotBehind(there.WALProgress))}
	})
}

// notBehind keeps the points that this catalog has announced of the lineage: it writes without reading what it wrote last.
func (c *Catalog) notBehind(group, workspace string, p topology.WALProgress) topology.WALProgress {
	key := workspaceKey(group, workspace, p.Lineage)
	c.cache.mu.Lock()
	defer c.cache.mu.Unlock()
	if c.cache.announced == nil {
		c.cache.announced = map[string]topology.WALProgress{}
	}
	p = p.NotBehind(c.cache.announced[key])
	c.cache.announced[key] = p
	return p
}

// PutSnapshotProgress announces how far a snapshot is, as PutWALProgress does; the epoch is the lineage's.
func (c *Catalog) PutSnapshotProgress(ctx context.Context, group, workspace string, p topology.SnapshotProgress) error {
	if _, err := topology.ParseLineageID(p.Lineage); err != nil {
		return err
	}
	return announce(ctx, c, group, workspace, snapshotFile, snapshotDocument{format, p}, nil)
}

// PutMetadata stores what was captured from a workspace's server, as PutWALProgress does. Format is filled in.
func (c *Catalog) PutMetadata(ctx context.Context, group, workspace string, m Metadata) error {
	m.Format = format
	return announce(ctx, c, group, workspace, metadataFile, m, nil)
}

// WALProgress returns the newest announcement among the buckets that answer; fault.Missing when there is none.
func (c *Catalog) WALProgress(ctx context.Context, group, workspace string) (topology.WALProgress, error) {
	d, err := newestAnnounced[walDocument](ctx, c, nil, group, workspace, walFile)
	return d.WALProgress, err
}

// SnapshotProgress returns the newest announcement among the buckets that answer; fault.Missing when there is none.
func (c *Catalog) SnapshotProgress(ctx context.Context, group, workspace string) (topology.SnapshotProgress, error) {
	d, err := newestAnnounced[snapshotDocument](ctx, c, nil, group, workspace, snapshotFile)
	return d.SnapshotProgress, err
}

// Metadata returns the newest capture among the buckets that answer; fault.Missing when there is none.
func (c *Catalog) Metadata(ctx context.Context, group, workspace string) (Metadata, error) {
	return newestAnnounced[Metadata](ctx, c, nil, group, workspace, metadataFile)
}

const (
	walFile      = "progress/wal.json"
	snapshotFile = "progress/snapshot.json"
	metadataFile = "metadata.json"
)

// announce writes d to every bucket of the group. over, unless nil, returns what to write over what is there.
func announce[T announcement](ctx context.Context, c *Catalog, group, workspace, file string, d T, over func(there T) T) error {
	if err := checkNames(group, workspace); err != nil {
		return err
	}
	regions, err := c.regionsOf(ctx, group)
	if err != nil {
		return err
	}
	body, err := json.Marshal(d)
	if err != nil {
		return fault.New(fault.Invalid, "write "+file, err)
	}
	key := workspaceKey(group, workspace, file)
	return c.spread(ctx, regions, write{key: key, blind: body, overtake: newerOf[T](key), next: func(there []byte) ([]byte, error) {
		if err := checkSupersedes(key, d, there); err != nil {
			return nil, err
		}
		before, says, err := former[T](key, there)
		if over == nil || !says {
			return body, err
		}
		return json.Marshal(over(before))
	}})
}

// checkSupersedes refuses to write over what a newer epoch announced. Within an epoch the last writer wins: clocks of two
// hosts of one region may differ, and an announcement that is a little old is overwritten a moment later.
func checkSupersedes[T announcement](key string, d T, there []byte) error {
	t, says, err := former[T](key, there)
	if err != nil || !says {
		return err
	}
	if t.age().epoch > d.age().epoch {
		return fault.Newf(fault.Fenced, "write "+key, "epoch %d has written there, and this is epoch %d", t.age().epoch, d.age().epoch).
			WithHint("This side no longer serves; nothing it writes from now on is followed.")
	}
	return nil
}

// newestAnnounced reads from regions, or from the group's regions if nil.
func newestAnnounced[T announcement](ctx context.Context, c *Catalog, regions []string, group, workspace, file string) (T, error) {
	var newest T
	if err := checkNames(group, workspace); err != nil {
		return newest, err
	}
	if regions == nil {
		var err error
		if regions, err = c.regionsOf(ctx, group); err != nil {
			return newest, err
		}
	}
	return readNewest[T](ctx, c, regions, workspaceKey(group, workspace, file))
}

// readNewest returns the newest that the buckets of regions have of a document, and notes which have an older one.
func readNewest[T announcement](ctx context.Context, c *Catalog, regions []string, key string) (T, error) {
	return newestReplyFor(c, key, askAnnounced[T](ctx, c, regions, key))
}

// askAnnounced reads a document from each region's bucket.
func askAnnounced[T announcement](ctx context.Context, c *Catalog, regions []string, key string) map[string]reply[T] {
	return ask(ctx, c, regions, func(ctx context.Context, _ string, s objectstore.Store) (T, error) {
		return readAnnounced[T](ctx, s, key)
	})
}

// newestReplyFor is newestReply of one document, and notes which buckets have an older one.
func newestReplyFor[T announcement](c *Catalog, key string, replies map[string]reply[T]) (T, error) {
	newest, err := newestReply("read "+key, replies)
	if err == nil {
		noteBehind(c, key, newest, replies)
	}
	return newest, err
}

func readAnnounced[T announcement](ctx context.Context, s objectstore.Store, key string) (T, error) {
	var d T
	b, _, err := s.Get(ctx, key)
	if err != nil {
		return d, err
	}
	return d, decode(key, b, &d)
}

func newestReply[T announcement](op string, replies map[string]reply[T]) (T, error) {
	var newest T
	found, missing := false, 0
	silent := map[string]string{}
	for _, region := range slices.Sorted(maps.Keys(replies)) {
		r := replies[region]
		switch {
		case r.err == nil && (!found || newest.age().before(r.value.age())):
			newest, found = r.value, true
		case fault.Is(r.err, fault.Missing):
			missing++
		case r.err != nil:
			silent[region] = r.err.Error()
		}
	}
	switch {
	case found:
		return newest, nil
	case missing > 0:
		return newest, fault.Newf(fault.Missing, op, "nothing was announced yet")
	}
	if err := refused(fault.Corrupt, replies); err != nil {
		return newest, err
	}
	if err := refused(fault.Invalid, replies); err != nil {
		return newest, err
	}
	return newest, fault.Newf(fault.Transient, op, "no bucket answers: %s", reasons(silent))
}
