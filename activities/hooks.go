package activities

import (
	"context"
	"slices"
	"time"

	"go.temporal.io/sdk/activity"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/hook"
)

// Hooks returns the hooks of this worker's configuration that want an event.
func (c *Control) Hooks(ctx context.Context, in HooksInput) ([]Hook, error) {
	p := beat(ctx)
	defer p.end()
	var all []Hook
	for _, h := range c.Site.Hooks {
		if h.Wants(in.Event, in.Group) || in.All && h.Serves(in.Group) {
			all = append(all, Hook{Name: h.Name, Region: h.Region, Host: h.Host})
		}
	}
	return all, nil
}

// DeliverEvent makes one attempt to deliver one event to one hook. What the receiver says of a failure may hold what is nobody
// else's, so it goes to the log of this host and not to Temporal.
func (c *Control) DeliverEvent(ctx context.Context, in DeliverEventInput) (DeliverEventResult, error) {
	p := beat(ctx)
	defer p.end()
	at := slices.IndexFunc(c.Site.Hooks, func(h hook.Hook) bool { return h.Name == in.Hook })
	if at < 0 {
		err := fault.Newf(fault.Missing, "deliver event", "the worker of host %s in region %s has no hook %s", c.Host, c.Region, in.Hook)
		return DeliverEventResult{}, judge(ctx, err.WithHint("Give all workers the same hooks, and start them anew."))
	}
	began := time.Now()
	answer, err := hook.Deliver(ctx, c.Site.Hooks[at], hook.Message{ID: in.ID, Type: in.Type, Body: in.Body})
	if err != nil {
		c.Log.WarnContext(ctx, "an event was not delivered", "hook", in.Hook, "event", in.Type, "id", in.ID, "error", err, "receiver", hook.OutputOf(err))
		return DeliverEventResult{}, judge(ctx, err)
	}
	return DeliverEventResult{
		Answer: answer, Seconds: time.Since(began).Seconds(), Attempt: activity.GetInfo(ctx).Attempt, Host: c.Host,
	}, nil
}
