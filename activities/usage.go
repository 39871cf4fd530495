package activities

import (
	"context"
	"errors"
	"time"

	"github.com/google/uuid"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/usage"
)

// countEvery is how often a worker adds what it has counted to its account: a worker that is killed loses the counts of
// that time. A PUT a minute would cost more than most of what it counts.
const countEvery = 5 * time.Minute

// KeepCounting adds what a meter counts to the accounts of this worker until it is told to stop; then once more.
func KeepCounting(site Site, m *usage.Meter) (stop func()) {
	b := newBookkeeper(site, m)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		b.run(ctx)
	}()
	return func() {
		cancel()
		<-done
		last, over := context.WithTimeout(context.Background(), soon)
		defer over()
		b.addAll(last)
	}
}

// bookkeeper keeps a worker's accounts, one for each group.
type bookkeeper struct {
	site   Site
	meter  *usage.Meter
	since  time.Time
	owed   map[string]counts   // taken from the meter, and in no addition yet
	trying map[string]addition // not known to have arrived
}

// counts are by the region of the bucket.
type counts map[string]topology.Requests

// addition keeps its ID until it has arrived, so that it is made once.
type addition struct {
	id     string
	counts counts
}

func newBookkeeper(site Site, m *usage.Meter) *bookkeeper {
	return &bookkeeper{site: site, meter: m, since: time.Now(), owed: map[string]counts{}, trying: map[string]addition{}}
}

func (b *bookkeeper) run(ctx context.Context) {
	tick := time.NewTicker(countEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			b.addAll(ctx)
		}
	}
}

// addAll leaves what could not be added for the next time.
func (b *bookkeeper) addAll(ctx context.Context) {
	var errs []error
	for _, group := range b.meter.Groups() {
		errs = append(errs, b.add(ctx, group))
	}
	if err := errors.Join(errs...); err != nil {
		b.site.Log.WarnContext(ctx, "what was asked of the buckets is not in the accounts yet", "error", err)
	}
}

// add makes one addition, after the one before has arrived. What making it costs is counted too, and would call for another
// addition for ever: it is kept for the next one that has anything else to add.
func (b *bookkeeper) add(ctx context.Context, group string) error {
	if err := b.arrive(ctx, group); err != nil {
		return err
	}
	news := b.meter.Take(group)
	if len(news) == 0 {
		return nil
	}
	b.owe(group, news)
	b.trying[group] = addition{uuid.NewString(), b.owed[group]}
	delete(b.owed, group)
	err := b.arrive(ctx, group)
	b.owe(group, b.meter.Take(group))
	return err
}

// arrive makes the addition that is not known to have arrived, if there is one.
func (b *bookkeeper) arrive(ctx context.Context, group string) error {
	a, there := b.trying[group]
	if !there {
		return nil
	}
	now := time.Now().UTC()
	err := b.site.Catalog.AddUsage(ctx, group, b.site.Region, b.site.Host, a.id, func(u *topology.Usage) {
		if u.Since.IsZero() {
			u.Since = b.since.UTC()
		}
		u.UpdatedAt = now
		for bucket, r := range a.counts {
			u.Add(bucket, r, now)
		}
	})
	if err == nil {
		delete(b.trying, group)
	}
	return err
}

func (b *bookkeeper) owe(group string, more counts) {
	if b.owed[group] == nil {
		b.owed[group] = counts{}
	}
	for bucket, r := range more {
		b.owed[group][bucket] = b.owed[group][bucket].Plus(r)
	}
}

const (
	// storedFresh is how old what is known of the buckets' contents may be: what it costs to list a large group rules.
	storedFresh = time.Hour
	// listAtMost bounds what a listing may cost: a thousand requests, half a US cent.
	listAtMost = 1_000_000
)

// MeasureStored lists what the buckets hold of a group and announces it, unless somebody did within the last hour. A bucket
// that does not answer is left out.
func (c *Control) MeasureStored(ctx context.Context, in ReadGroupInput) (MeasureStoredResult, error) {
	p := beat(ctx)
	defer p.end()
	all, err := c.Catalog.Stored(ctx, in.Group)
	if err != nil && !fault.Is(err, fault.Missing) {
		return MeasureStoredResult{}, judge(ctx, err)
	}
	if fresh(all, time.Now()) {
		c.Metrics.Stored(in.Group, all)
		return MeasureStoredResult{all}, nil
	}
	loaded, err := c.Catalog.Load(ctx, in.Group)
	if err != nil {
		return MeasureStoredResult{}, judge(ctx, err)
	}
	g := loaded.Group
	if all, err = c.list(ctx, g); err != nil {
		return MeasureStoredResult{}, judge(ctx, err)
	}
	c.Metrics.Stored(g.Name, all)
	return MeasureStoredResult{all}, judge(ctx, c.Catalog.PutStored(ctx, g.Name, g.Epoch, all))
}

func fresh(all []topology.Stored, now time.Time) bool {
	for _, s := range all {
		if now.Sub(s.ListedAt) >= storedFresh {
			return false
		}
	}
	return len(all) > 0
}

func (c *Control) list(ctx context.Context, g topology.Group) (all []topology.Stored, err error) {
	for _, region := range []string{g.Primary, g.Secondary} {
		if region == "" {
			continue
		}
		store, openErr := c.store(region)
		if openErr != nil {
			return nil, openErr
		}
		s, listErr := usage.List(ctx, store, region, g.Name, listAtMost, time.Now())
		if listErr != nil {
			err = errors.Join(err, listErr)
			continue
		}
		all = append(all, s)
	}
	if len(all) == 0 {
		return nil, err
	}
	return all, nil
}
