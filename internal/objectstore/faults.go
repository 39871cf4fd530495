package objectstore

import (
	"context"
	"iter"
	"regexp"
	"slices"
	"sync"
	"time"

	"github.com/smartdr/smartdr/internal/fault"
)

// Faults are the rules by which a store made by WithFaults misbehaves. They may change at any time. For tests.
type Faults struct {
	mu    sync.Mutex
	rules []*Rule
}

// Op is one kind of request, as a bit.
type Op uint8

// The kinds of request; OpGet is for GetRange too.
const (
	OpGet Op = 1 << iota
	OpPut
	OpHead
	OpList
	OpDelete
	OpRead  = OpGet | OpHead | OpList
	OpWrite = OpPut | OpDelete
	OpAll   = OpRead | OpWrite
)

// Rule says which requests go wrong and how. Every effect that is set takes place, in the order of the fields.
type Rule struct {
	Ops   Op             // 0 means OpAll
	Keys  *regexp.Regexp // matched against the key, or a list's prefix; nil means every key
	Times int            // how many requests it strikes; 0 means all

	Slow     time.Duration // waits that long first
	Dead     bool          // never answers: waits until the request's ctx is done, and fails
	Fail     error         // fails with that, before anything is done
	LoseAck  bool          // does what is asked, then fails as fault.Transient
	Truncate int64         // cuts that many bytes off the end of what Get returns, and fails GetRange as fault.Corrupt
	FlipBit  bool          // changes one bit in the middle of what is read

	struck int
}

// Add puts r in force and returns a function that ends it.
func (f *Faults) Add(r Rule) (remove func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := &r
	f.rules = append(f.rules, p)
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.rules = slices.DeleteFunc(f.rules, func(x *Rule) bool { return x == p })
	}
}

// Struck returns how many requests went wrong by the rules in force now.
func (f *Faults) Struck() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for _, r := range f.rules {
		n += r.struck
	}
	return n
}

// match returns the first rule that strikes this request, or one that does nothing.
func (f *Faults) match(op Op, keys ...string) Rule {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, r := range f.rules {
		if (r.Ops == 0 || r.Ops&op != 0) && (r.Times == 0 || r.struck < r.Times) && r.matchesAny(keys) {
			r.struck++
			return *r
		}
	}
	return Rule{}
}

func (r *Rule) matchesAny(keys []string) bool {
	return r.Keys == nil || slices.ContainsFunc(keys, r.Keys.MatchString)
}

// before carries out what happens before a request is made.
func (r Rule) before(ctx context.Context, op string) error {
	if r.Slow > 0 && !wait(ctx, r.Slow) {
		return fault.New(fault.Transient, op, ctx.Err())
	}
	if r.Dead {
		<-ctx.Done()
		return fault.New(fault.Transient, op, ctx.Err())
	}
	return r.Fail
}

// after carries out what happens once a request was made.
func (r Rule) after(op string, err error) error {
	if err == nil && r.LoseAck {
		return fault.Newf(fault.Transient, op, "the answer was lost")
	}
	return err
}

// spoil returns b as the rule would have it read.
func (r Rule) spoil(b []byte) []byte {
	b = b[:max(0, int64(len(b))-r.Truncate)]
	if r.FlipBit && len(b) > 0 {
		b[len(b)/2] ^= 1
	}
	return b
}

// WithFaults returns s, misbehaving as f says.
func WithFaults(s Store, f *Faults) Store { return &faulty{s, f} }

type faulty struct {
	inner  Store
	faults *Faults
}

func (s *faulty) Get(ctx context.Context, key string) ([]byte, Info, error) {
	r := s.faults.match(OpGet, key)
	if err := r.before(ctx, "get object "+key); err != nil {
		return nil, Info{}, err
	}
	b, i, err := s.inner.Get(ctx, key)
	b = r.spoil(b)
	if r.Truncate > 0 {
		i.Size = int64(len(b))
	}
	return b, i, r.after("get object "+key, err)
}

func (s *faulty) GetRange(ctx context.Context, key string, off, n int64) ([]byte, error) {
	op := "get a range of object " + key
	r := s.faults.match(OpGet, key)
	if err := r.before(ctx, op); err != nil {
		return nil, err
	}
	b, err := s.inner.GetRange(ctx, key, off, n)
	if err == nil && r.Truncate > 0 {
		return nil, fault.Newf(fault.Corrupt, op, "the object ends before")
	}
	return r.spoil(b), r.after(op, err)
}

func (s *faulty) Put(ctx context.Context, key string, body []byte, opts PutOptions) (Info, error) {
	r := s.faults.match(OpPut, key)
	if err := r.before(ctx, "put object "+key); err != nil {
		return Info{}, err
	}
	i, err := s.inner.Put(ctx, key, body, opts)
	return i, r.after("put object "+key, err)
}

func (s *faulty) Head(ctx context.Context, key string) (Info, error) {
	r := s.faults.match(OpHead, key)
	if err := r.before(ctx, "look at object "+key); err != nil {
		return Info{}, err
	}
	i, err := s.inner.Head(ctx, key)
	return i, r.after("look at object "+key, err)
}

func (s *faulty) List(ctx context.Context, prefix, startAfter string) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		r := s.faults.match(OpList, prefix)
		if err := r.before(ctx, "list objects "+prefix); err != nil {
			yield(Info{}, err)
			return
		}
		for i, err := range s.inner.List(ctx, prefix, startAfter) {
			if !yield(i, err) {
				return
			}
		}
		if err := r.after("list objects "+prefix, nil); err != nil {
			yield(Info{}, err)
		}
	}
}

func (s *faulty) Delete(ctx context.Context, keys ...string) error {
	r := s.faults.match(OpDelete, keys...)
	if err := r.before(ctx, "delete objects"); err != nil {
		return err
	}
	return r.after("delete objects", s.inner.Delete(ctx, keys...))
}
