package activities

import (
	"context"
	"errors"
	"time"

	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/temporal"
)

// handover is how long an activity that Temporal has lost sight of goes on after Temporal answers again: the next attempt
// takes it over meanwhile, if it comes to this process.
const handover = 20 * time.Second

// lasting returns a context that outlives Temporal's silence. The SDK ends an activity's own context as soon as a heartbeat
// fails, also when merely nobody answered. This one goes on until Temporal answers, and for a handover after that;
// it ends at once when Temporal says that the activity is over, or when the worker stops for good.
func lasting(ctx context.Context, answers func(context.Context) error) (context.Context, context.CancelFunc) {
	last, cancel := context.WithCancel(context.WithoutCancel(ctx))
	go func() {
		defer cancel()
		select {
		case <-last.Done():
			return
		case <-ctx.Done():
		}
		if silence(context.Cause(ctx)) {
			awaitAnswer(last, answers)
			pauseFor(last, handover)
		}
	}()
	return last, cancel
}

// silence reports whether a context ended because Temporal did not answer, and not because it said so.
func silence(cause error) bool {
	var canceled *temporal.CanceledError
	var gone *serviceerror.NotFound
	var inactive *serviceerror.NamespaceNotActive
	var unknown *serviceerror.NamespaceNotFound
	switch {
	case cause == nil, errors.Is(cause, context.Canceled), errors.Is(cause, activity.ErrActivityPaused), errors.Is(cause, activity.ErrActivityReset):
		return false
	}
	return !errors.As(cause, &canceled) && !errors.As(cause, &gone) && !errors.As(cause, &inactive) && !errors.As(cause, &unknown)
}

// awaitAnswer asks Temporal until it answers or ctx is done.
func awaitAnswer(ctx context.Context, answers func(context.Context) error) {
	for ctx.Err() == nil && answers(ctx) != nil {
		pauseFor(ctx, heartbeatEvery)
	}
}

func pauseFor(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
