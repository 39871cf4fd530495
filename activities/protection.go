package activities

import (
	"context"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
)

// ObserveProtection records that whether a group could fail over has changed. Changed is false when it was recorded before, by
// an attempt whose answer was lost, or was never otherwise.
func (c *Control) ObserveProtection(ctx context.Context, in ProtectionInput) (ProtectionResult, error) {
	p := beat(ctx)
	defer p.end()
	result, err := c.observeProtection(ctx, in)
	return result, judge(ctx, err)
}

func (c *Control) observeProtection(ctx context.Context, in ProtectionInput) (ProtectionResult, error) {
	before, err := c.Catalog.Protection(ctx, in.Group)
	first := fault.Is(err, fault.Missing)
	if err != nil && !first && !fault.Is(err, fault.Corrupt) {
		return ProtectionResult{}, err
	}
	if err == nil && before.Epoch > in.Found.Epoch {
		return ProtectionResult{Protection: before}, nil // somebody looked later
	}
	changed := before.Protected != in.Found.Protected // who was never protected does not cease to be
	return ProtectionResult{Protection: in.Found, Changed: changed}, c.Catalog.PutProtection(ctx, in.Group, in.Found)
}

// MoveAuthority lets the bucket of the region that does not serve decide, once that has everything: so that the next failover
// needs nothing of the region that is lost then. While an operation holds the group nothing moves, and what is not as it was
// found is looked at again.
func (c *Control) MoveAuthority(ctx context.Context, in MoveAuthorityInput) (topology.Group, error) {
	p := beat(ctx)
	defer p.end()
	u, err := c.Catalog.FollowAuthority(ctx, in.Group, in.To, in.Epoch)
	return u.Group, judge(ctx, err)
}
