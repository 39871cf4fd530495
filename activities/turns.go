package activities

import (
	"context"
	"sync"
	"time"

	"go.temporal.io/sdk/activity"
)

// turns makes sure that one process ships a workspace once: an attempt that Temporal gave up, because it was away
// itself, may still be at it when the next one begins.
type turns struct {
	mu   sync.Mutex
	open map[string]*turnHolder
}

type turnHolder struct {
	cancel context.CancelFunc
	done   chan struct{}
}

// take ends the turn that holds key, waits for its end, and begins one whose context is returned. release ends it.
func (t *turns) take(ctx context.Context, key string) (context.Context, func(), error) {
	for {
		older, mine := t.try(key)
		if older == nil {
			ctx, cancel := context.WithCancel(ctx)
			stop := context.AfterFunc(mine.ctx, cancel)
			return ctx, func() { stop(); cancel(); t.release(key, mine.turnHolder) }, nil
		}
		older.cancel()
		select {
		case <-older.done:
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		}
	}
}

// heldTurn is a turn of ours, with the context that ends when it is taken away.
type heldTurn struct {
	*turnHolder
	ctx context.Context
}

func (t *turns) try(key string) (older *turnHolder, mine heldTurn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if older := t.open[key]; older != nil {
		return older, heldTurn{}
	}
	if t.open == nil {
		t.open = map[string]*turnHolder{}
	}
	ctx, cancel := context.WithCancel(context.Background())
	h := &turnHolder{cancel: cancel, done: make(chan struct{})}
	t.open[key] = h
	return nil, heldTurn{h, ctx}
}

func (t *turns) release(key string, h *turnHolder) {
	t.mu.Lock()
	defer t.mu.Unlock()
	h.cancel()
	delete(t.open, key)
	close(h.done)
}

// end is why a turn ended, for the result.
type end string

const (
	turnOver    end = "turn over"
	workerStops end = "worker stops"
	takenAway   end = "taken away"
)

// endOfTurn waits until a turn should end: its time is over and Temporal is there to order the next one, or the worker
// stops, or ctx is done.
func endOfTurn(ctx context.Context, turn time.Duration, answers func(context.Context) error) end {
	timer := time.NewTimer(turn)
	defer timer.Stop()
	for {
		select {
		case <-activity.GetWorkerStopChannel(ctx):
			return workerStops
		case <-ctx.Done():
			return takenAway
		case <-timer.C:
			if answers(ctx) == nil {
				return turnOver
			}
			timer.Reset(heartbeatEvery)
		}
	}
}
