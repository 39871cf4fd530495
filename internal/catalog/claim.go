package catalog

import (
	"context"
	"slices"
	"time"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/internal/topology"
)

// ClaimEpoch claims claim.Epoch, or the next one if that is 0, for an operation. Of all claimants of an epoch one wins; the
// others get fault.Conflict that names the winner. A claim is idempotent by its operation: what the operation has claimed
// already is returned as it stands, and is fault.Fenced if a newer epoch has been claimed since. With claim.Held only the
// operation that holds the group may claim; another one gets fault.Fenced.
//
// A claim is decided by one conditional write of the group's document in the bucket that decides: so it is atomic with who
// decides, which operation holds the group and which control plane acts for it. The document epochs/<epoch>.json, which
// tells it to shippers at the price of one HEAD request, follows there before ClaimEpoch returns, and is copied to the
// other bucket, if that answers.
func (c *Catalog) ClaimEpoch(ctx context.Context, claim Claim) (Claim, error) {
	if err := claim.check(); err != nil {
		return Claim{}, err
	}
	var won document
	_, err := c.retry(ctx, claim.Group, func(s survey) (Updated, error) {
		current, err := c.atAuthority(ctx, s)
		if err == nil {
			won, err = c.claimAt(ctx, current, claim)
		}
		return Updated{}, err
	})
	if err != nil {
		return Claim{}, err
	}
	c.spreadEpochs(ctx, won)
	return claimOf(&won.group), nil
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

// claimAt claims in the bucket that decides for d, and tells it there.
func (c *Catalog) claimAt(ctx context.Context, d document, claim Claim) (document, error) {
	s, err := c.store(d.group.Authority)
	if err != nil {
		return document{}, err
	}
	if err := c.mayClaim(&d.group, claim); err != nil {
		return document{}, err
	}
	// The newest claim is lost with its place in the document: where whoever made it died before it was told, it is told now.
	listed, err := tellClaim(ctx, s, &d.group)
	if err != nil {
		return document{}, err
	}
	own, err := ownClaim(ctx, s, &d.group, claim, listed)
	if err != nil {
		return document{}, err
	}
	if own == nil {
		if own, err = claim.next(&d.group, listed); err != nil {
			return document{}, err
		}
		own.At = c.now().UTC()
	}
	next, changed, err := apply(d, func(g *topology.Group) error { g.Claimed = own; return nil })
	if err != nil {
		return document{}, err
	}
	if changed {
		if d, err = c.swap(ctx, d, next); err != nil {
			return document{}, err
		}
	}
	_, err = tellClaim(ctx, s, &d.group)
	return d, err
}

// mayClaim refuses who must not claim by what the group's document says.
func (c *Catalog) mayClaim(g *topology.Group, claim Claim) error {
	if err := Controls(g, c.Controller); err != nil {
		return err
	}
	held := g.Operation != nil && g.Operation.ID == claim.Operation
	switch {
	case held && g.Operation.GoesBack:
		return fault.Newf(fault.Fenced, "claim epoch", "operation %s of group %s has gone back", claim.Operation, g.Name)
	case held || !claim.Held:
		return nil
	}
	return fault.Newf(fault.Fenced, "claim epoch", "operation %s does not hold group %s any more", claim.Operation, g.Name).
		WithHint("It was taken for dead, and another one has taken over; see: smartdr operations --group %s", g.Name)
}

// next is the claim as the group's document will have it.
func (cl Claim) next(g *topology.Group, listed topology.Epoch) (*topology.Claimed, error) {
	newest := max(listed, g.NewestEpoch())
	first := newest + 1
	if g.Seized != nil {
		first = max(first, g.Seized.Epoch)
	}
	if cl.Epoch > first {
		return nil, fault.Newf(fault.Invalid, "claim epoch", "epoch %d of group %s cannot be claimed, since the newest is %d", cl.Epoch, cl.Group, newest)
	}
	return &topology.Claimed{Epoch: first, Region: cl.Region, Operation: cl.Operation, Claimant: cl.Claimant}, nil
}

// claimOf is the newest claim as its document tells it: the same bytes, whoever writes it.
func claimOf(g *topology.Group) Claim {
	n := g.Claimed
	return Claim{Format: format, Group: g.Name, Epoch: n.Epoch, Region: n.Region, Operation: n.Operation, Claimant: n.Claimant, ClaimedAt: n.At}
}

// tellClaim writes the document of the group's newest claim into a bucket, and of those that a seizure left out, so that
// whoever looks for the epoch after his own finds it. It returns the newest epoch that is told there.
func tellClaim(ctx context.Context, s objectstore.Store, g *topology.Group) (topology.Epoch, error) {
	listed, err := listEpochs(ctx, s, g.Name)
	if err != nil {
		return 0, err
	}
	newest := newestAmong(listed)
	if g.Claimed == nil || slices.Contains(listed, g.Claimed.Epoch) {
		return newest, nil
	}
	own := claimOf(g)
	if g.Seized != nil {
		for e := newest + 1; e < own.Epoch; e++ {
			if err := putClaim(ctx, s, skipped(g.Seized, own, e)); err != nil {
				return 0, err
			}
		}
	}
	return max(newest, own.Epoch), putClaim(ctx, s, own)
}

func putClaim(ctx context.Context, s objectstore.Store, claim Claim) error {
	b, err := encode(claim)
	if err != nil {
		return err
	}
	_, err = s.Put(ctx, epochKey(claim.Group, claim.Epoch), b, objectstore.PutOptions{IfAbsent: true})
	if !fault.Is(err, fault.Conflict) {
		return err
	}
	there, err := readClaim(ctx, s, claim.Group, claim.Epoch)
	if err == nil && there.Operation != claim.Operation {
		return diverged("write "+epochKey(claim.Group, claim.Epoch), claim, there)
	}
	return err
}

func diverged(op string, a, b Claim) error {
	return fault.Newf(fault.Diverged, op, "epoch %d of group %s is claimed twice: by operation %s for region %s, and by operation %s for region %s",
		a.Epoch, a.Group, a.Operation, a.Region, b.Operation, b.Region).
		WithHint("Two installations share a name, a bucket was written by hand, or both sides were made to decide: stop both and find out which one serves.")
}

// ownClaim returns the newest claim if it is the operation's, or says who holds the epoch that is asked for.
func ownClaim(ctx context.Context, s objectstore.Store, g *topology.Group, claim Claim, listed topology.Epoch) (*topology.Claimed, error) {
	newest := max(listed, g.NewestEpoch())
	for e := newest; e > 0 && e > newest-ownClaims; e-- {
		there, err := claimedAt(ctx, s, g, e)
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
			return &topology.Claimed{Epoch: e, Region: there.Region, Operation: there.Operation, Claimant: there.Claimant, At: there.ClaimedAt}, nil
		}
		if claim.Epoch == e {
			return nil, heldBy(there)
		}
	}
	return nil, nil
}

// ownClaims is how far back an operation's claim is looked for: one that is older has been followed by so many others that
// nobody goes on with it.
const ownClaims = 40

// claimedAt reads a claim; the newest one stands in the group's document, also before it was told.
func claimedAt(ctx context.Context, s objectstore.Store, g *topology.Group, e topology.Epoch) (Claim, error) {
	if g.Claimed != nil && g.Claimed.Epoch == e {
		return claimOf(g), nil
	}
	return readClaim(ctx, s, g.Name, e)
}

func superseded(group string, e, newest topology.Epoch) error {
	return fault.Newf(fault.Fenced, "claim epoch", "epoch %d of group %s was claimed, and epoch %d since", e, group, newest).
		WithHint("Another operation has taken over; see: smartdr operations --group %s", group)
}

func heldBy(c Claim) error {
	return fault.Newf(fault.Conflict, "claim epoch", "epoch %d of group %s is held by operation %s (%s) for region %s since %s",
		c.Epoch, c.Group, c.Operation, c.Claimant, c.Region, c.ClaimedAt.UTC().Format(time.RFC3339))
}
