// Package usage counts what SmartDR asks of the buckets, by group, and says what that costs.
package usage

import (
	"context"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/internal/topology"
)

// Meter counts requests by the group that their keys belong to. Requests for what belongs to no group, as the hosts'
// announcements, are counted under the empty name. Its methods are safe for concurrent use.
type Meter struct {
	mu       sync.Mutex
	counters map[string]map[string]*objectstore.Counters // by group and region
	taken    map[string]map[string]topology.Requests     // how much of them Take has returned
}

// Store returns a view of a region's root store that counts. It belongs right over the store itself, below what tries
// again, since each attempt is billed.
func (m *Meter) Store(region string, s objectstore.Store) objectstore.Store {
	return &metered{meter: m, region: region, inner: s}
}

// Groups returns the names of all groups that something was asked for, sorted; the empty one too.
func (m *Meter) Groups() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Sorted(maps.Keys(m.counters))
}

// Totals returns what was asked of each region's bucket for a group since the meter was made.
func (m *Meter) Totals(group string) map[string]topology.Requests {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.totals(group)
}

func (m *Meter) totals(group string) map[string]topology.Requests {
	out := map[string]topology.Requests{}
	for region, c := range m.counters[group] {
		out[region] = topology.Requests{
			Gets: c.Gets.Load(), Puts: c.Puts.Load(), Heads: c.Heads.Load(), Lists: c.Lists.Load(), Deletes: c.Deletes.Load(),
			Errors: c.Errors.Load(), BytesIn: c.BytesIn.Load(), BytesOut: c.BytesOut.Load(),
		}
	}
	return out
}

// Take returns what was asked for a group since it was last taken, by the region of the bucket. Nothing is in two of its
// answers, and nothing is lost between them.
func (m *Meter) Take(group string) map[string]topology.Requests {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := m.totals(group)
	out := map[string]topology.Requests{}
	for region, r := range now {
		if d := r.Minus(m.taken[group][region]); d != (topology.Requests{}) {
			out[region] = d
		}
	}
	if m.taken == nil {
		m.taken = map[string]map[string]topology.Requests{}
	}
	m.taken[group] = now
	return out
}

func (m *Meter) of(group, region string) *objectstore.Counters {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.counters == nil {
		m.counters = map[string]map[string]*objectstore.Counters{}
	}
	if m.counters[group] == nil {
		m.counters[group] = map[string]*objectstore.Counters{}
	}
	if m.counters[group][region] == nil {
		m.counters[group][region] = &objectstore.Counters{}
	}
	return m.counters[group][region]
}

const groupsPrefix = "groups/"

// groupOf returns the group that a key belongs to, or "".
func groupOf(key string) string {
	rest, ok := strings.CutPrefix(key, groupsPrefix)
	name, _, whole := strings.Cut(rest, "/")
	if !ok || !whole || topology.CheckName("workspace group", name) != nil {
		return ""
	}
	return name
}

// metered sends each request through the counters of its key's group.
type metered struct {
	meter  *Meter
	region string
	inner  objectstore.Store
}

func (s *metered) counted(key string) objectstore.Store {
	return objectstore.WithCounters(s.inner, s.meter.of(groupOf(key), s.region))
}

func (s *metered) Get(ctx context.Context, key string) ([]byte, objectstore.Info, error) {
	return s.counted(key).Get(ctx, key)
}

func (s *metered) GetRange(ctx context.Context, key string, off, n int64) ([]byte, error) {
	return s.counted(key).GetRange(ctx, key, off, n)
}

func (s *metered) Put(ctx context.Context, key string, body []byte, opts objectstore.PutOptions) (objectstore.Info, error) {
	return s.counted(key).Put(ctx, key, body, opts)
}

func (s *metered) Head(ctx context.Context, key string) (objectstore.Info, error) {
	return s.counted(key).Head(ctx, key)
}

func (s *metered) List(ctx context.Context, prefix, startAfter string) iter.Seq2[objectstore.Info, error] {
	return s.counted(prefix).List(ctx, prefix, startAfter)
}

// Delete counts keys of several groups, which nobody asks for, under the first one's.
func (s *metered) Delete(ctx context.Context, keys ...string) error {
	first := ""
	if len(keys) > 0 {
		first = keys[0]
	}
	return s.counted(first).Delete(ctx, keys...)
}
