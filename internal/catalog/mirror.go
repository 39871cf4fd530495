package catalog

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/internal/topology"
)

// Mirror copies a group's document and its epochs from the authority's bucket to the other region's.
func (c *Catalog) Mirror(ctx context.Context, group string) error {
	_, err := c.retry(ctx, group, func(s survey) (Updated, error) {
		current, err := c.atAuthority(ctx, s)
		if err != nil {
			return Updated{}, err
		}
		return Updated{}, c.copyToOthers(ctx, current, true)
	})
	if err == nil {
		c.owe(group, false)
	}
	return err
}

// Owed returns the groups whose other bucket did not take the last change made through this catalog.
func (c *Catalog) Owed() []string {
	c.cache.mu.Lock()
	defer c.cache.mu.Unlock()
	return slices.Sorted(maps.Keys(c.cache.owed))
}

// Settle says that a group's other bucket has everything.
func (c *Catalog) Settle(group string) { c.owe(group, false) }

func (c *Catalog) owe(group string, owed bool) {
	c.cache.mu.Lock()
	defer c.cache.mu.Unlock()
	if c.cache.owed == nil {
		c.cache.owed = map[string]bool{}
	}
	if owed {
		c.cache.owed[group] = true
	} else {
		delete(c.cache.owed, group)
	}
}

// mirrored copies d to the group's other region as far as that answers in time.
func (c *Catalog) mirrored(ctx context.Context, d document) Updated {
	ctx, done := c.patiently(ctx, d.group.Other(d.group.Authority))
	defer done()
	if err := c.copyToOthers(ctx, d, false); err != nil {
		c.owe(d.group.Name, true)
		c.log().Warn("the catalog was changed and not copied to the other region's bucket", "group", d.group.Name, "revision", d.group.Revision, "error", err)
		return Updated{Group: d.group, Reason: err.Error()}
	}
	return Updated{Group: d.group, Mirrored: true}
}

func (c *Catalog) copyToOthers(ctx context.Context, d document, epochs bool) error {
	var errs []error
	for _, region := range groupRegions(&d.group) {
		switch {
		case region == d.group.Authority:
		case epochs:
			errs = append(errs, c.copyTo(ctx, []string{d.group.Authority}, region, d))
		default:
			errs = append(errs, c.copyDocument(ctx, region, d))
		}
	}
	return errors.Join(errs...)
}

// copyDocument is copyTo without the epochs, as long as there can be no new one.
func (c *Catalog) copyDocument(ctx context.Context, region string, d document) error {
	s, err := c.store(region)
	if err != nil {
		return err
	}
	if there, err := readGroup(ctx, s, d.group.Name); err != nil || there.group.NewestEpoch() != d.group.NewestEpoch() {
		return c.copyTo(ctx, []string{d.group.Authority}, region, d)
	}
	return putNewerGroup(ctx, s, d)
}

// copyTo brings region's bucket up to d: first the epochs that the buckets of the regions from have, then the document, so
// that a bucket whose document names it the authority has every epoch that was claimed before.
func (c *Catalog) copyTo(ctx context.Context, from []string, region string, d document) error {
	s, err := c.store(region)
	if err != nil {
		return err
	}
	for _, f := range from {
		if f == region {
			continue
		}
		if err := copyEpochs(ctx, c.Stores[f], s, &d.group, false); err != nil {
			return fmt.Errorf("copy epochs of group %s from region %s to %s: %w", d.group.Name, f, region, err)
		}
	}
	if err := putNewerGroup(ctx, s, d); err != nil {
		return fmt.Errorf("copy group %s to region %s: %w", d.group.Name, region, err)
	}
	return nil
}

