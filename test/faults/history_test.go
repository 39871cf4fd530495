package faults_test

import (
	"context"
	"time"

	"go.temporal.io/api/enums/v1"

	"github.com/smartdr/smartdr/workflows"
)

// atEachPhase calls strike once for each activity type of the group's Failover, when the activity has just been
// scheduled. It follows the workflow's history, so that no phase is too short to be seen, and ends with ctx.
func (w *world) atEachPhase(ctx context.Context, strike func(activity string)) {
	seen := map[string]bool{}
	for ctx.Err() == nil {
		w.follow(ctx, func(activity string) {
			if !seen[activity] {
				seen[activity] = true
				strike(activity)
			}
		})
		// Temporal was away, or the workflow is not there yet.
		select {
		case <-ctx.Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// follow reads the history until it ends or Temporal does.
func (w *world) follow(ctx context.Context, scheduled func(activity string)) {
	c, err := w.env.Temporal.Dial(ctx)
	if err != nil {
		return // tried again
	}
	defer c.Close()
	events := c.GetWorkflowHistory(ctx, workflows.FailoverID(group), "", true, enums.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for events.HasNext() {
		e, err := events.Next()
		if err != nil {
			return // tried again
		}
		if a := e.GetActivityTaskScheduledEventAttributes(); a != nil {
			scheduled(a.GetActivityType().GetName())
		}
	}
}
