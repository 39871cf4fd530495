package activities

import (
	"context"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/restore"
	"github.com/smartdr/smartdr/internal/topology"
)

// running makes sure that a server runs which was promoted before, and returns it when it takes connections. One that
// died since is started as it was left, without another recovery or promotion: AttachBranch saved its settings and has
// seen the promotion count. A server whose epoch is over is left down.
func (t *Target) running(ctx context.Context, group, dir string, epoch topology.Epoch) (*postgres.Server, error) {
	attached, err := readState(dir, attachedFile, new(restore.Attached))
	if err != nil {
		return nil, err
	}
	if !attached {
		return nil, fault.Newf(fault.Missing, "find restored server", "%s holds no server that was promoted", dir).
			WithHint("the region's worker moved to another host or data folder: run the failover again")
	}
	s, err := postgres.Load(dir)
	if err != nil {
		return nil, err
	}
	if _, running := s.Running(ctx); !running {
		if err := t.Catalog.CheckEpoch(ctx, group, epoch); err != nil {
			return nil, err
		}
		t.Log.WarnContext(ctx, "the restored server has ended; starting it again", "instance", dir)
	}
	return s, s.Start(ctx) // one that runs already is only waited for
}

// runningIn returns the server that runs in an instance's folder; nil if none does.
func runningIn(ctx context.Context, dir string) (*postgres.Server, error) {
	s, err := postgres.Load(dir)
	if fault.Is(err, fault.Missing) {
		return nil, nil // nobody has started one
	}
	if err != nil {
		return nil, err
	}
	if _, running := s.Running(ctx); !running {
		return nil, nil
	}
	return s, nil
}

// stopInstance ends whatever runs in an instance's folder, also what outlived its server for a moment.
func stopInstance(ctx context.Context, dir string) error {
	s, err := postgres.Load(dir)
	if fault.Is(err, fault.Missing) {
		return nil // nobody has started one
	}
	if err != nil {
		return err
	}
	return stopAnyhow(ctx, s)
}
