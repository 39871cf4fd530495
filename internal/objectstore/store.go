// Package objectstore is a small interface to object storage, its implementation on S3, and decorators that add
// retries, counters and (in tests) faults. objectstoretest.Run says in code what every implementation must do.
package objectstore

import (
	"context"
	"iter"
	"strings"
	"time"
)

// Root comes after a bucket's optional prefix and before every key of format 1 (docs/format.md).
const Root = "smartdr/v1/"

// Store holds immutable or conditionally written objects by key. Keys are slash-separated paths without a leading
// slash. Reads see every write that was acknowledged before they began, lists too.
//
// Errors are of kind fault.Missing (no such object), fault.Conflict (a condition did not hold), fault.Invalid (no such
// bucket, access denied, wrong credentials: somebody must change something), fault.Full (no room), fault.Corrupt (an
// object is shorter than asked for), and fault.Transient otherwise. After a Transient error of Put the object may have
// been written all the same. Methods are safe for concurrent use and end soon after ctx does.
type Store interface {
	// Get returns a whole object.
	Get(ctx context.Context, key string) ([]byte, Info, error)
	// GetRange returns exactly n bytes from offset off on; fault.Corrupt when the object ends before off+n.
	GetRange(ctx context.Context, key string, off, n int64) ([]byte, error)
	// Put writes a whole object, or nothing. It does not keep body.
	Put(ctx context.Context, key string, body []byte, opts PutOptions) (Info, error)
	// Head returns what Get would, without the body.
	Head(ctx context.Context, key string) (Info, error)
	// List yields the objects whose keys begin with prefix and sort after startAfter (a whole key, or ""), in the
	// byte order of their keys. It stops after the first error. Info.Token is empty in lists.
	List(ctx context.Context, prefix, startAfter string) iter.Seq2[Info, error]
	// Delete removes objects; those that are not there are no error.
	Delete(ctx context.Context, keys ...string) error
}

// Info describes an object.
type Info struct {
	Key      string
	ETag     string // opaque; changes with the content; for PutOptions.IfMatch
	Size     int64  // bytes
	Modified time.Time
	Token    string // what PutOptions.Token said, if anything
}

// PutOptions make a Put conditional. At most one condition may be set.
type PutOptions struct {
	IfAbsent bool   // only if there is no such object, else fault.Conflict
	IfMatch  string // only if the object is there with this ETag, else fault.Conflict
	// Token is kept beside the object, readable by all who can read it. A writer that does not know whether its
	// conditional Put arrived finds out by comparing tokens; WithRetry does.
	Token string
}

// Sub returns a view of s in which every key has prefix in front. A prefix normally ends in a slash.
func Sub(s Store, prefix string) Store {
	if prefix == "" {
		return s
	}
	return &sub{s, prefix}
}

type sub struct {
	inner  Store
	prefix string
}

func (s *sub) own(i Info) Info {
	i.Key = strings.TrimPrefix(i.Key, s.prefix)
	return i
}

func (s *sub) Get(ctx context.Context, key string) ([]byte, Info, error) {
	b, i, err := s.inner.Get(ctx, s.prefix+key)
	return b, s.own(i), err
}

func (s *sub) GetRange(ctx context.Context, key string, off, n int64) ([]byte, error) {
	return s.inner.GetRange(ctx, s.prefix+key, off, n)
}

func (s *sub) Put(ctx context.Context, key string, body []byte, opts PutOptions) (Info, error) {
	i, err := s.inner.Put(ctx, s.prefix+key, body, opts)
	return s.own(i), err
}

func (s *sub) Head(ctx context.Context, key string) (Info, error) {
	i, err := s.inner.Head(ctx, s.prefix+key)
	return s.own(i), err
}

func (s *sub) List(ctx context.Context, prefix, startAfter string) iter.Seq2[Info, error] {
	if startAfter != "" {
		startAfter = s.prefix + startAfter
	}
	return func(yield func(Info, error) bool) {
		for i, err := range s.inner.List(ctx, s.prefix+prefix, startAfter) {
			if !yield(s.own(i), err) {
				return
			}
		}
	}
}

func (s *sub) Delete(ctx context.Context, keys ...string) error {
	full := make([]string, len(keys))
	for i, k := range keys {
		full[i] = s.prefix + k
	}
	return s.inner.Delete(ctx, full...)
}
