package objectstoretest

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/objectstore"
)

// Memory is a bucket in memory, for tests that need tens of thousands of objects, or a new bucket for every example. It conforms; what it cannot
// show is how a server fails.
type Memory struct {
	mu      sync.Mutex
	objects map[string]object
	puts    int
}

type object struct {
	body []byte
	info objectstore.Info
}

// NewMemory returns an empty bucket.
func NewMemory() *Memory { return &Memory{objects: map[string]object{}} }

func noObject(key string) error { return fault.Newf(fault.Missing, "read object", "no object %s", key) }

func (m *Memory) read(ctx context.Context, key string) (object, error) {
	if err := ctx.Err(); err != nil {
		return object{}, fault.New(fault.Transient, "read object "+key, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	o, ok := m.objects[key]
	if !ok {
		return object{}, noObject(key)
	}
	return o, nil
}

// Get implements objectstore.Store.
func (m *Memory) Get(ctx context.Context, key string) ([]byte, objectstore.Info, error) {
	o, err := m.read(ctx, key)
	return bytes.Clone(o.body), o.info, err
}

// GetRange implements objectstore.Store.
func (m *Memory) GetRange(ctx context.Context, key string, off, n int64) ([]byte, error) {
	o, err := m.read(ctx, key)
	if err != nil {
		return nil, err
	}
	if off < 0 || n < 0 {
		return nil, fault.Newf(fault.Invalid, "read object", "%d bytes from %d on", n, off)
	}
	if off+n > int64(len(o.body)) {
		return nil, fault.Newf(fault.Corrupt, "read object", "%s ends at %d, before %d", key, len(o.body), off+n)
	}
	return bytes.Clone(o.body[off : off+n]), nil
}

// Head implements objectstore.Store.
func (m *Memory) Head(ctx context.Context, key string) (objectstore.Info, error) {
	o, err := m.read(ctx, key)
	return o.info, err
}

// Put implements objectstore.Store.
func (m *Memory) Put(ctx context.Context, key string, body []byte, opts objectstore.PutOptions) (objectstore.Info, error) {
	if err := ctx.Err(); err != nil {
		return objectstore.Info{}, fault.New(fault.Transient, "put object "+key, err)
	}
	if opts.IfAbsent && opts.IfMatch != "" {
		return objectstore.Info{}, fault.Newf(fault.Invalid, "put object", "IfAbsent and IfMatch exclude each other")
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	old, there := m.objects[key]
	if opts.IfAbsent && there || opts.IfMatch != "" && old.info.ETag != opts.IfMatch {
		return objectstore.Info{}, fault.Newf(fault.Conflict, "put object", "%s is not as expected", key)
	}
	m.puts++
	i := objectstore.Info{Key: key, ETag: fmt.Sprint(m.puts), Size: int64(len(body)), Modified: time.Now(), Token: opts.Token}
	m.objects[key] = object{bytes.Clone(body), i}
	return i, nil
}

// List implements objectstore.Store.
func (m *Memory) List(ctx context.Context, prefix, startAfter string) iter.Seq2[objectstore.Info, error] {
	return func(yield func(objectstore.Info, error) bool) {
		if err := ctx.Err(); err != nil {
			yield(objectstore.Info{}, fault.New(fault.Transient, "list objects", err))
			return
		}
		m.mu.Lock()
		all := maps.Clone(m.objects)
		m.mu.Unlock()
		for _, key := range slices.Sorted(maps.Keys(all)) {
			if !strings.HasPrefix(key, prefix) || key <= startAfter {
				continue
			}
			i := all[key].info
			i.Token = ""
			if !yield(i, nil) {
				return
			}
		}
	}
}

// Delete implements objectstore.Store.
func (m *Memory) Delete(ctx context.Context, keys ...string) error {
	if err := ctx.Err(); err != nil {
		return fault.New(fault.Transient, "delete objects", err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, key := range keys {
		delete(m.objects, key)
	}
	return nil
}
