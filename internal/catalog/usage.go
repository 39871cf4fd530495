package catalog

import (
	"context"
	"encoding/json"
	"strings"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/internal/topology"
)

// usagePrefix is of a group, or, with no name, of what belongs to none.
func usagePrefix(group string) string {
	if group == "" {
		return "usage/"
	}
	return groupsPrefix + group + "/usage/"
}

func usageKey(group, region, host string) string {
	return usagePrefix(group) + region + "." + host + ".json"
}

func storedKey(group string) string { return groupsPrefix + group + "/stored.json" }

type usageDocument struct {
	Format int `json:"format"`
	topology.Usage
}

type storedDocument struct {
	Format int               `json:"format"`
	Epoch  topology.Epoch    `json:"epoch"`
	All    []topology.Stored `json:"stored"`
}

func (d storedDocument) age() age {
	a := age{epoch: d.Epoch}
	for _, s := range d.All {
		if s.ListedAt.After(a.at) {
			a.at = s.ListedAt
		}
	}
	return a
}

// AddUsage changes the account of one host's worker in the bucket of its region; group may be empty. An addition has a
// name, so that one whose answer was lost is not made again.
func (c *Catalog) AddUsage(ctx context.Context, group, region, host, addition string, add func(*topology.Usage)) error {
	if err := topology.CheckName("host", host); err != nil {
		return err
	}
	if group != "" {
		if err := checkNames(group); err != nil {
			return err
		}
	}
	key := usageKey(group, region, host)
	return c.spread(ctx, []string{region}, write{key: key, next: func(there []byte) ([]byte, error) {
		d, _, err := former[usageDocument](key, there) // what is damaged begins anew
		if err != nil {
			return nil, err
		}
		if d.Last == addition {
			return there, nil
		}
		add(&d.Usage)
		d.Format, d.Region, d.Host, d.Last = format, region, host, addition
		return json.Marshal(d)
	}})
}

// Usage returns the accounts of all workers for a group, or, for the empty name, for what belongs to none, from the buckets
// of the regions that answer; and why others did not.
func (c *Catalog) Usage(ctx context.Context, group string, regions []string) (all []topology.Usage, silent map[string]string) {
	replies := ask(ctx, c, regions, func(ctx context.Context, _ string, s objectstore.Store) ([]topology.Usage, error) {
		return listUsage(ctx, s, usagePrefix(group))
	})
	silent = map[string]string{}
	for _, region := range regions {
		all = append(all, replies[region].value...)
		if err := replies[region].err; err != nil {
			silent[region] = err.Error()
		}
	}
	return all, silent
}

func listUsage(ctx context.Context, s objectstore.Store, prefix string) ([]topology.Usage, error) {
	var all []topology.Usage
	for info, err := range s.List(ctx, prefix, "") {
		if err != nil {
			return nil, err
		}
		if !strings.HasSuffix(info.Key, ".json") {
			continue
		}
		b, _, err := s.Get(ctx, info.Key)
		if err != nil {
			return nil, err
		}
		var d usageDocument
		if err := decode(info.Key, b, &d); err != nil {
			return nil, err
		}
		all = append(all, d.Usage)
	}
	return all, nil
}

// PutStored announces what the buckets hold of a group, in those of its regions.
func (c *Catalog) PutStored(ctx context.Context, group string, epoch topology.Epoch, all []topology.Stored) error {
	if err := checkNames(group); err != nil {
		return err
	}
	regions, err := c.regionsOf(ctx, group)
	if err != nil {
		return err
	}
	d := storedDocument{format, epoch, all}
	body, err := json.Marshal(d)
	if err != nil {
		return fault.New(fault.Invalid, "write what is stored", err)
	}
	key := storedKey(group)
	return c.spread(ctx, regions, write{key: key, overtake: newerOf[storedDocument](key), next: func(there []byte) ([]byte, error) {
		return body, checkSupersedes(key, d, there)
	}})
}

// Stored returns what was announced last of what the buckets hold of a group; fault.Missing when nothing was.
func (c *Catalog) Stored(ctx context.Context, group string) ([]topology.Stored, error) {
	if err := checkNames(group); err != nil {
		return nil, err
	}
	regions, err := c.regionsOf(ctx, group)
	if err != nil {
		return nil, err
	}
	d, err := readNewest[storedDocument](ctx, c, regions, storedKey(group))
	return d.All, err
}
