package catalog

import (
	"cmp"
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

// network stands between actors and buckets: each request waits in it until the schedule lets it happen.
type network struct {
	mu      sync.Mutex
	buckets map[string]*bucket // by region
	waiting []*request
	seq     int
	wrote   func(r *request, before, after []byte) // after each write that took effect
}

// bucket is an object store in memory.
type bucket struct {
	objects map[string][]byte
	etags   map[string]int
	version int
	dead    bool
}

// request is one on its way. Its caller may have given up on it; it can happen all the same.
type request struct {
	actor   *actor
	region  string
	op      string
	key     string
	seq     int
	perform func(b *bucket) answer
	answers chan answer
	left    bool // nobody waits for the answer
}

type answer struct {
	body []byte
	info objectstore.Info
	list []objectstore.Info
	err  error
}

func (r *request) String() string {
	return fmt.Sprintf("%s: %s %s in %s", r.actor.name, r.op, r.key, r.region)
}

func newNetwork(regions ...string) *network {
	n := &network{buckets: map[string]*bucket{}, wrote: func(*request, []byte, []byte) {}}
	for _, r := range regions {
		n.buckets[r] = &bucket{objects: map[string][]byte{}, etags: map[string]int{}}
	}
	return n
}

// send waits for the answer as long as a client of object stores does, or until ctx is done.
func (n *network) send(ctx context.Context, r *request) answer {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := ctx.Err(); err != nil {
		return answer{err: fault.New(fault.Transient, r.op, err)}
	}
	n.mu.Lock()
	n.seq++
	r.seq, r.answers = n.seq, make(chan answer, 1)
	n.waiting = append(n.waiting, r)
	n.mu.Unlock()
	select {
	case a := <-r.answers:
		return a
	case <-ctx.Done():
		n.mu.Lock()
		r.left = true
		n.mu.Unlock()
		return answer{err: fault.New(fault.Transient, r.op, ctx.Err())}
	}
}

// abandoned reports whether nobody waits for the answer of a request any more.
func (n *network) abandoned(r *request) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return r.left
}

// requests returns those that can happen now, in an order that does not depend on how goroutines ran.
func (n *network) requests() []*request {
	n.mu.Lock()
	defer n.mu.Unlock()
	all := slices.DeleteFunc(slices.Clone(n.waiting), func(r *request) bool { return n.buckets[r.region].dead || r.actor.blind == r.region })
	slices.SortFunc(all, func(a, b *request) int {
		return cmp.Or(order(a.left, b.left), cmp.Compare(a.actor.index, b.actor.index), cmp.Compare(a.region, b.region), cmp.Compare(a.key, b.key), cmp.Compare(a.seq, b.seq))
	})
	return all
}

func order(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

// The fates of a request.
const (
	happens = "happens"
	dropped = "is lost"
	unheard = "happens, its answer is lost"
	twice   = "happens twice, the second time later"
)

// let makes a request meet its fate.
func (n *network) let(r *request, fate string) {
	n.mu.Lock()
	n.waiting = slices.DeleteFunc(n.waiting, func(o *request) bool { return o == r })
	a := answer{err: fault.Newf(fault.Transient, r.op, "no answer")}
	if fate != dropped {
		done := n.perform(r)
		if fate != unheard {
			a = done
		}
	}
	if fate == twice {
		again := *r
		again.left, again.answers = true, make(chan answer, 1)
		n.waiting = append(n.waiting, &again)
	}
	n.mu.Unlock()
	r.answers <- a
}

func (n *network) perform(r *request) answer {
	b := n.buckets[r.region]
	before := b.objects[r.key]
	version := b.version
	a := r.perform(b)
	if b.version != version {
		n.wrote(r, before, b.objects[r.key])
	}
	return a
}

// store is one actor's view of a bucket.
type store struct {
	net    *network
	actor  *actor
	region string
}

func (s store) ask(ctx context.Context, op, key string, perform func(*bucket) answer) answer {
	return s.net.send(ctx, &request{actor: s.actor, region: s.region, op: op, key: key, perform: perform})
}

func (b *bucket) get(key string) answer {
	body, there := b.objects[key]
	if !there {
		return answer{err: fault.Newf(fault.Missing, "get", "there is no %s", key)}
	}
	return answer{body: slices.Clone(body), info: objectstore.Info{Key: key, ETag: fmt.Sprint(b.etags[key]), Size: int64(len(body))}}
}

func (b *bucket) put(key string, body []byte, o objectstore.PutOptions) answer {
	_, there := b.objects[key]
	if o.IfAbsent && there || o.IfMatch != "" && (!there || fmt.Sprint(b.etags[key]) != o.IfMatch) {
		return answer{err: fault.Newf(fault.Conflict, "put", "%s: the condition does not hold", key)}
	}
	b.version++
	b.objects[key], b.etags[key] = slices.Clone(body), b.version
	return answer{info: objectstore.Info{Key: key, ETag: fmt.Sprint(b.version)}}
}

func (b *bucket) list(prefix, after string) (a answer) {
	for _, key := range slices.Sorted(maps.Keys(b.objects)) {
		if strings.HasPrefix(key, prefix) && key > after {
			a.list = append(a.list, objectstore.Info{Key: key})
		}
	}
	return a
}

func (s store) Get(ctx context.Context, key string) ([]byte, objectstore.Info, error) {
	a := s.ask(ctx, "GET", key, func(b *bucket) answer { return b.get(key) })
	return a.body, a.info, a.err
}

func (s store) GetRange(context.Context, string, int64, int64) ([]byte, error) {
	panic("the catalog reads whole documents")
}

func (s store) Put(ctx context.Context, key string, body []byte, o objectstore.PutOptions) (objectstore.Info, error) {
	a := s.ask(ctx, "PUT", key, func(b *bucket) answer { return b.put(key, body, o) })
	return a.info, a.err
}

func (s store) Head(ctx context.Context, key string) (objectstore.Info, error) {
	a := s.ask(ctx, "HEAD", key, func(b *bucket) answer { return b.get(key) })
	return a.info, a.err
}

func (s store) List(ctx context.Context, prefix, after string) iter.Seq2[objectstore.Info, error] {
	return func(yield func(objectstore.Info, error) bool) {
		a := s.ask(ctx, "LIST", prefix, func(b *bucket) answer { return b.list(prefix, after) })
		for _, i := range a.list {
			if !yield(i, nil) {
				return
			}
		}
		if a.err != nil {
			yield(objectstore.Info{}, a.err)
		}
	}
}

func (s store) Delete(ctx context.Context, keys ...string) error {
	return s.ask(ctx, "DELETE", strings.Join(keys, " "), func(b *bucket) answer {
		for _, key := range keys {
			delete(b.objects, key)
		}
		return answer{}
	}).err
}
