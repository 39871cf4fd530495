package main

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"go.temporal.io/sdk/worker"
)

// pollAgain is the pause before Temporal is asked again to be polled.
const pollAgain = 2 * time.Second

// poll starts the workers that begin makes, with new ones again and again until Temporal takes all of them or ctx is done: a Temporal that is
// away for a moment ends no process that ships WAL without it. It returns what stops them.
func poll(ctx context.Context, logger *slog.Logger, begin func() []worker.Worker) (stop func()) {
	for {
		stop, err := start(begin())
		if err == nil {
			return stop
		}
		logger.WarnContext(ctx, "Temporal cannot be polled; trying again", "error", err)
		select {
		case <-time.After(pollAgain):
		case <-ctx.Done():
			return func() {}
		}
	}
}

// start starts all workers, or none. They are stopped the last one first.
func start(workers []worker.Worker) (stop func(), err error) {
	var started []worker.Worker
	stop = func() {
		for _, w := range slices.Backward(started) {
			w.Stop()
		}
	}
	for _, w := range workers {
		if err := w.Start(); err != nil {
			stop()
			return nil, err
		}
		started = append(started, w)
	}
	return stop, nil
}
