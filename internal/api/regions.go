package api

import (
	"context"
	"sync"

	enumspb "go.temporal.io/api/enums/v1"

	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/workflows"
)

// Regions returns the configured regions, sorted by name, and asks each bucket for an answer.
func (s *Service) Regions(ctx context.Context) []Region {
	names := s.cfg.RegionNames()
	regions := make([]Region, len(names))
	var all sync.WaitGroup
	for i, name := range names {
		all.Go(func() { regions[i] = s.region(ctx, name) })
	}
	all.Wait()
	s.countWorkers(ctx, regions)
	return regions
}

func (s *Service) region(ctx context.Context, name string) Region {
	r := Region{Name: name}
	cfg, err := s.cfg.Region(name)
	if err == nil {
		r.Provider, r.Bucket, r.Endpoint = cfg.Provider, cfg.Bucket, cfg.Endpoint
		err = s.answers(ctx, name)
	}
	r.Reachable = err == nil
	if err != nil {
		r.Error = err.Error()
	}
	return r
}

// answers asks a bucket for the first of its groups.
func (s *Service) answers(ctx context.Context, region string) error {
	store, err := s.store(ctx, region)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, s.bucketTimeout())
	defer cancel()
	return listOne(ctx, store)
}

func listOne(ctx context.Context, store objectstore.Store) error {
	for _, err := range store.List(ctx, "groups/", "") {
		return err
	}
	return nil
}

// countWorkers fills in how many workers each region has, if Temporal answers.
func (s *Service) countWorkers(ctx context.Context, regions []Region) {
	c, err := s.dial(ctx)
	if err != nil {
		s.opts.Log.DebugContext(ctx, "workers are not counted", "error", err)
		return
	}
	for i, r := range regions {
		n, err := s.workers(ctx, c, workflows.RegionQueue(r.Name), enumspb.TASK_QUEUE_TYPE_ACTIVITY)
		if err == nil {
			regions[i].Workers = &n
		}
	}
}

// RegionNames returns the configured regions, sorted.
func (s *Service) RegionNames() []string { return s.cfg.RegionNames() }
