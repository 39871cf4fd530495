package activities

import (
	"context"

	"github.com/smartdr/smartdr/internal/topology"
)

// ObserveProtection records that whether a group could fail over has changed.
func (c *Control) ObserveProtection(ctx context.Context, in ProtectionInput) (ProtectionResult, error) {
	p := beat(ctx)
	defer p.end()
	return ProtectionResult{}, judge(ctx, c.Catalog.PutProtection(ctx, in.Group, in.Found))
}

// MoveAuthority lets the bucket of the region that does not serve decide, once that has everything.
func (c *Control) MoveAuthority(ctx context.Context, in MoveAuthorityInput) (topology.Group, error) {
	p := beat(ctx)
	defer p.end()
	u, err := c.Catalog.MoveAuthority(ctx, in.Group, in.To, nil)
	return u.Group, judge(ctx, err)
}
