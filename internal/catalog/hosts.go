package catalog

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"strings"
	"sync"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/internal/topology"
)

const hostsPrefix = "hosts/"

func hostKey(name string) string { return hostsPrefix + name + ".json" }

type hostDocument struct {
	Format int `json:"format"`
	topology.Host
}

// PutHost announces a host in the bucket of its own region, which is the one that a failover into that region reads.
func (c *Catalog) PutHost(ctx context.Context, h topology.Host) error {
	if err := topology.CheckName("host", h.Name); err != nil {
		return err
	}
	s, err := c.store(h.Region)
	if err != nil {
		return err
	}
	body, err := json.Marshal(hostDocument{format, h})
	if err != nil {
		return fault.New(fault.Invalid, "announce host", err)
	}
	_, err = s.Put(ctx, hostKey(h.Name), body, objectstore.PutOptions{})
	return err
}

// Host returns what one host of a region last announced; fault.Missing when it never did.
func (c *Catalog) Host(ctx context.Context, region, name string) (topology.Host, error) {
	if err := topology.CheckName("host", name); err != nil {
		return topology.Host{}, err
	}
	s, err := c.store(region)
	if err != nil {
		return topology.Host{}, err
	}
	d, err := readHost(ctx, s, name)
	return d.Host, err
}

func readHost(ctx context.Context, s objectstore.Store, name string) (d hostDocument, err error) {
	b, _, err := s.Get(ctx, hostKey(name))
	if err != nil {
		return d, err
	}
	return d, decode(hostKey(name), b, &d)
}

// Hosts returns what the hosts of a region last announced, by name; the stale ones too. One that cannot be read is left
// out, since its next announcement replaces it. fault.Transient means that the region's bucket does not answer.
func (c *Catalog) Hosts(ctx context.Context, region string) ([]topology.Host, error) {
	replies := ask(ctx, c, []string{region}, func(ctx context.Context, _ string, s objectstore.Store) ([]topology.Host, error) {
		return listHosts(ctx, s)
	})
	return replies[region].value, replies[region].err
}

func listHosts(ctx context.Context, s objectstore.Store) ([]topology.Host, error) {
	var names []string
	for info, err := range s.List(ctx, hostsPrefix, "") {
		if err != nil {
			return nil, err
		}
		if name, ok := strings.CutSuffix(strings.TrimPrefix(info.Key, hostsPrefix), ".json"); ok && topology.CheckName("host", name) == nil {
			names = append(names, name)
		}
	}
	found := make([]hostDocument, len(names))
	errs := make([]error, len(names))
	var wg sync.WaitGroup
	for i, name := range names {
		wg.Go(func() { found[i], errs[i] = readHost(ctx, s, name) })
	}
	wg.Wait()
	var out []topology.Host
	for i, d := range found {
		switch {
		case errs[i] == nil:
			out = append(out, d.Host)
		case fault.Is(errs[i], fault.Transient):
			return nil, errs[i]
		}
	}
	slices.SortFunc(out, func(a, b topology.Host) int { return cmp.Compare(a.Name, b.Name) })
	return out, nil
}
