package catalog

import (
	"context"
	"time"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
)

// regionsFresh is for how long a group's regions are taken as known. They change when replication is configured.
const regionsFresh = time.Minute

func groupRegions(g *topology.Group) []string {
	if g.Secondary == "" {
		return []string{g.Primary}
	}
	return []string{g.Primary, g.Secondary}
}

func (c *Catalog) rememberRegions(g *topology.Group) {
	c.cache.mu.Lock()
	defer c.cache.mu.Unlock()
	if c.cache.regions == nil {
		c.cache.regions = map[string]cachedRegions{}
	}
	c.cache.regions[g.Name] = cachedRegions{groupRegions(g), c.now()}
}

// knownRegions returns the regions of a group as read last, and whether that was not long ago.
func (c *Catalog) knownRegions(group string) (regions []string, fresh bool) {
	c.cache.mu.Lock()
	defer c.cache.mu.Unlock()
	known, ok := c.cache.regions[group]
	return known.regions, ok && c.now().Sub(known.readAt) < regionsFresh
}

// regionsOf returns the regions of a group. While no bucket tells, or they contradict each other, what was known last holds.
func (c *Catalog) regionsOf(ctx context.Context, group string) ([]string, error) {
	known, fresh := c.knownRegions(group)
	if fresh {
		return known, nil
	}
	l, err := c.Load(ctx, group)
	if err == nil {
		return groupRegions(&l.Group), nil
	}
	if len(known) > 0 && (fault.Is(err, fault.Transient) || fault.Is(err, fault.Diverged)) {
		return known, nil
	}
	return nil, err
}

func (c *Catalog) cachedETag(region, key string) string {
	c.cache.mu.Lock()
	defer c.cache.mu.Unlock()
	return c.cache.etags[region+"/"+key]
}

// rememberETag forgets when etag is empty.
func (c *Catalog) rememberETag(region, key, etag string) {
	c.cache.mu.Lock()
	defer c.cache.mu.Unlock()
	if c.cache.etags == nil {
		c.cache.etags = map[string]string{}
	}
	if etag == "" {
		delete(c.cache.etags, region+"/"+key)
		return
	}
	c.cache.etags[region+"/"+key] = etag
}
