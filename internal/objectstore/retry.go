package objectstore

import (
	"context"
	"crypto/rand"
	"iter"
	mathrand "math/rand/v2"
	"time"

	"github.com/smartdr/smartdr/internal/fault"
)

// RetryPolicy says how often, and how long apart, transient failures are tried again. Zero fields mean the default.
type RetryPolicy struct {
	Attempts int           // including the first; default 5
	Base     time.Duration // upper bound of the first pause, doubled each time; default 100 ms
	Cap      time.Duration // upper bound of every pause; default 2 s
}

func (p RetryPolicy) withDefaults() RetryPolicy {
	if p.Attempts <= 0 {
		p.Attempts = 5
	}
	if p.Base <= 0 {
		p.Base = 100 * time.Millisecond
	}
	if p.Cap <= 0 {
		p.Cap = 2 * time.Second
	}
	return p
}

// pause returns how long to wait before attempt n+2: anything up to the bound ("full jitter"), so that writers that
// failed together do not come back together.
func (p RetryPolicy) pause(n int) time.Duration {
	bound := min(p.Base<<min(n, 20), p.Cap)
	return time.Duration(mathrand.Int64N(int64(bound) + 1))
}

// WithRetry tries again what failed as fault.Transient, until the policy's attempts are used up or ctx is done. A
// conditional Put whose answer was lost is not mistaken for somebody else's: it carries a token to recognise it by. One
// thing stays unknowable: if another writer has replaced the object since, the answer is fault.Conflict although the
// Put had arrived. So what is written under IfMatch must be safe to decide anew from what is there then.
// Lists go on after the last key that was yielded.
func WithRetry(s Store, p RetryPolicy) Store { return &retried{s, p.withDefaults()} }

type retried struct {
	inner Store
	p     RetryPolicy
}

// do calls f until it succeeds, fails for good, or the attempts are used up. attempt counts from 0.
func (r *retried) do(ctx context.Context, f func(attempt int) error) error {
	for n := 0; ; n++ {
		err := f(n)
		if err == nil || !fault.Is(err, fault.Transient) || n+1 >= r.p.Attempts || ctx.Err() != nil {
			return err
		}
		if !wait(ctx, r.p.pause(n)) {
			return err // says more than that the time is up
		}
	}
}

// wait reports whether d passed before ctx was done.
func wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

func (r *retried) Get(ctx context.Context, key string) (b []byte, i Info, err error) {
	err = r.do(ctx, func(int) error {
		b, i, err = r.inner.Get(ctx, key)
		return err
	})
	return b, i, err
}

func (r *retried) GetRange(ctx context.Context, key string, off, n int64) (b []byte, err error) {
	err = r.do(ctx, func(int) error {
		b, err = r.inner.GetRange(ctx, key, off, n)
		return err
	})
	return b, err
}

func (r *retried) Head(ctx context.Context, key string) (i Info, err error) {
	err = r.do(ctx, func(int) error {
		i, err = r.inner.Head(ctx, key)
		return err
	})
	return i, err
}

func (r *retried) Delete(ctx context.Context, keys ...string) error {
	return r.do(ctx, func(int) error { return r.inner.Delete(ctx, keys...) })
}

func (r *retried) Put(ctx context.Context, key string, body []byte, opts PutOptions) (i Info, err error) {
	conditional := opts.IfAbsent || opts.IfMatch != ""
	if conditional && opts.Token == "" {
		opts.Token = rand.Text()
	}
	err = r.do(ctx, func(attempt int) error {
		if attempt > 0 && opts.IfAbsent && r.there(ctx, key) {
			i, err = r.arrived(ctx, key, opts.Token, fault.Newf(fault.Conflict, "put object "+key, "it is there already"))
			return err
		}
		i, err = r.inner.Put(ctx, key, body, opts)
		if attempt > 0 && conditional && fault.Is(err, fault.Conflict) {
			i, err = r.arrived(ctx, key, opts.Token, err)
		}
		return err
	})
	return i, err
}

// there looks before a body is sent again: some stores hang up on a body that they refuse, and would do so each time.
func (r *retried) there(ctx context.Context, key string) bool {
	_, err := r.inner.Head(ctx, key)
	return err == nil
}

// arrived finds out whether the object that is in the way was written by an attempt whose answer was lost.
func (r *retried) arrived(ctx context.Context, key, token string, conflict error) (Info, error) {
	i, err := r.inner.Head(ctx, key)
	if fault.Is(err, fault.Missing) {
		return Info{}, conflict
	}
	if err != nil {
		return Info{}, err
	}
	if i.Token != token {
		return Info{}, conflict
	}
	return i, nil
}

func (r *retried) List(ctx context.Context, prefix, startAfter string) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		stopped := false
		err := r.do(ctx, func(int) error {
			for i, err := range r.inner.List(ctx, prefix, startAfter) {
				if err != nil {
					return err
				}
				startAfter = i.Key
				if !yield(i, nil) {
					stopped = true
					return nil
				}
			}
			return nil
		})
		if err != nil && !stopped {
			yield(Info{}, err)
		}
	}
}
