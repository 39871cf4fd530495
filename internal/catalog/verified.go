package catalog

import (
	"context"

	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/internal/topology"
)

func verifiedKey(group, region string) string {
	return groupsPrefix + group + "/verify/" + region + ".json"
}

// PutVerified records what the last check of a region's bucket found, there. Format is filled in.
func (c *Catalog) PutVerified(ctx context.Context, v topology.Verified) error {
	if err := checkNames(v.Group); err != nil {
		return err
	}
	store, err := c.store(v.Region)
	if err != nil {
		return err
	}
	v.Format = format
	b, err := encode(v)
	if err != nil {
		return err
	}
	_, err = store.Put(ctx, verifiedKey(v.Group, v.Region), b, objectstore.PutOptions{})
	return err
}

// Verified returns what the last check of a region's bucket found; fault.Missing when there was none.
func (c *Catalog) Verified(ctx context.Context, group, region string) (v topology.Verified, err error) {
	if err := checkNames(group); err != nil {
		return v, err
	}
	store, err := c.store(region)
	if err != nil {
		return v, err
	}
	key := verifiedKey(group, region)
	b, _, err := store.Get(ctx, key)
	if err != nil {
		return v, err
	}
	return v, decode(key, b, &v)
}
