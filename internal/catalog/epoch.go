package catalog

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/internal/topology"
)

func readClaim(ctx context.Context, s objectstore.Store, group string, e topology.Epoch) (Claim, error) {
	key := epochKey(group, e)
	b, _, err := s.Get(ctx, key)
	if err != nil {
		return Claim{}, err
	}
	var c Claim
	if err := decode(key, b, &c); err != nil {
		return Claim{}, err
	}
	if c.Group != group || c.Epoch != e || c.Operation == "" {
		return Claim{}, fault.Newf(fault.Corrupt, "read "+key, "it claims epoch %d of group %q for operation %q", c.Epoch, c.Group, c.Operation).WithHint(corruptHint)
	}
	return c, nil
}

func listEpochs(ctx context.Context, s objectstore.Store, group string) ([]topology.Epoch, error) {
	var out []topology.Epoch
	for info, err := range s.List(ctx, epochsPrefix(group), "") {
		if err != nil {
			return nil, err
		}
		if e, ok := parseEpochKey(info.Key); ok {
			out = append(out, e)
		}
	}
	return out, nil
}

func newestEpoch(ctx context.Context, s objectstore.Store, group string) (topology.Epoch, error) {
	all, err := listEpochs(ctx, s, group)
	return newestAmong(all), err
}

// newestAmong is 0 for none.
func newestAmong(epochs []topology.Epoch) (newest topology.Epoch) {
	for _, e := range epochs {
		newest = max(newest, e)
	}
	return newest
}

// copyEpochs copies the claims that to lacks, in their order: whoever looks for the epoch after his own finds it. If compare
// is set, those that to has must be the same. The newest claim is told in both where whoever made it died before.
func copyEpochs(ctx context.Context, from, to objectstore.Store, g *topology.Group, compare bool) error {
	have, err := listEpochs(ctx, to, g.Name)
	if err != nil {
		return err
	}
	all, err := listEpochs(ctx, from, g.Name)
	if err != nil {
		return err
	}
	slices.Sort(all)
	for _, e := range all {
		if !compare && slices.Contains(have, e) {
			continue
		}
		if err := copyClaim(ctx, from, to, g.Name, e); err != nil {
			return err
		}
	}
	if g.Claimed == nil || slices.Contains(all, g.Claimed.Epoch) {
		return nil
	}
	if _, err := tellClaim(ctx, from, g); err != nil {
		return err
	}
	_, err = tellClaim(ctx, to, g)
	return err
}

func copyClaim(ctx context.Context, from, to objectstore.Store, group string, e topology.Epoch) error {
	claim, err := readClaim(ctx, from, group, e)
	if err != nil {
		return err
	}
	return putClaim(ctx, to, claim)
}

// spreadEpochs copies claims to the group's other region, as far as that answers in time.
func (c *Catalog) spreadEpochs(ctx context.Context, d document) {
	ctx, done := c.patiently(ctx, d.group.Other(d.group.Authority))
	defer done()
	if err := c.copyToOthers(ctx, d, true); err != nil {
		c.owe(d.group.Name, true)
		c.log().Warn("the claim of an epoch was not copied to the other region's bucket", "group", d.group.Name, "error", err)
	}
}

// NewestEpoch returns the newest epoch that was claimed, among the buckets of the group's regions that answer; 0 for none.
func (c *Catalog) NewestEpoch(ctx context.Context, group string) (topology.Epoch, error) {
	regions, err := c.regionsOf(ctx, group)
	if err != nil {
		return 0, err
	}
	replies := ask(ctx, c, regions, func(ctx context.Context, _ string, s objectstore.Store) (topology.Epoch, error) {
		return newestEpoch(ctx, s, group)
	})
	if err := noneAnswered("read epochs of group "+group, replies); err != nil {
		return 0, err
	}
	var newest topology.Epoch
	for _, r := range replies {
		newest = max(newest, r.value)
	}
	return newest, nil
}

func noneAnswered[T any](op string, replies map[string]reply[T]) error {
	silent := map[string]string{}
	for region, r := range replies {
		if r.err == nil {
			return nil
		}
		silent[region] = r.err.Error()
	}
	return fault.Newf(fault.Transient, op, "no bucket answers: %s", reasons(silent))
}

// CheckEpoch returns fault.Fenced if an epoch newer than epoch was claimed, as far as the buckets of the group's regions that
// answer know; nil if not; fault.Transient if none answers. It costs one HEAD request per bucket: epochs are claimed
// one after the other and copied in order, so the next one is there if any newer one is.
func (c *Catalog) CheckEpoch(ctx context.Context, group string, epoch topology.Epoch) error {
	regions, err := c.regionsOf(ctx, group)
	if err != nil {
		return err
	}
	key := epochKey(group, epoch+1)
	replies := ask(ctx, c, regions, func(ctx context.Context, _ string, s objectstore.Store) (bool, error) {
		_, err := s.Head(ctx, key)
		if fault.Is(err, fault.Missing) {
			return false, nil
		}
		return err == nil, err
	})
	for _, region := range slices.Sorted(maps.Keys(replies)) {
		if replies[region].value {
			return c.fenced(ctx, group, region, epoch)
		}
	}
	return noneAnswered("check epoch of group "+group, replies)
}

func (c *Catalog) fenced(ctx context.Context, group, region string, epoch topology.Epoch) error {
	by := "another side"
	if claim, err := readClaim(ctx, c.Stores[region], group, epoch+1); err == nil {
		by = fmt.Sprintf("operation %s, for region %s, at %s", claim.Operation, claim.Region, claim.ClaimedAt.UTC().Format(time.RFC3339))
	}
	return fault.Newf(fault.Fenced, "check epoch of group "+group, "epoch %d was followed by %d, claimed by %s", epoch, epoch+1, by).
		WithHint("This side no longer serves; nothing it writes from now on is followed.")
}
