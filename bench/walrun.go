package main

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
)

// measureWAL lets the server write alone, ships what has piled up, then ships while the server writes as fast as it can,
// then at a light load. All lags are the other region's bucket's.
func (r *run) measureWAL(ctx context.Context) error {
	m := r.place.meter()
	alone, err := r.place.load(ctx, r.load, writers)
	if err != nil {
		return err
	}
	r.rec.explain("the server writing without a shipper", m.stop(0))
	if err := r.backlog(ctx, alone); err != nil {
		return fmt.Errorf("drain a backlog: %w", err)
	}
	if err := r.fullLoad(ctx, alone); err != nil {
		return fmt.Errorf("full load: %w", err)
	}
	if err := r.lightLoad(ctx); err != nil {
		return fmt.Errorf("light load: %w", err)
	}
	return nil
}

// shipping is a shipper at work.
type shipping struct {
	*child
	*track
}

func (r *run) ship(ctx context.Context) (shipping, error) {
	t := newTrack(r.other().Region)
	c, err := r.start(ctx, "ship", shipInput{r.source, r.slot, r.lineage, r.buckets()}, t.heard)
	return shipping{c, t}, err
}

// backlog ships what a server that is idle now wrote while nobody shipped.
func (r *run) backlog(ctx context.Context, alone loaded) error {
	began := time.Now()
	s, err := r.ship(ctx)
	if err != nil {
		return err
	}
	at, err := s.track.wait(ctx, alone.end)
	if err != nil {
		return err
	}
	c, err := s.stop(new(struct{}))
	if err != nil {
		return err
	}
	bytes := float64(alone.end - r.lineage.Start.LSN)
	const name = "WAL, a backlog shipped to both buckets"
	r.rec.add(name, "MB/s of WAL", bytes/at.Sub(began).Seconds()/mega)
	r.rec.add(name+": its CPU", "s/GB", c.CPU/(bytes/giga))
	r.rec.add("stored for 1 GB of WAL, in each bucket", "MB", float64(s.sent)/2/mega/(bytes/giga))
	r.rec.explain(name, c)
	r.end = alone.end
	return nil
}

// shipped runs a load beside a shipper that has caught up.
func (r *run) shipped(ctx context.Context, writers int) (l loaded, s shipping, c cost, drained time.Time, err error) {
	if s, err = r.ship(ctx); err != nil {
		return
	}
	if _, err = s.track.wait(ctx, r.end); err != nil {
		return
	}
	looking, enough := context.WithCancel(ctx)
	defer enough()
	var looker errgroup.Group
	looker.Go(func() error {
		n, err := s.check(looking, r.other(), r.lineage)
		r.rec.Checks += n
		return err
	})
	if l, err = r.place.load(ctx, r.load, writers); err != nil {
		return
	}
	if drained, err = s.track.wait(ctx, l.end); err != nil {
		return
	}
	enough()
	if err = looker.Wait(); err != nil {
		return
	}
	r.end = l.end
	c, err = s.stop(new(struct{}))
	return
}

func (r *run) fullLoad(ctx context.Context, alone loaded) error {
	l, s, c, drained, err := r.shipped(ctx, writers)
	if err != nil {
		return err
	}
	const name = "WAL, full load"
	r.rec.addBeside(name+": written and shipped", "MB/s of WAL", l.rate(), "the server writing without a shipper", alone.rate())
	r.rec.add(name+": the shipper's CPU", "s/GB", c.CPU/(l.bytes/giga))
	behind := float64(l.end - s.heldAt(l.at))
	r.rec.add(name+": behind at the end", "MB", behind/mega)
	r.rec.add(name+": behind at the end, as time", "s of that load", behind/mega/l.rate())
	r.rec.add(name+": drained after", "s", max(0, drained.Sub(l.at).Seconds()))
	r.rec.explain(name, c)
	return r.addLags(name, l, s)
}

func (r *run) lightLoad(ctx context.Context) error {
	l, s, c, _, err := r.shipped(ctx, 0)
	if err != nil {
		return err
	}
	const name = "WAL, a commit every 100 ms"
	r.rec.add(name+": the shipper's CPU", "% of a core", 100*c.CPU/c.Seconds)
	r.rec.explain(name, c)
	return r.addLags(name, l, s)
}

func (r *run) addLags(name string, l loaded, s shipping) error {
	seconds, missing := lags(l.commits, s.samples())
	if missing > 0 || len(seconds) == 0 {
		return fmt.Errorf("%d of %d commits never arrived in the bucket", missing, len(l.commits))
	}
	r.rec.add(name+": lag p50", "s", percentile(seconds, 0.5))
	r.rec.add(name+": lag p99", "s", percentile(seconds, 0.99))
	r.rec.add(name+": lag max", "s", percentile(seconds, 1))
	return nil
}
