package api

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/smartdr/smartdr/internal/catalog"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/usage"
)

const (
	// listForCost bounds what the report itself costs: fifty requests a bucket. Of what is larger, the workers' last listing
	// is shown.
	listForCost = 50_000
	listWithin  = 15 * time.Second
)

// Cost says what a group's object storage costs: what lies in the buckets now, and what workers have counted.
func (s *Service) Cost(ctx context.Context, group string) (topology.Cost, error) {
	if err := topology.CheckName("group", group); err != nil {
		return topology.Cost{}, err
	}
	c, err := s.openCatalog(ctx)
	if err != nil {
		return topology.Cost{}, err
	}
	loaded, err := c.Load(ctx, group)
	if err != nil {
		return topology.Cost{}, err
	}
	g := loaded.Group
	regions := []string{g.Primary}
	if g.Secondary != "" {
		regions = append(regions, g.Secondary)
	}
	b := usage.Books{Group: g, Prices: map[string]topology.Prices{}, Now: s.opts.Now()}
	var silent map[string]string
	b.Usage, silent = c.Usage(ctx, group, regions)
	b.Stored = s.stored(ctx, c, group, regions)
	for _, region := range regions {
		b.Prices[region] = s.cfg.Regions[region].Prices.Over(usage.AmazonPrices)
	}
	cost := usage.Compute(b)
	for _, region := range regions {
		if why := silent[region]; why != "" {
			cost.Notes = append(cost.Notes, fmt.Sprintf("The bucket of %s does not answer, and what the workers there counted is not known: %s.", region, why))
		}
	}
	return cost, nil
}

// stored lists the buckets now. Where that fails or is too much, what the workers listed last stands in.
func (s *Service) stored(ctx context.Context, c *catalog.Catalog, group string, regions []string) map[string]topology.Stored {
	ctx, cancel := context.WithTimeout(ctx, listWithin)
	defer cancel()
	out := map[string]topology.Stored{}
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, region := range regions {
		store := c.Stores[region]
		if store == nil {
			continue
		}
		wg.Go(func() {
			listed, err := usage.List(ctx, store, region, group, listForCost, s.opts.Now())
			if err != nil {
				s.opts.Log.DebugContext(ctx, "a bucket could not be listed", "region", region, "error", err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			out[region] = listed
		})
	}
	announced, err := c.Stored(ctx, group)
	wg.Wait()
	if err != nil {
		return out // nobody has listed yet, or nobody answers: then there is nothing to stand in
	}
	for _, a := range announced {
		if now, ok := out[a.Region]; !ok || now.Partial {
			out[a.Region] = a
		}
	}
	return out
}
