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
