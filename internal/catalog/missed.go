package catalog

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/internal/topology"
)

// What is announced goes to every bucket of a group at once, and one that does not answer misses it. A shipper announces itself again a second
// later; of a snapshot that is whole, or of an operation that is over, nobody speaks again. So the catalog notes who missed what, when it writes
// and when it reads, and Repeat copies it.

// atRest is how old an announcement must be for a bucket that has an older one to have missed it: it may just be on its way.
const atRest = 10 * time.Second

// place is a document in a region's bucket.
type place struct{ region, key string }

// missed is what a bucket has not and another one has.
type missed struct {
	from     string // region
	overtake overtake
	note     int // its number: a later note of the same place is not settled by an earlier copy
}

// overtake returns what to write over the document that is there (nil for none), given what another bucket has; errThere for nothing.
type overtake func(there, other []byte) ([]byte, error)

var errThere = errors.New("the bucket has it")

// Behind reports whether this catalog knows of buckets that have missed something.
func (c *Catalog) Behind() bool {
	c.cache.mu.Lock()
	defer c.cache.mu.Unlock()
	return len(c.cache.missed) > 0
}

// Repeat brings to the buckets what they missed, as far as this catalog knows, through stores; those that are not among them are left for the next
// time. Nothing newer is written over. A bucket that fails is left alone for this time, and its error is returned.
func (c *Catalog) Repeat(ctx context.Context, stores map[string]objectstore.Store) error {
	all := c.missedByRegion()
	regions := slices.Sorted(maps.Keys(all))
	errs := make([]error, len(regions))
	var wg sync.WaitGroup
	for i, region := range regions {
		wg.Go(func() { errs[i] = c.repeatIn(ctx, stores, all[region]) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

func (c *Catalog) missedByRegion() map[string]map[place]missed {
	c.cache.mu.Lock()
	defer c.cache.mu.Unlock()
	all := map[string]map[place]missed{}
	for p, m := range c.cache.missed {
		if all[p.region] == nil {
			all[p.region] = map[place]missed{}
		}
		all[p.region][p] = m
	}
	return all
}

// repeatIn copies to one bucket.
func (c *Catalog) repeatIn(ctx context.Context, stores map[string]objectstore.Store, all map[place]missed) error {
	for p, m := range all {
		from, to := stores[m.from], stores[p.region]
		if from == nil || to == nil {
			continue
		}
		err := copyMissed(ctx, from, to, p.key, m.overtake)
		if err == nil || fault.Is(err, fault.Invalid) || fault.Is(err, fault.Corrupt) { // the other one is worth nothing, or too new to judge
			c.settle(p, m.note)
			continue
		}
		return err
	}
	return nil
}

func copyMissed(ctx context.Context, from, to objectstore.Store, key string, over overtake) error {
	body, _, err := from.Get(ctx, key)
	if fault.Is(err, fault.Missing) {
		return nil // it was removed since
	}
	if err != nil {
		return err
	}
	_, err = putUntil(ctx, to, write{key: key, next: func(there []byte) ([]byte, error) { return over(there, body) }})
	if errors.Is(err, errThere) {
		return nil
	}
	return err
}

// note remembers that region's bucket has missed what another one has.
func (c *Catalog) note(region, key, from string, over overtake) {
	if c.Stores[region] == nil {
		return
	}
	c.cache.mu.Lock()
	defer c.cache.mu.Unlock()
	if c.cache.missed == nil {
		c.cache.missed = map[place]missed{}
	}
	c.cache.notes++
	c.cache.missed[place{region, key}] = missed{from, over, c.cache.notes}
}

// settle forgets a note; every one of that place if its number is 0.
func (c *Catalog) settle(p place, note int) {
	c.cache.mu.Lock()
	defer c.cache.mu.Unlock()
	if note == 0 || c.cache.missed[p].note == note {
		delete(c.cache.missed, p)
	}
}

// noteTaken notes which buckets missed a write that another one took.
func noteTaken[T any](c *Catalog, w write, replies map[string]reply[T]) {
	from := ""
	for region, r := range replies {
		if r.err == nil {
			from = region
			c.settle(place{region, w.key}, 0)
		}
	}
	if from == "" || w.overtake == nil {
		return
	}
	for region, r := range replies {
		if r.err != nil {
			c.note(region, w.key, from, w.overtake)
		}
	}
}

// noteBehind notes which of the buckets that answered have an older announcement than the newest one, or none, where that is at rest.
func noteBehind[T announcement](c *Catalog, key string, newest T, replies map[string]reply[T]) {
	if c.now().Sub(newest.age().at) < atRest {
		return
	}
	from := ""
	for region, r := range replies {
		if r.err == nil && r.value.age() == newest.age() {
			from = region
		}
	}
	for region, r := range replies {
		if fault.Is(r.err, fault.Missing) || r.err == nil && r.value.age().before(newest.age()) {
			c.note(region, key, from, newerOf[T](key))
		}
	}
}

// joining is an announcement of which a later one takes over a part.
type joining[T any] interface{ joined(before T) T }

// newerOf lets the newer one of two announcements stand.
func newerOf[T announcement](key string) overtake {
	return func(there, other []byte) ([]byte, error) {
		var d T
		if err := decode(key, other, &d); err != nil {
			return nil, err
		}
		before, says, err := former[T](key, there)
		if err != nil {
			return nil, err
		}
		j, joins := any(d).(joining[T])
		switch {
		case says && !before.age().before(d.age()):
			return nil, errThere
		case joins:
			return json.Marshal(j.joined(before))
		}
		return other, nil
	}
}

func (d walDocument) joined(before walDocument) walDocument {
	return walDocument{Format: format, Copied: true, WALProgress: d.NotBehind(before.WALProgress)}
}

func (d branchDocument) joined(before branchDocument) branchDocument {
	d.Discarded = d.Discarded || before.Discarded
	d.WALProgress = d.NotBehind(before.WALProgress)
	return d
}

// furtherTail joins what two buckets know of a tail.
func furtherTail(key string) overtake {
	return func(there, other []byte) ([]byte, error) {
		var t topology.Tail
		if err := decode(key, other, &t); err != nil {
			return nil, err
		}
		next, err := overTail(key, there, t)
		if err == nil && bytes.Equal(next, there) {
			err = errThere
		}
		return next, err
	}
}
