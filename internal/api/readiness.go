package api

import (
	"context"
	"time"

	"go.temporal.io/sdk/client"

	"github.com/smartdr/smartdr/internal/readiness"
	"github.com/smartdr/smartdr/internal/topology"
)

// Readiness checks now whether a failover would work. It reads the buckets with the keys of this process, and writes
// nothing; Temporal and workers need not be there, which is then among what it says.
func (s *Service) Readiness(ctx context.Context, group string) (topology.Readiness, error) {
	if err := topology.CheckName("group", group); err != nil {
		return topology.Readiness{}, err
	}
	c, err := s.openCatalog(ctx)
	if err != nil {
		return topology.Readiness{}, err
	}
	return readiness.Check(ctx, readiness.Inputs{Catalog: c, Stores: c.Stores, Group: group, Temporal: s.temporalAnswers, Now: s.opts.Now})
}

// LastReadiness returns what the workers' regular check found last; fault.Missing when there was none.
func (s *Service) LastReadiness(ctx context.Context, group string) (topology.Readiness, error) {
	if err := topology.CheckName("group", group); err != nil {
		return topology.Readiness{}, err
	}
	c, err := s.openCatalog(ctx)
	if err != nil {
		return topology.Readiness{}, err
	}
	return c.Readiness(ctx, group)
}

func (s *Service) temporalAnswers(ctx context.Context) error {
	c, err := s.dial(ctx)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	_, err = c.CheckHealth(ctx, &client.CheckHealthRequest{})
	return err
}
