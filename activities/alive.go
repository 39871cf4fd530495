package activities

import (
	"context"
	"sync"
	"time"

	"go.temporal.io/sdk/activity"
)

// heartbeatEvery is a quarter of the shortest heartbeat timeout. Workers must not hold heartbeats back for longer.
const heartbeatEvery = 2 * time.Second

// pulse tells Temporal that an activity lives, also while it waits for something, and what it is doing.
type pulse struct {
	mu     sync.Mutex
	detail any
	stop   context.CancelFunc
	done   chan struct{}
}

// beat starts a pulse. Its context ends when Temporal takes the activity away or the worker stops for good.
// The caller must call end.
func beat(ctx context.Context) *pulse {
	ctx, cancel := context.WithCancel(ctx)
	p := &pulse{stop: cancel, done: make(chan struct{})}
	go p.run(ctx)
	return p
}

func (p *pulse) run(ctx context.Context) {
	defer close(p.done)
	tick := time.NewTicker(heartbeatEvery)
	defer tick.Stop()
	for {
		p.mu.Lock()
		detail := p.detail
		p.mu.Unlock()
		activity.RecordHeartbeat(ctx, detail)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// say sets what the next heartbeat shows.
func (p *pulse) say(detail any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.detail = detail
}

func (p *pulse) end() {
	p.stop()
	<-p.done
}

// amount is the detail of a heartbeat that counts bytes.
type amount struct {
	Done      int64  `json:"done"`
	Total     int64  `json:"total"`
	Workspace string `json:"workspace,omitempty"` // where several may be at it
}
