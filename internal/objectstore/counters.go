package objectstore

import (
	"context"
	"iter"
	"sync/atomic"

	"github.com/smartdr/smartdr/internal/fault"
)

// Counters add up what went to and came from a store. Under WithRetry they count every attempt.
type Counters struct {
	Gets, Puts, Heads, Lists, Deletes atomic.Int64 // requests; a list of n objects counts as 1+n/1000
	Errors                            atomic.Int64 // requests that failed, save for fault.Missing and fault.Conflict
	BytesIn                           atomic.Int64 // bodies received
	BytesOut                          atomic.Int64 // bodies of successful Puts
}

// Requests returns the number of requests of all kinds.
func (c *Counters) Requests() int64 {
	return c.Gets.Load() + c.Puts.Load() + c.Heads.Load() + c.Lists.Load() + c.Deletes.Load()
}

// WithCounters counts in c what is asked of s.
func WithCounters(s Store, c *Counters) Store { return &counted{s, c} }

type counted struct {
	inner Store
	c     *Counters
}

func (s *counted) judge(err error) error {
	if err != nil && !fault.Is(err, fault.Missing) && !fault.Is(err, fault.Conflict) {
		s.c.Errors.Add(1)
	}
	return err
}

func (s *counted) Get(ctx context.Context, key string) ([]byte, Info, error) {
	b, i, err := s.inner.Get(ctx, key)
	s.c.Gets.Add(1)
	s.c.BytesIn.Add(int64(len(b)))
	return b, i, s.judge(err)
}

func (s *counted) GetRange(ctx context.Context, key string, off, n int64) ([]byte, error) {
	b, err := s.inner.GetRange(ctx, key, off, n)
	s.c.Gets.Add(1)
	s.c.BytesIn.Add(int64(len(b)))
	return b, s.judge(err)
}

func (s *counted) Put(ctx context.Context, key string, body []byte, opts PutOptions) (Info, error) {
	i, err := s.inner.Put(ctx, key, body, opts)
	s.c.Puts.Add(1)
	if err == nil {
		s.c.BytesOut.Add(int64(len(body)))
	}
	return i, s.judge(err)
}

func (s *counted) Head(ctx context.Context, key string) (Info, error) {
	i, err := s.inner.Head(ctx, key)
	s.c.Heads.Add(1)
	return i, s.judge(err)
}

func (s *counted) List(ctx context.Context, prefix, startAfter string) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		s.c.Lists.Add(1)
		n := 0
		for i, err := range s.inner.List(ctx, prefix, startAfter) {
			if n++; n%listPage == 0 {
				s.c.Lists.Add(1)
			}
			if !yield(i, s.judge(err)) {
				return
			}
		}
	}
}

func (s *counted) Delete(ctx context.Context, keys ...string) error {
	err := s.inner.Delete(ctx, keys...)
	s.c.Deletes.Add(int64((len(keys) + listPage - 1) / listPage))
	return s.judge(err)
}
