package catalog

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/internal/topology"
)

// Inventory is what a workspace's server holds that must be the same after a failover (catalog document inventory.json).
// Content may be large, changes seldom, and lies in an object of its own that is named by its digest; both it and Looks are
// for package metadata to read.
type Inventory struct {
	Format     int             `json:"format"`
	Epoch      topology.Epoch  `json:"epoch"`
	CapturedAt time.Time       `json:"capturedAt"`
	Digest     string          `json:"digest"` // SHA-256 of Content, hexadecimal
	Size       int64           `json:"size"`   // of Content, bytes
	Looks      json.RawMessage `json:"looks"`  // when the parts of Content were read
	Content    []byte          `json:"-"`
}

func (v Inventory) age() age { return age{v.Epoch, v.CapturedAt} }

const (
	inventoryFile    = "inventory.json"
	inventoryContent = "inventory/"
	// largestInventory keeps a damaged object from filling the memory.
	largestInventory = 1 << 30
)

func inventoryKey(group, workspace string, v Inventory) string {
	return workspaceKey(group, workspace, fmt.Sprintf("%s%08d-%s.json.zst", inventoryContent, v.Epoch, v.Digest))
}

// PutInventory stores what was captured from a workspace's server, as PutMetadata does. Format, Digest and Size are filled
// in. Content that a bucket has already is not sent again.
func (c *Catalog) PutInventory(ctx context.Context, group, workspace string, v Inventory) error {
	if err := checkNames(group, workspace); err != nil {
		return err
	}
	regions, err := c.regionsOf(ctx, group)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(v.Content)
	v.Format, v.Digest, v.Size = format, hex.EncodeToString(sum[:]), int64(len(v.Content))
	replies := askFor(ctx, c, regions, v.Size, func(ctx context.Context, _ string, s objectstore.Store) (struct{}, error) {
		return struct{}{}, putInventory(ctx, s, group, workspace, v)
	})
	if err := refused(fault.Fenced, replies); err != nil {
		return err
	}
	return noneTook("write inventory of workspace "+workspace, replies)
}

// putInventory writes the content first, so that a document never names what is not there, and at last removes the content
// that the document named before.
func putInventory(ctx context.Context, s objectstore.Store, group, workspace string, v Inventory) error {
	if err := putContent(ctx, s, inventoryKey(group, workspace, v), v.Content); err != nil {
		return err
	}
	body, err := json.Marshal(v)
	if err != nil {
		return fault.New(fault.Invalid, "write inventory", err)
	}
	key := workspaceKey(group, workspace, inventoryFile)
	var before Inventory
	_, err = putUntil(ctx, s, write{key: key, next: func(there []byte) ([]byte, error) {
		before = Inventory{}
		if err := checkSupersedes[Inventory](key, v, there); err != nil || there == nil {
			return body, err
		}
		_ = decode(key, there, &before) // what cannot be read is replaced
		return body, nil
	}})
	if err != nil {
		return err
	}
	if before.Digest == "" || inventoryKey(group, workspace, before) == inventoryKey(group, workspace, v) {
		return nil
	}
	return s.Delete(ctx, inventoryKey(group, workspace, before))
}

func putContent(ctx context.Context, s objectstore.Store, key string, content []byte) error {
	if _, err := s.Head(ctx, key); !fault.Is(err, fault.Missing) {
		return err
	}
	e, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	if err != nil {
		return fault.New(fault.Invalid, "compress inventory", err)
	}
	_, err = s.Put(ctx, key, e.EncodeAll(content, nil), objectstore.PutOptions{IfAbsent: true})
	if fault.Is(err, fault.Conflict) {
		return nil // another attempt was faster
	}
	return err
}

// Inventory returns the newest capture among the buckets that answer; fault.Missing when there is none, fault.Corrupt when
// the content is not what was written.
func (c *Catalog) Inventory(ctx context.Context, group, workspace string) (Inventory, error) {
	if err := checkNames(group, workspace); err != nil {
		return Inventory{}, err
	}
	regions, err := c.regionsOf(ctx, group)
	if err != nil {
		return Inventory{}, err
	}
	for n := 0; ; n++ {
		v, err := c.readInventory(ctx, regions, group, workspace)
		if !errors.Is(err, errReplaced) || n == 3 {
			return v, err
		}
	}
}

// errReplaced means that the content went while the document was read: another one has taken its place.
var errReplaced = errors.New("the content that the document names is not there")

// readInventory reads the documents first: they say how long the content may take.
func (c *Catalog) readInventory(ctx context.Context, regions []string, group, workspace string) (Inventory, error) {
	key := workspaceKey(group, workspace, inventoryFile)
	documents := askAnnounced[Inventory](ctx, c, regions, key)
	whole := map[string]reply[Inventory]{}
	read := map[string]bool{} // by digest
	for region, d := range documents {
		v := d.value
		switch {
		case d.err != nil:
			whole[region] = d
			continue
		case read[v.Digest]:
			continue
		}
		whole[region] = askOneFor(ctx, c, region, v.Size, func(ctx context.Context, _ string, s objectstore.Store) (_ Inventory, err error) {
			v.Content, err = readContent(ctx, s, inventoryKey(group, workspace, v), v)
			return v, err
		})
		read[v.Digest] = read[v.Digest] || whole[region].err == nil
	}
	return newestReply("read inventory of workspace "+workspace, whole)
}

func readContent(ctx context.Context, s objectstore.Store, key string, v Inventory) ([]byte, error) {
	op := "read " + key
	packed, _, err := s.Get(ctx, key)
	if fault.Is(err, fault.Missing) {
		return nil, fault.New(fault.Corrupt, op, errReplaced)
	}
	if err != nil {
		return nil, err
	}
	z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(largestInventory))
	if err != nil {
		return nil, fault.New(fault.Invalid, op, err)
	}
	defer z.Close()
	content, err := z.DecodeAll(packed, nil)
	if err != nil {
		return nil, fault.New(fault.Corrupt, op, err)
	}
	if sum := sha256.Sum256(content); hex.EncodeToString(sum[:]) != v.Digest {
		return nil, fault.Newf(fault.Corrupt, op, "the content is not what was written")
	}
	return content, nil
}
