package api

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/workflows"
)

// TestedHooks is what became of a test event at each hook of a group.
type TestedHooks struct {
	Group      string               `json:"group"`
	Event      string               `json:"event"` // id
	Deliveries []workflows.Delivery `json:"deliveries"`
}

// Failed is how many hooks did not take the event.
func (t TestedHooks) Failed() (n int) {
	for _, d := range t.Deliveries {
		if !d.Delivered {
			n++
		}
	}
	return n
}

// TestHooks sends a test event to every hook of a group, once, whatever events it wants, and waits for the outcome. The workers deliver
// it, from where they would deliver others.
func (s *Service) TestHooks(ctx context.Context, group string) (TestedHooks, error) {
	g, err := s.Group(ctx, group)
	if err != nil {
		return TestedHooks{}, err
	}
	e := workflows.Event{
		ID: uuid.NewString(), Type: workflows.EventTest, At: s.opts.Now().UTC().Truncate(time.Millisecond), Group: g.Name, Region: g.Active, Epoch: g.Epoch,
		Message: fmt.Sprintf("A test of the hooks of group %s: nothing has happened.", g.Name),
	}
	out := TestedHooks{Group: g.Name, Event: e.ID}
	var result workflows.NotifyResult
	err = s.perform(ctx, workflows.NotifyID(g.Name, e.ID), workflows.NotifyType, "test of the hooks of "+g.Name, workflows.NotifyInput{Event: e}, &result)
	if err != nil {
		return out, err
	}
	if out.Deliveries = result.Deliveries; len(out.Deliveries) == 0 {
		return out, fault.Newf(fault.Missing, "test hooks", "the workers have no hook for group %s", g.Name).
			WithHint("Write one into their smartdr.yaml, under hooks, and start them anew; docs/hooks.md shows how.")
	}
	return out, nil
}
