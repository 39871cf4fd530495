package catalog

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/internal/topology"
)

// ClaimEpoch claims claim.Epoch, or the next one if that is 0, for an operation. Of all claimants of an epoch one wins; the
// others get fault.Conflict that names the winner. A claim is idempotent by its operation: what the operation has claimed
// already is returned as it stands, and is fault.Fenced if a newer epoch has been claimed since. The claim is decided in
// the authority's bucket and then copied to the other one, if that answers.
func (c *Catalog) ClaimEpoch(ctx context.Context, claim Claim) (Claim, error) {
	if err := claim.check(); err != nil {
		return Claim{}, err
	}
	var won Claim
	var decided document
	_, err := c.retry(ctx, claim.Group, func(s survey) (Updated, error) {
		current, err := c.atAuthority(ctx, s)
		if err != nil {
			return Updated{}, err
		}
		decided = current
		won, err = c.claimAt(ctx, current, claim)
		return Updated{}, err
	})
	if err != nil {
		return Claim{}, err
	}
	c.spreadEpochs(ctx, decided)
	return won, nil
}

func (cl Claim) check() error {
	if err := topology.CheckName("workspace group", cl.Group); err != nil {
		return err
	}
	if err := topology.CheckName("region", cl.Region); err != nil {
		return err
	}
	if cl.Epoch < 0 || cl.Epoch > 99_999_999 {
		return fault.Newf(fault.Invalid, "claim epoch", "%d is no epoch", cl.Epoch)
	}
	return checkOperationID(cl.Operation)
}

// claimAt claims in the bucket that decides for d.
func (c *Catalog) claimAt(ctx context.Context, d document, claim Claim) (Claim, error) {
	s, err := c.store(d.group.Authority)
	if err != nil {
		return Claim{}, err
	}
	listed, err := newestEpoch(ctx, s, claim.Group)
	if err != nil {
		return Claim{}, err
	}
	if own, err := ownClaim(ctx, s, claim, listed); err != nil || own != nil {
		return deref(own), err
	}
	newest := max(listed, d.group.Epoch)
	if d.group.Revision == 1 && listed == 0 {
		newest = d.group.Epoch - 1 // the group is being created, and claims the epoch that it begins with
	}
	if claim.Epoch == 0 {
		claim.Epoch = newest + 1
	}
	if claim.Epoch > newest+1 {
		return Claim{}, fault.Newf(fault.Invalid, "claim epoch", "epoch %d of group %s cannot be claimed, since the newest is %d", claim.Epoch, claim.Group, newest)
	}
	return c.putClaim(ctx, s, d, claim)
}

func deref(c *Claim) Claim {
	if c == nil {
		return Claim{}
	}
	return *c
}

// ownClaim looks for the newest claim of the same operation, or for who holds the epoch that is asked for.
func ownClaim(ctx context.Context, s objectstore.Store, claim Claim, newest topology.Epoch) (*Claim, error) {
	for e := newest; e > 0; e-- {
		there, err := readClaim(ctx, s, claim.Group, e)
		if fault.Is(err, fault.Missing) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		if there.Operation == claim.Operation && (claim.Epoch == 0 || claim.Epoch == e) {
			if e < newest {
				return nil, superseded(claim.Group, e, newest)
			}
			return &there, nil
		}
		if claim.Epoch == e {
			return nil, heldBy(there)
		}
	}
	return nil, nil
}

func superseded(group string, e, newest topology.Epoch) error {
	return fault.Newf(fault.Fenced, "claim epoch", "epoch %d of group %s was claimed, and epoch %d since", e, group, newest).
		WithHint("Another operation has taken over; see: smartdr operations %s.", group)
}

func heldBy(c Claim) error {
	return fault.Newf(fault.Conflict, "claim epoch", "epoch %d of group %s is held by operation %s (%s) for region %s since %s",
		c.Epoch, c.Group, c.Operation, c.Claimant, c.Region, c.ClaimedAt.UTC().Format(time.RFC3339))
}

// putClaim writes the claim, and then makes sure that the bucket it wrote to still decides: while the authority moves, a
// claim in the old bucket may be too late to be copied to the new one.
func (c *Catalog) putClaim(ctx context.Context, s objectstore.Store, d document, claim Claim) (Claim, error) {
	claim.Format, claim.ClaimedAt = format, c.now().UTC()
	b, err := encode(claim)
	if err != nil {
		return Claim{}, err
	}
	_, err = s.Put(ctx, epochKey(claim.Group, claim.Epoch), b, objectstore.PutOptions{IfAbsent: true})
	if fault.Is(err, fault.Conflict) {
		there, err := readClaim(ctx, s, claim.Group, claim.Epoch)
		if err != nil {
			return Claim{}, err
		}
		if there.Operation != claim.Operation {
			return Claim{}, heldBy(there)
		}
		claim = there
	} else if err != nil {
		return Claim{}, err
	}
	now, err := readGroup(ctx, s, claim.Group)
	if err != nil {
		return Claim{}, err
	}
	if now.group.Authority != d.group.Authority {
		return Claim{}, &lost{fault.Newf(fault.Conflict, "claim epoch", "the authority has moved to region %s", now.group.Authority)}
	}
	return claim, nil
}

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
	if err != nil || len(all) == 0 {
		return 0, err
	}
	return slices.Max(all), nil
}

// copyEpochs copies the claims that to lacks, in their order: whoever looks for the epoch after his own finds it. If compare
// is set, those that to has must be the same: a claim that came too late while the authority moved stays behind in
// the old bucket, and must not come into force when that bucket decides again.
func copyEpochs(ctx context.Context, from, to objectstore.Store, group string, compare bool) error {
	have, err := listEpochs(ctx, to, group)
	if err != nil {
		return err
	}
	all, err := listEpochs(ctx, from, group)
	if err != nil {
		return err
	}
	slices.Sort(all)
	for _, e := range all {
		if !compare && slices.Contains(have, e) {
			continue
		}
		if err := copyClaim(ctx, from, to, epochKey(group, e)); err != nil {
			return err
		}
	}
	return nil
}

func copyClaim(ctx context.Context, from, to objectstore.Store, key string) error {
	b, _, err := from.Get(ctx, key)
	if err != nil {
		return err
	}
	_, err = to.Put(ctx, key, b, objectstore.PutOptions{IfAbsent: true})
	if !fault.Is(err, fault.Conflict) {
		return err
	}
	there, _, err := to.Get(ctx, key)
	if err == nil && !bytes.Equal(b, there) {
		return fault.Newf(fault.Diverged, "copy "+key, "the two buckets hold different claims of one epoch").
			WithHint("Two installations share a name or a bucket was written by hand; stop both sides and find out which one serves.")
	}
	return err
}

// spreadEpochs copies claims to the group's other region, as far as that answers in time.
func (c *Catalog) spreadEpochs(ctx context.Context, d document) {
	ctx, done := c.patiently(ctx, d.group.Other(d.group.Authority))
	defer done()
	if err := c.copyToOthers(ctx, d, true); err != nil {
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
