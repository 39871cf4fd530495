package activities

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/smartdr/smartdr/internal/archive"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/ship"
	"github.com/smartdr/smartdr/internal/topology"
)

// mergeEvery is how long small segments stay small: one a second becomes one a minute.
const mergeEvery = time.Minute

// ShipSegments streams WAL to both buckets for one turn, or longer while Temporal is away.
func (s *Source) ShipSegments(ctx context.Context, in SourceInput) (ShipSegmentsResult, error) {
	p := beat(ctx)
	defer p.end()
	result, err := s.ship(ctx, in, p)
	if fault.Is(err, fault.Fenced) {
		s.over.ring()
	}
	return result, judge(ctx, s.standstill(ctx, in, err))
}

func (s *Source) ship(ctx context.Context, in SourceInput, p *pulse) (ShipSegmentsResult, error) {
	ctx, done := lasting(ctx, s.Answers)
	defer done()
	shipping, release, err := s.turns.take(ctx, in.Group+"/"+in.Workspace)
	if err != nil {
		return ShipSegmentsResult{}, err
	}
	defer release()
	sub, err := s.subject(shipping, in)
	if err != nil {
		return ShipSegmentsResult{}, err
	}
	l, err := sub.lineage(in.Epoch)
	if err != nil {
		return ShipSegmentsResult{}, err
	}
	shipper := s.shipper(in, sub, l, p)
	if shipper.Announced, err = s.Catalog.WALProgress(ctx, in.Group, in.Workspace); err != nil && !fault.Is(err, fault.Missing) {
		s.Log.WarnContext(ctx, "what was announced of the workspace is not known", "group", in.Group, "workspace", in.Workspace, "error", err)
	}
	reason, err := s.runTurn(shipping, in.turn(), shipper.Run)
	return ShipSegmentsResult{Lineage: l.ID, Reason: string(reason)}, err
}

// runTurn runs something endless until its turn ends, and waits for it.
func (s *Source) runTurn(ctx context.Context, turn time.Duration, run func(context.Context) error) (end, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var reason end
	var watch sync.WaitGroup
	watch.Go(func() {
		reason = endOfTurn(ctx, turn, s.Answers)
		cancel()
	})
	err := run(ctx)
	cancel()
	watch.Wait()
	return reason, err
}

func (s *Source) shipper(in SourceInput, sub subject, l topology.Lineage, p *pulse) *ship.WAL {
	return &ship.WAL{
		Source: sub.source, Slot: slotName(in.Group, in.Workspace),
		Group: in.Group, Workspace: in.Workspace, Lineage: l, Epoch: in.Epoch, Destinations: sub.to,
		Announce: func(ctx context.Context, w topology.WALProgress) error {
			s.Metrics.WAL(in.Group, in.Workspace, w)
			p.say(w)
			return s.Catalog.PutWALProgress(ctx, in.Group, in.Workspace, w)
		},
		Fenced: s.turnOver(in.Group, in.Epoch),
		Log:    s.Log.With("group", in.Group, "workspace", in.Workspace, "lineage", l.ID),
	}
}

// MergeSegments makes larger objects of small ones, every minute for one turn; at the turn's beginning also of what earlier lineages have left.
func (s *Source) MergeSegments(ctx context.Context, in SourceInput) error {
	begun := false
	return s.everySoOften(ctx, in, mergeEvery, func(ctx context.Context, in SourceInput, sub subject) error {
		defer func() { begun = true }()
		return s.merge(ctx, in, sub, !begun)
	})
}

// merge does so once. A bucket that does not answer does not hold up the others.
func (s *Source) merge(ctx context.Context, in SourceInput, sub subject, earlier bool) (first error) {
	now, err := sub.lineage(in.Epoch)
	if err != nil {
		return err
	}
	for _, l := range sub.workspace.Lineages {
		ended := l.ID != now.ID
		if ended && !earlier {
			continue
		}
		for _, d := range sub.to {
			err := archive.Open(d.Store, in.Group, in.Workspace, l.ID).MergeSmall(ctx, int64(now.SegmentSize), ended)
			if err != nil && first == nil {
				first = describe(err, "the bucket of region %q", d.Region)
			}
		}
	}
	return first
}

// everySoOften does something at once and then in intervals, until the turn is over.
func (s *Source) everySoOften(ctx context.Context, in SourceInput, every time.Duration, do func(context.Context, SourceInput, subject) error) error {
	p := beat(ctx)
	defer p.end()
	_, err := s.runTurn(ctx, in.turn(), func(ctx context.Context) error {
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			sub, err := s.subject(ctx, in)
			if err == nil {
				err = do(ctx, in, sub)
			}
			if err != nil && ctx.Err() == nil {
				return err
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
				return nil
			}
		}
	})
	return judge(ctx, err)
}

// describe says in front of an error what it is about, and keeps its kind and hint.
func describe(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return fault.Newf(fault.KindOf(err), fmt.Sprintf(format, args...), "%w", err)
}