// putNewerGroup writes d unless s has that revision or a newer one.
func putNewerGroup(ctx context.Context, s objectstore.Store, d document) error {
	for n := 0; ; n++ {
		there, err := readGroup(ctx, s, d.group.Name)
		opts := objectstore.PutOptions{IfMatch: there.etag}
		switch {
		case fault.Is(err, fault.Missing):
			opts = objectstore.PutOptions{IfAbsent: true}
		case fault.Is(err, fault.Corrupt): // the copy is worth nothing: replace it
		case err != nil:
			return err
		case there.group.ID != d.group.ID, seizedApart(&there.group, &d.group):
			_, err := newestOf([]document{there, d})
			return err
		case there.group.Revision >= d.group.Revision:
			return nil
		}
		_, err = s.Put(ctx, groupKey(d.group.Name), d.raw, opts)
		if !fault.Is(err, fault.Conflict) || n+1 == attempts {
			return err
		}
	}
}

// MoveAuthority makes region's bucket the one that decides, and applies change (which may be nil) in the same write; so a
// region can become secondary and authority at once. The new bucket gets everything first. When it fails half-way, calling
// it again finishes it; meanwhile writes are refused where the old and the new bucket cannot both be seen, and none is lost.
func (c *Catalog) MoveAuthority(ctx context.Context, group, region string, change func(*topology.Group) error) (Updated, error) {
	if _, err := c.store(region); err != nil {
		return Updated{}, err
	}
	return c.retry(ctx, group, func(s survey) (Updated, error) {
		if s.Group.Authority == region {
			return c.tryUpdate(ctx, s, change)
		}
		return c.tryMove(ctx, s, region, change)
	})
}

// FollowAuthority is MoveAuthority to the region that does not serve, for a group that was found in sync under an epoch. It
// refuses what would take the decision from where an operation needs it: fault.Taken while one holds the group,
// fault.Fenced when a newer epoch was claimed, fault.Invalid when region serves.
func (c *Catalog) FollowAuthority(ctx context.Context, group, region string, epoch topology.Epoch) (Updated, error) {
	const op = "move the authority"
	return c.MoveAuthority(ctx, group, region, func(g *topology.Group) error {
		switch {
		case g.Operation != nil:
			return g.Changeable(op)
		case g.Epoch != epoch, g.NewestEpoch() != epoch:
			return fault.Newf(fault.Fenced, op, "epoch %d of group %s is over", epoch, g.Name)
		case g.Other(g.Active) != region:
			return fault.Newf(fault.Invalid, op, "region %s serves group %s: its bucket must not decide over a failover from it", region, g.Name)
		}
		return nil
	})
}

// prepare brings region's bucket up to d before it is made the authority.
func (c *Catalog) prepare(ctx context.Context, region string, d document) error {
	from, err := c.store(d.group.Authority)
	if err != nil {
		return err
	}
	if err := copyEpochs(ctx, from, c.Stores[region], &d.group, true); err != nil {
		return fmt.Errorf("copy epochs of group %s to region %s: %w", d.group.Name, region, err)
	}
	return c.copyTo(ctx, []string{d.group.Authority}, region, d)
}

func (c *Catalog) tryMove(ctx context.Context, s survey, region string, change func(*topology.Group) error) (Updated, error) {
	current, err := c.atAuthority(ctx, s)
	if err == nil {
		err = Controls(&current.group, c.Controller)
	}
	if err != nil {
		return Updated{}, err
	}
	next, changed, err := apply(current, change)
	if err != nil {
		return Updated{}, err
	}
	if !slices.Contains(groupRegions(&next), region) {
		return Updated{}, fault.Newf(fault.Invalid, "change group "+next.Name, "region %s is none of its regions and cannot decide for it", region)
	}
	if !changed {
		next.Revision++
	}
	next.Authority, next.Term = region, next.Term+1
	if err := c.prepare(ctx, region, current); err != nil {
		return Updated{}, err
	}
	moved, err := c.swap(ctx, current, next)
	if err != nil {
		return Updated{}, err
	}
	if err := c.copyTo(ctx, []string{current.group.Authority}, region, moved); err != nil {
		return Updated{}, err
	}
	return Updated{Group: moved.group, Mirrored: true}, nil
}
