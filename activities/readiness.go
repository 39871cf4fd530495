package activities

import (
	"context"
	"slices"
	"time"

	"go.temporal.io/sdk/client"

	"github.com/smartdr/smartdr/internal/readiness"
	"github.com/smartdr/smartdr/internal/topology"
)

// CheckReadiness finds out whether a failover would work now, announces the answer in the catalog, and shows it to whoever
// scrapes metrics. It also tries whether this worker may write to the buckets.
func (c *Control) CheckReadiness(ctx context.Context, in ReadGroupInput) (CheckReadinessResult, error) {
	p := beat(ctx)
	defer p.end()
	r, err := readiness.Check(ctx, readiness.Inputs{
		Catalog: c.Catalog, Stores: c.Stores, Group: in.Group, From: c.Region, Write: true, Temporal: c.temporalAnswers(),
	})
	if err != nil {
		return CheckReadinessResult{}, judge(ctx, err)
	}
	c.Metrics.Readiness(r)
	return summary(r), judge(ctx, c.Catalog.PutReadiness(ctx, r))
}

// temporalAnswers returns how to ask whether Temporal answers: it ordered this a moment ago, and may have gone since.
func (c *Control) temporalAnswers() func(context.Context) error {
	if c.Temporal == nil {
		return nil
	}
	return func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		_, err := c.Temporal.CheckHealth(ctx, &client.CheckHealthRequest{})
		return err
	}
}

// summaryItems keeps what goes into Temporal's history small.
const summaryItems = 12

func summary(r topology.Readiness) CheckReadinessResult {
	s := CheckReadinessResult{State: r.State, CheckedAt: r.CheckedAt}
	for _, i := range r.Items {
		if i.State != topology.ReadinessOK {
			s.Items = append(s.Items, i)
		}
	}
	slices.SortStableFunc(s.Items, func(a, b topology.ReadinessItem) int { return urgency(a) - urgency(b) })
	if n := len(s.Items) - summaryItems; n > 0 {
		s.Items, s.More = s.Items[:summaryItems], n
	}
	return s
}

func urgency(i topology.ReadinessItem) int {
	if i.State == topology.ReadinessBlocking {
		return 0
	}
	return 1
}
