package activities

import (
	"context"
	"errors"
	"time"

	"go.temporal.io/sdk/temporal"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/hook"
	"github.com/smartdr/smartdr/internal/ship"
)

// holeType is the failure type of a *ship.Hole; workflows decide by it.
const holeType = "Hole"

// fullPause is how long to wait for somebody to make room on a disk.
const fullPause = time.Minute

// judge turns an error into what Temporal acts on: the fault's kind as type, whether trying again can help, and the
// hint as detail. It is the last thing that happens to an error, since wrapping its result would make it
// retryable again.
func judge(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil && errors.Is(context.Cause(ctx), context.Canceled) {
		return temporal.NewCanceledError()
	}
	var hole *ship.Hole
	if errors.As(err, &hole) {
		return temporal.NewNonRetryableApplicationError(err.Error(), holeType, nil, "")
	}
	kind := fault.KindOf(err)
	options := temporal.ApplicationErrorOptions{NonRetryable: final(kind), Details: []any{fault.HintOf(err)}}
	if kind == fault.Full {
		options.NextRetryDelay = fullPause
	}
	var later *hook.Later
	if errors.As(err, &later) {
		options.NextRetryDelay = later.Wait
	}
	return temporal.NewApplicationErrorWithOptions(err.Error(), string(kind), options)
}

// final reports whether trying again cannot help.
func final(kind fault.Kind) bool {
	switch kind {
	case fault.Invalid, fault.Taken, fault.Fenced, fault.Diverged, fault.Corrupt, fault.Missing:
		return true
	}
	return false
}
