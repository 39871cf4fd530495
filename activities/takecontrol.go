package activities

import (
	"context"

	"github.com/smartdr/smartdr/internal/catalog"
	"github.com/smartdr/smartdr/internal/topology"
)

// TakeControl makes this worker's control plane the only one that acts for a group.
func (t *Target) TakeControl(ctx context.Context, in TakeControlInput) (topology.Group, error) {
	p := beat(ctx)
	defer p.end()
	u, err := t.Catalog.TakeControl(ctx, in.Group, catalog.Takeover{Controller: t.Controller, By: in.By, Region: t.Region, Force: in.Force})
	return u.Group, judge(ctx, err)
}
