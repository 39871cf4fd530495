package catalog

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/objectstore"
)

// reply is what one bucket answered.
type reply[T any] struct {
	value T
	err   error
}

// ask calls f for each region's bucket at once, and returns when all have answered or their time is over.
func ask[T any](ctx context.Context, c *Catalog, regions []string, f func(context.Context, string, objectstore.Store) (T, error)) map[string]reply[T] {
	return askFor(ctx, c, regions, 0, f)
}

// askFor is ask for what moves so many bytes.
func askFor[T any](ctx context.Context, c *Catalog, regions []string, bytes int64, f func(context.Context, string, objectstore.Store) (T, error)) map[string]reply[T] {
	var wg sync.WaitGroup
	replies := make([]reply[T], len(regions))
	for i, region := range regions {
		wg.Go(func() { replies[i] = askOneFor(ctx, c, region, bytes, f) })
	}
	wg.Wait()
	out := make(map[string]reply[T], len(regions))
	for i, region := range regions {
		out[region] = replies[i]
	}
	return out
}

func askOne[T any](ctx context.Context, c *Catalog, region string, f func(context.Context, string, objectstore.Store) (T, error)) reply[T] {
	return askOneFor(ctx, c, region, 0, f)
}

func askOneFor[T any](ctx context.Context, c *Catalog, region string, bytes int64, f func(context.Context, string, objectstore.Store) (T, error)) (r reply[T]) {
	s, err := c.store(region)
	if err != nil {
		r.err = err
		return r
	}
	ctx, done := c.patientlyFor(ctx, region, bytes)
	defer done()
	r.value, r.err = f(ctx, region, s)
	return r
}

// silentFor is for how long a bucket that did not answer gets little time.
const silentFor = 20 * time.Second

// slowest is the pace at which a bucket takes or gives a large document at the least, in bytes per second.
const slowest = 256 << 10

// patiently returns a context that ends when region's bucket has had its time. done must be called.
func (c *Catalog) patiently(ctx context.Context, region string) (_ context.Context, done func()) {
	return c.patientlyFor(ctx, region, 0)
}

// patientlyFor is patiently for what moves so many bytes.
func (c *Catalog) patientlyFor(ctx context.Context, region string, bytes int64) (_ context.Context, done func()) {
	c.cache.mu.Lock()
	since, silent := c.cache.silent[region]
	c.cache.mu.Unlock()
	limit := c.timeout()
	silent = silent && c.now().Sub(since) < silentFor
	if silent {
		limit /= 8
	}
	limit += time.Duration(bytes) * time.Second / slowest
	within, cancel := context.WithTimeout(ctx, limit)
	return within, func() {
		late := errors.Is(within.Err(), context.DeadlineExceeded) && ctx.Err() == nil // not the caller's own time
		cancel()
		if late != silent {
			c.rememberSilence(region, late)
		}
	}
}

func (c *Catalog) rememberSilence(region string, silent bool) {
	c.cache.mu.Lock()
	defer c.cache.mu.Unlock()
	if !silent {
		delete(c.cache.silent, region)
		return
	}
	if c.cache.silent == nil {
		c.cache.silent = map[string]time.Time{}
	}
	c.cache.silent[region] = c.now()
}

// store returns a region's bucket.
func (c *Catalog) store(region string) (objectstore.Store, error) {
	if s := c.Stores[region]; s != nil {
		return s, nil
	}
	return nil, fault.Newf(fault.Invalid, "find bucket", "region %q is not in the configuration", region).
		WithHint("Add it under regions in smartdr.yaml, with its bucket; known are: %s.", strings.Join(c.regions(), ", "))
}

// regions returns the names of all regions, sorted.
func (c *Catalog) regions() []string { return slices.Sorted(maps.Keys(c.Stores)) }

// reasons puts why buckets did not answer into one line.
func reasons(silent map[string]string) string {
	var parts []string
	for _, region := range slices.Sorted(maps.Keys(silent)) {
		parts = append(parts, fmt.Sprintf("region %s: %s", region, silent[region]))
	}
	return strings.Join(parts, "; ")
}

// noneTook returns nil if at least one bucket took a write, else the most telling of the errors.
func noneTook[T any](op string, replies map[string]reply[T]) error {
	silent := map[string]string{}
	kind := fault.Transient
	for region, r := range replies {
		if r.err == nil {
			return nil
		}
		silent[region] = r.err.Error()
		if k := fault.KindOf(r.err); len(replies) == 1 || k == fault.Full {
			kind = k
		}
	}
	return fault.Newf(kind, op, "no bucket took it: %s", reasons(silent))
}

// refused returns the first error of that kind, which then holds for all buckets.
func refused[T any](kind fault.Kind, replies map[string]reply[T]) error {
	for _, region := range slices.Sorted(maps.Keys(replies)) {
		if fault.Is(replies[region].err, kind) {
			return replies[region].err
		}
	}
	return nil
}
