package activities

import (
	"context"
	"time"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/ship"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

// end is where the lineage's WAL ends: where its server stood when the last of its clients was gone. Zero while it is not fenced, or
// fenced so that somebody may still write to it.
func (l leftServer) end() wal.Position {
	if l.fence.State != topology.FenceCommitted || l.fence.Worth != topology.FenceProven {
		return wal.Position{}
	}
	return l.fence.End
}

// leaky reports whether a server is fenced, and may be written to all the same: its tail has no end while it runs.
func (l leftServer) leaky() bool {
	return l.fence.State == topology.FenceCommitted && l.fence.Worth == topology.FenceBestEffort
}

// open says why more may come.
func (l leftServer) open() error {
	if !l.leaky() {
		return fault.Newf(fault.Transient, "ship tail", "the server is not fenced yet, and may write more")
	}
	return fault.Newf(fault.Transient, "ship tail", "the server's fence is best effort, and others may still write to it: %s", l.fence.Reason)
}

// lacking says what a tail that came to its end lacks.
func (l leftServer) lacking(w *ship.WAL, b ship.Brought) error {
	for i, d := range w.Destinations {
		if b.End.LSN != 0 && !b.In(i) {
			return fault.Newf(fault.Transient, "ship tail", "the bucket of region %s does not have all of it yet", d.Region)
		}
	}
	return l.open()
}

// fencedEnd returns what tells where a server's WAL ends, once it is fenced.
func (s *Source) fencedEnd(left *leftServer) func(context.Context) (wal.Position, error) {
	var asked time.Time
	return func(ctx context.Context) (wal.Position, error) {
		if end := left.end(); end.LSN != 0 || time.Since(asked) < askFence {
			return end, nil
		}
		asked = time.Now()
		f, err := s.Catalog.Fence(ctx, left.group.Name, left.Workspace, left.Lineage.ID)
		if err != nil && !fault.Is(err, fault.Missing) {
			return wal.Position{}, err
		}
		left.fence = f
		return left.end(), nil
	}
}
