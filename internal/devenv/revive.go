package devenv

import (
	"context"

	"golang.org/x/sync/errgroup"
)

// ReviveRegion starts everything of a region that was killed as a data centre would that has its power back: the object store, the
// workers, and the adopted server by its own service manager, all at the same time. What SmartDR runs is its workers' to start.
func (e *Env) ReviveRegion(ctx context.Context, name string) error {
	g, ctx := errgroup.WithContext(ctx)
	r := e.Regions[name]
	g.Go(func() error { return r.Gateway.Restart(ctx) })
	g.Go(func() error { return r.StartWorker(ctx, e.Temporal) })
	if name == Primary && e.Server != nil {
		g.Go(func() error { return e.Server.Start(ctx) })
	}
	return g.Wait()
}

// RestartWorkers kills a region's workers and starts them again. The servers that they made live on.
func (r *Region) RestartWorkers(ctx context.Context, t *Temporal) error {
	for _, h := range r.Hosts {
		if h.Worker != nil {
			if err := h.Worker.Kill(); err != nil {
				return err
			}
		}
	}
	return r.StartWorker(ctx, t)
}

// KillServers kills the servers that the region's workers have made. Starting those again that ought to run is the workers'.
func (r *Region) KillServers(ctx context.Context) error {
	servers, err := r.Servers()
	if err != nil {
		return err
	}
	for _, s := range servers {
		if err := s.Kill(ctx); err != nil {
			return err
		}
	}
	return nil
}
