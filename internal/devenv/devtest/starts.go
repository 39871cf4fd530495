package devtest

import (
	"context"
	"time"

	"go.temporal.io/api/enums/v1"

	"github.com/smartdr/smartdr/internal/devenv"
)

// EachActivity calls strike once for each activity type of a workflow, when the activity has just been scheduled. It follows
// the workflow's history, so that no step is too short to be seen, also over Temporal's restarts, and ends with ctx.
func EachActivity(ctx context.Context, t *devenv.Temporal, workflowID string, strike func(activity string)) {
	EachStart(ctx, t, workflowID, time.Time{}, func(activity string, k int) {
		if k == 1 {
			strike(activity)
		}
	})
}

// EachStart calls strike for each activity that a workflow schedules after since, in whichever of its runs, with how many of that
// type there were, this one included. It follows the history as EachActivity does, and ends with ctx.
func EachStart(ctx context.Context, t *devenv.Temporal, workflowID string, since time.Time, strike func(activity string, k int)) {
	seen := map[started]bool{}
	count := map[string]int{}
	for ctx.Err() == nil {
		began := time.Now()
		scheduled(ctx, t, workflowID, func(a started) {
			if a.at.Before(since) || seen[a] {
				return
			}
			seen[a] = true
			count[a.activity]++
			strike(a.activity, count[a.activity])
		})
		select { // Temporal was away, the workflow is not there yet, or it has ended and may be run again
		case <-ctx.Done():
		case <-time.After(min(max(20*time.Millisecond, 2*time.Since(began)), 100*time.Millisecond)):
		}
	}
}

// started is one activity of one run.
type started struct {
	activity string
	event    int64
	at       time.Time
}

// scheduled reads the history of the newest run until it ends or Temporal does.
func scheduled(ctx context.Context, t *devenv.Temporal, workflowID string, tell func(started)) {
	c, err := t.Dial(ctx)
	if err != nil {
		return // tried again
	}
	defer c.Close()
	events := c.GetWorkflowHistory(ctx, workflowID, "", true, enums.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for events.HasNext() {
		e, err := events.Next()
		if err != nil {
			return // tried again
		}
		if a := e.GetActivityTaskScheduledEventAttributes(); a != nil {
			tell(started{a.GetActivityType().GetName(), e.GetEventId(), e.GetEventTime().AsTime()})
		}
	}
}
