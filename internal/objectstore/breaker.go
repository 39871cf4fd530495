package objectstore

import (
	"context"
	"iter"
	"sync"
	"time"

	"github.com/smartdr/smartdr/internal/fault"
)

// WithBreaker spares its callers the wait for a store that does not answer: after a transient failure, requests fail at
// once for a rest, which begins at first and doubles with each failure in a row up to most. The first request after
// a rest tries the store again. It is for callers that have another store to ask, as the catalog has.
func WithBreaker(s Store, first, most time.Duration) Store {
	return &breaker{store: s, first: first, most: most, now: time.Now}
}

type breaker struct {
	store       Store
	first, most time.Duration
	now         func() time.Time

	mu    sync.Mutex
	rest  time.Duration // of the last failure; 0 after a success
	until time.Time
	last  error
	well  time.Time // when the store last answered
}

// try runs one request, unless the store rests.
func (b *breaker) try(ctx context.Context, f func() error) error {
	if err := b.resting(); err != nil {
		return err
	}
	began := b.now()
	err := f()
	b.learn(ctx, began, err)
	return err
}

func (b *breaker) resting() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.now().Before(b.until) {
		return fault.Newf(fault.Transient, "ask object store", "it did not answer a moment ago: %w", b.last)
	}
	return nil
}

// learn notes how a request went that began at a time. A caller that gave up says nothing about the store, unless it ran out of time; nor does a
// request that has failed at last when the store has answered another one since it began.
func (b *breaker) learn(ctx context.Context, began time.Time, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case !fault.Is(err, fault.Transient):
		b.rest, b.until, b.last, b.well = 0, time.Time{}, nil, b.now()
	case ctx.Err() != context.Canceled && !b.well.After(began):
		b.rest = min(max(2*b.rest, b.first), b.most)
		b.until, b.last = b.now().Add(b.rest), err
	}
}

func (b *breaker) Get(ctx context.Context, key string) (body []byte, info Info, err error) {
	err = b.try(ctx, func() (err error) {
		body, info, err = b.store.Get(ctx, key)
		return err
	})
	return body, info, err
}

func (b *breaker) GetRange(ctx context.Context, key string, off, n int64) (body []byte, err error) {
	err = b.try(ctx, func() (err error) {
		body, err = b.store.GetRange(ctx, key, off, n)
		return err
	})
	return body, err
}

func (b *breaker) Put(ctx context.Context, key string, body []byte, opts PutOptions) (info Info, err error) {
	err = b.try(ctx, func() (err error) {
		info, err = b.store.Put(ctx, key, body, opts)
		return err
	})
	return info, err
}

func (b *breaker) Head(ctx context.Context, key string) (info Info, err error) {
	err = b.try(ctx, func() (err error) {
		info, err = b.store.Head(ctx, key)
		return err
	})
	return info, err
}

func (b *breaker) List(ctx context.Context, prefix, startAfter string) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		if err := b.resting(); err != nil {
			yield(Info{}, err)
			return
		}
		var failed error
		began := b.now()
		defer func() { b.learn(ctx, began, failed) }()
		for info, err := range b.store.List(ctx, prefix, startAfter) {
			if failed = err; !yield(info, err) {
				return
			}
		}
	}
}

func (b *breaker) Delete(ctx context.Context, keys ...string) error {
	return b.try(ctx, func() error { return b.store.Delete(ctx, keys...) })
}
