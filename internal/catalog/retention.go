package catalog

import (
	"context"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/internal/topology"
)

func sweptKey(group, region string) string {
	return groupsPrefix + group + "/retention/" + region + ".json"
}

// PutSwept records what the last round of retention did to a region's bucket, there.
func (c *Catalog) PutSwept(ctx context.Context, s topology.Swept) error {
	if err := checkNames(s.Group); err != nil {
		return err
	}
	store, err := c.store(s.Region)
	if err != nil {
		return err
	}
	b, err := encode(s)
	if err != nil {
		return err
	}
	_, err = store.Put(ctx, sweptKey(s.Group, s.Region), b, objectstore.PutOptions{})
	return err
}

// Swept returns what the last round did to a region's bucket; fault.Missing before the first one.
func (c *Catalog) Swept(ctx context.Context, group, region string) (s topology.Swept, err error) {
	if err := checkNames(group); err != nil {
		return s, err
	}
	store, err := c.store(region)
	if err != nil {
		return s, err
	}
	key := sweptKey(group, region)
	b, _, err := store.Get(ctx, key)
	if err != nil {
		return s, err
	}
	if err := decode(key, b, &s); err != nil {
		return s, fault.New(fault.KindOf(err), "read "+key, err)
	}
	return s, nil
}
