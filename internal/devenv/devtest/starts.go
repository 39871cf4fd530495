package devtest

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/serviceerror"

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
	eachStart(ctx, ctx, t, workflowID, since, strike)
}

// During does something, and strikes meanwhile as EachStart does. What was scheduled right before the end of it is struck after that: nothing
// is left out because the machine was busy. A strike gets a context that lasts until the test ends: what it kills it also starts again.
func During(t testing.TB, server *devenv.Temporal, workflowID string, strike func(ctx context.Context, activity string, k int), do func()) {
	t.Helper()
	ctx, giveUp := context.WithCancel(t.Context())
	going, over := context.WithCancel(ctx)
	var striker sync.WaitGroup
	since := time.Now()
	striker.Go(func() {
		eachStart(ctx, going, server, workflowID, since, func(activity string, k int) { strike(t.Context(), activity, k) })
	})
	defer giveUp()
	defer striker.Wait()
	defer func() { over(); time.AfterFunc(Patience, giveUp) }() // whoever keeps the history may not answer any more
	do()
}

// eachStart follows the history while going is not done, and then reads it to its end, unless ctx is done.
func eachStart(ctx, going context.Context, t *devenv.Temporal, workflowID string, since time.Time, strike func(activity string, k int)) {
	seen := map[started]bool{}
	count := map[string]int{}
	for ctx.Err() == nil {
		began, last, reading := time.Now(), going.Err() != nil, going
		if last {
			reading = ctx
		}
		err := scheduled(reading, t, workflowID, !last, func(a started) {
			if a.at.Before(since) || seen[a] {
				return
			}
			seen[a] = true
			count[a.activity]++
			strike(a.activity, count[a.activity])
		})
		if none := new(serviceerror.NotFound); last && (err == nil || errors.As(err, &none)) {
			return
		}
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

// scheduled reads the history of the newest run: as far as it goes, or, to follow it, until it ends. An error says that there may be more.
func scheduled(ctx context.Context, t *devenv.Temporal, workflowID string, follow bool, tell func(started)) error {
	c, err := t.Dial(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	events := c.GetWorkflowHistory(ctx, workflowID, "", follow, enums.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for events.HasNext() {
		e, err := events.Next()
		if err != nil {
			return err
		}
		if a := e.GetActivityTaskScheduledEventAttributes(); a != nil {
			tell(started{a.GetActivityType().GetName(), e.GetEventId(), e.GetEventTime().AsTime()})
		}
	}
	return nil
}
