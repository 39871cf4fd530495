package activities

import (
	"context"

	"github.com/smartdr/smartdr/internal/fault"
)

// Hooks returns the hooks of this worker's configuration that want an event.
func (c *Control) Hooks(ctx context.Context, in HooksInput) ([]Hook, error) {
	p := beat(ctx)
	defer p.end()
	return nil, nil
}

// DeliverEvent delivers one event to one hook.
func (c *Control) DeliverEvent(ctx context.Context, in DeliverEventInput) (DeliverEventResult, error) {
	p := beat(ctx)
	defer p.end()
	return DeliverEventResult{}, judge(ctx, fault.Newf(fault.Invalid, "deliver event", "not there yet"))
}
