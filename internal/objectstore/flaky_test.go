package objectstore_test

import (
	"context"
	"iter"
	"sync/atomic"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/objectstore"
)

// flaky does every request and loses the answer of every fifth.
type flaky struct {
	objectstore.Store
	n atomic.Int64
}

func (f *flaky) lose(err error) error {
	if f.n.Add(1)%5 == 0 && err == nil {
		return fault.Newf(fault.Transient, "ask a flaky store", "the answer was lost")
	}
	return err
}

func (f *flaky) Get(ctx context.Context, key string) ([]byte, objectstore.Info, error) {
	b, i, err := f.Store.Get(ctx, key)
	return b, i, f.lose(err)
}

func (f *flaky) GetRange(ctx context.Context, key string, off, n int64) ([]byte, error) {
	b, err := f.Store.GetRange(ctx, key, off, n)
	return b, f.lose(err)
}

func (f *flaky) Put(ctx context.Context, key string, body []byte, opts objectstore.PutOptions) (objectstore.Info, error) {
	i, err := f.Store.Put(ctx, key, body, opts)
	return i, f.lose(err)
}

func (f *flaky) Head(ctx context.Context, key string) (objectstore.Info, error) {
	i, err := f.Store.Head(ctx, key)
	return i, f.lose(err)
}

// List loses its connection after every third object.
func (f *flaky) List(ctx context.Context, prefix, startAfter string) iter.Seq2[objectstore.Info, error] {
	return func(yield func(objectstore.Info, error) bool) {
		n := 0
		for i, err := range f.Store.List(ctx, prefix, startAfter) {
			if n++; n == 4 {
				err = f.lose(err)
			}
			if !yield(i, err) || err != nil {
				return
			}
		}
	}
}

func (f *flaky) Delete(ctx context.Context, keys ...string) error {
	return f.lose(f.Store.Delete(ctx, keys...))
}

// rude hangs up where others refuse a body.
type rude struct{ objectstore.Store }

func (r rude) Put(ctx context.Context, key string, body []byte, opts objectstore.PutOptions) (objectstore.Info, error) {
	i, err := r.Store.Put(ctx, key, body, opts)
	if fault.Is(err, fault.Conflict) {
		err = fault.Newf(fault.Transient, "put object", "connection reset by peer")
	}
	return i, err
}
