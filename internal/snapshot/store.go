package snapshot

import (
	"context"
	"errors"
	"path"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/objectstore"
)

// headGuess is how much of a manifest List reads at first: enough for the head unless there are hundreds of databases.
const headGuess = 32 << 10

// List returns the published snapshots of a workspace, oldest first, without their files. store is a root store. One
// that cannot be read is left out and joined to the error, which does not invalidate the others.
func List(ctx context.Context, store objectstore.Store, group, workspace string) ([]*Manifest, error) {
	var found []*Manifest
	var unreadable []error
	for info, err := range store.List(ctx, snapshotsPrefix(group, workspace), "") {
		if err != nil {
			return nil, err
		}
		if _, ok := idOf(group, workspace, info.Key); !ok {
			continue
		}
		m, err := readHead(ctx, store, info)
		if err != nil {
			unreadable = append(unreadable, err)
			continue
		}
		found = append(found, m)
	}
	return found, errors.Join(unreadable...)
}

func readHead(ctx context.Context, store objectstore.Store, info objectstore.Info) (*Manifest, error) {
	b, err := store.GetRange(ctx, info.Key, 0, min(headGuess, info.Size))
	if err != nil {
		return nil, err
	}
	if n, err := headLen(b); err == nil && len(b) < n && int64(n) <= info.Size {
		if b, err = store.GetRange(ctx, info.Key, 0, int64(n)); err != nil {
			return nil, err
		}
	}
	m, err := decodeHead(b)
	return m, judgeManifest(info.Key, m, err)
}

// judgeManifest gives a decoding error its kind, and checks that a manifest lies where it says.
func judgeManifest(key string, m *Manifest, err error) error {
	const op = "read snapshot manifest"
	if errors.Is(err, errNewer) {
		return fault.Newf(fault.Invalid, op, "%s: %w", key, err).WithHint("Use the version of SmartDR that wrote it, or a later one.")
	}
	if err == nil && ManifestKey(m.Group, m.Workspace, m.ID) != key {
		err = fault.Newf(fault.Corrupt, op, "it says that it is snapshot %s of %s/%s", m.ID, m.Group, m.Workspace)
	}
	if err != nil {
		return fault.Newf(fault.Corrupt, op, "%s: %w", key, err).
			WithHint("The object was altered or damaged. Use an older snapshot, or the other region's bucket.")
	}
	return nil
}

// Load reads and verifies a manifest. Errors: fault.Missing; fault.Corrupt, naming the object; fault.Invalid when
// its format is newer than this program.
func Load(ctx context.Context, store objectstore.Store, group, workspace, id string) (*Manifest, error) {
	key := ManifestKey(group, workspace, id)
	b, _, err := store.Get(ctx, key)
	if err != nil {
		return nil, err
	}
	m, err := decodeManifest(b)
	if err := judgeManifest(key, m, err); err != nil {
		return nil, err
	}
	return m, nil
}

// Newest reads the newest snapshot of a workspace that is whole, of whatever lineage; nil when there is none. One that is damaged is passed over.
func Newest(ctx context.Context, store objectstore.Store, group, workspace string) (*Manifest, error) {
	var ids []string
	for info, err := range store.List(ctx, snapshotsPrefix(group, workspace), "") {
		if err != nil {
			return nil, err
		}
		if id, ok := idOf(group, workspace, info.Key); ok {
			ids = append(ids, id)
		}
	}
	for _, id := range slices.Backward(ids) {
		m, err := Load(ctx, store, group, workspace, id)
		if fault.Is(err, fault.Corrupt) || fault.Is(err, fault.Missing) {
			continue
		}
		return m, err
	}
	return nil, nil
}

// idOf returns the snapshot whose manifest has a key.
func idOf(group, workspace, key string) (string, bool) {
	id, ok := strings.CutSuffix(strings.TrimPrefix(key, snapshotsPrefix(group, workspace)), "/manifest")
	return id, ok && idPattern.MatchString(id)
}

// Publish puts a manifest. It must come last: from then on the snapshot exists. Publishing again is no error.
func Publish(ctx context.Context, store objectstore.Store, m *Manifest) error {
	b, err := m.encode()
	if err != nil {
		return fault.New(fault.Invalid, "encode snapshot manifest", err)
	}
	key := ManifestKey(m.Group, m.Workspace, m.ID)
	if _, err := store.Head(ctx, key); !fault.Is(err, fault.Missing) {
		return err // it is there, or nobody knows; asked first for PutPack's reason
	}
	_, err = store.Put(ctx, key, b, objectstore.PutOptions{IfAbsent: true})
	if fault.Is(err, fault.Conflict) {
		return nil // ids are random: this is an earlier attempt of ours
	}
	return err
}

// indexReaders is how many pack indexes are fetched at a time; they are small, and latency rules.
const indexReaders = 16

// EachIndex calls visit, one call at a time, for every pack index of a workspace. A damaged index is visited with Err
// set; other errors end it.
func EachIndex(ctx context.Context, store objectstore.Store, group, ws string, visit func(Index)) error {
	g, ctx := errgroup.WithContext(ctx)
	keys, read := make(chan string), make(chan Index)
	g.Go(func() error {
		defer close(keys)
		return listIndexes(ctx, store, packsPrefix(group, ws), keys)
	})
	readers, rctx := errgroup.WithContext(ctx)
	for range indexReaders {
		readers.Go(func() error { return readIndexes(rctx, store, keys, read) })
	}
	g.Go(func() error {
		defer close(read)
		return readers.Wait()
	})
	for p := range read {
		visit(p)
	}
	return g.Wait()
}

func listIndexes(ctx context.Context, store objectstore.Store, prefix string, keys chan<- string) error {
	for info, err := range store.List(ctx, prefix, "") {
		if err != nil {
			return err
		}
		if path.Ext(info.Key) != ".idx" {
			continue
		}
		select {
		case keys <- info.Key:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func readIndexes(ctx context.Context, store objectstore.Store, keys <-chan string, read chan<- Index) error {
	for key := range keys {
		p, err := readIndex(ctx, store, key)
		if err != nil {
			return err
		}
		select {
		case read <- p:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

func readIndex(ctx context.Context, store objectstore.Store, key string) (Index, error) {
	p := Index{ID: strings.TrimSuffix(path.Base(key), ".idx")}
	b, _, err := store.Get(ctx, key)
	if err != nil {
		return p, err
	}
	if p.Entries, err = decodeIndex(b); err == nil && packID(b) != p.ID {
		err = errors.New("it is the index of another pack")
	}
	if err != nil {
		p.Entries, p.Err = nil, fault.Newf(fault.Corrupt, "read pack index", "%s: %w", key, err)
	}
	return p, nil
}
