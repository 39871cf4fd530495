package activities

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/fence"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/ship"
	"github.com/smartdr/smartdr/internal/snapshot"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

// TakeSnapshot takes a snapshot of the current lineage, unless a bucket holds one that is young enough.
func (s *Source) TakeSnapshot(ctx context.Context, in TakeSnapshotInput) (TakeSnapshotResult, error) {
	p := beat(ctx)
	defer p.end()
	result, err := s.takeSnapshot(ctx, in, p)
	return result, judge(ctx, s.standstill(ctx, in.SourceInput, err))
}

func (s *Source) takeSnapshot(ctx context.Context, in TakeSnapshotInput, p *pulse) (TakeSnapshotResult, error) {
	sub, err := s.subject(ctx, in.SourceInput)
	if err != nil {
		return TakeSnapshotResult{}, err
	}
	l, err := sub.lineage(in.Epoch)
	if err != nil {
		return TakeSnapshotResult{}, err
	}
	inv, err := ship.Look(ctx, sub.source, sub.choice())
	if err != nil {
		return TakeSnapshotResult{}, err
	}
	ask := snapshotAsk{TakeSnapshotInput: in, asked: time.Now(), subject: sub, lineage: l.ID, inventory: inv}
	last, there, err := s.there(ctx, ask)
	if err != nil || there {
		return last.TakeSnapshotResult, err
	}
	if err := s.unfenced(ctx, in.SourceInput, sub, l); err != nil {
		return TakeSnapshotResult{}, err
	}
	session, waited, err := s.alone(ctx, in.SourceInput, sub, p)
	if err != nil {
		return TakeSnapshotResult{}, err
	}
	defer hangUp(ctx, session)
	if waited {
		if last, there, err = s.there(ctx, ask); err != nil || there {
			return last.TakeSnapshotResult, err
		}
	}
	notes := s.progressNotes(ctx, in.SourceInput, last, append(sub.absent(inv.Absent), last.lacks(inv)...), p)
	if err := s.takeNow(ctx, in.SourceInput, sub, l, notes); err != nil {
		return TakeSnapshotResult{}, err
	}
	now, err := heldSnapshots(ctx, sub.to, in.Group, in.Workspace, l.ID)
	if err != nil {
		return TakeSnapshotResult{}, err
	}
	now.Taken, now.Due = true, sub.group.SnapshotDue(now.StartedAt)
	return now.TakeSnapshotResult, s.recordHeld(ctx, in.SourceInput, sub, l.ID, now, inv)
}

// snapshotAsk is what has to be known to judge whether a snapshot that there is will do.
type snapshotAsk struct {
	TakeSnapshotInput
	subject
	asked     time.Time // one that was begun since was begun for somebody who asked as well
	lineage   string
	inventory ship.Inventory
}

// there looks for a snapshot that is young enough and brings back all that is chosen, and records where it is. It returns the newest in any case.
func (s *Source) there(ctx context.Context, ask snapshotAsk) (last held, there bool, err error) {
	if last, err = heldSnapshots(ctx, ask.to, ask.Group, ask.Workspace, ask.lineage); err != nil {
		return last, false, err
	}
	last.Due = ask.group.SnapshotDue(last.StartedAt)
	young := time.Since(last.StartedAt) < time.Duration(ask.MaxAgeSeconds)*time.Second || last.StartedAt.After(ask.asked)
	if ask.Scheduled {
		young = time.Now().Before(last.Due)
	}
	if last.ID == "" || !young || len(last.lacks(ask.inventory)) > 0 {
		return last, false, nil
	}
	return last, true, s.recordHeld(ctx, ask.SourceInput, ask.subject, ask.lineage, last, ask.inventory)
}

// unfenced refuses a server with a fence: a copy of it would hold the fence's settings.
func (s *Source) unfenced(ctx context.Context, in SourceInput, sub subject, l topology.Lineage) error {
	f, err := s.Catalog.Fence(ctx, in.Group, in.Workspace, l.ID)
	if err != nil && !fault.Is(err, fault.Missing) {
		return err
	}
	fenced := err == nil && f.State != topology.FenceLifted
	if !fenced {
		conn, err := postgres.Open(ctx, sub.source)
		if err != nil {
			return err
		}
		defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }() // only read from
		if fenced, err = fence.On(ctx, conn); err != nil {
			return err
		}
	}
	if fenced {
		return fault.Newf(fault.Transient, "take snapshot", "the server is fenced: a snapshot would hold the fence's settings, and is taken when the fence is lifted")
	}
	return nil
}

func (s *Source) takeNow(ctx context.Context, in SourceInput, sub subject, l topology.Lineage, notes *progressNotes) error {
	taken, err := ship.TakeSnapshot(ctx, s.snapshot(in, sub, l, notes.put))
	notes.end()
	for region, err := range taken.Failed {
		s.Log.WarnContext(ctx, "a bucket was left out of the snapshot", "snapshot", taken.ID, "region", region, "error", err)
	}
	return err
}

func (s *Source) snapshot(in SourceInput, sub subject, l topology.Lineage, put func(topology.SnapshotProgress)) ship.Snapshot {
	return ship.Snapshot{
		Source: sub.source, Group: in.Group, Workspace: in.Workspace, Lineage: l,
		Databases: sub.choice(), Destinations: sub.to, Progress: put, Log: s.Log,
		WaitStored: func(ctx context.Context, to wal.LSN) error { return s.waitStored(ctx, in, l.ID, to) },
	}
}

// waitStored returns when the shipper has announced that everything up to a position is in some bucket.
func (s *Source) waitStored(ctx context.Context, in SourceInput, lineage string, to wal.LSN) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		p, err := s.Catalog.WALProgress(ctx, in.Group, in.Workspace)
		if err == nil && p.Lineage == lineage && slices.ContainsFunc(p.Cursors, func(c topology.Cursor) bool { return c.Point.At.LSN >= to }) {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// newestOf returns the newest snapshot of a lineage in one bucket, without its files, or nil. Damaged ones do not count.
func newestOf(ctx context.Context, d ship.Destination, group, workspace, lineage string) (*snapshot.Manifest, error) {
	all, err := snapshot.List(ctx, d.Store, group, workspace)
	if err != nil && !fault.Is(err, fault.Corrupt) {
		return nil, err
	}
	for _, m := range slices.Backward(all) {
		if m.Lineage == lineage {
			return m, nil
		}
	}
	return nil, nil
}

// recordHeld lets the status say where a snapshot of the lineage is whole, and what it brings back.
func (s *Source) recordHeld(ctx context.Context, in SourceInput, sub subject, lineage string, h held, inv ship.Inventory) error {
	before, err := s.Catalog.SnapshotProgress(ctx, in.Group, in.Workspace)
	if err != nil && !fault.Is(err, fault.Missing) {
		return err
	}
	p := h.progress(lineage, inv, before)
	p.Warnings = sub.absent(inv.Absent)
	return s.Catalog.PutSnapshotProgress(ctx, in.Group, in.Workspace, p)
}

// MirrorSnapshot copies a snapshot to the buckets that lack it.
func (s *Source) MirrorSnapshot(ctx context.Context, in MirrorSnapshotInput) error {
	p := beat(ctx)
	defer p.end()
	return judge(ctx, s.mirrorSnapshot(ctx, in))
}

func (s *Source) mirrorSnapshot(ctx context.Context, in MirrorSnapshotInput) error {
	sub, err := s.subject(ctx, in.SourceInput)
	if err != nil {
		return err
	}
	l, err := sub.lineage(in.Epoch)
	if err != nil {
		return err
	}
	last, err := heldSnapshots(ctx, sub.to, in.Group, in.Workspace, l.ID)
	if err != nil || last.ID != in.ID || len(last.Complete) == 0 {
		return err // a newer one has taken its place
	}
	from := sub.to[slices.IndexFunc(sub.to, func(d ship.Destination) bool { return d.Region == last.Complete[0] })]
	for _, d := range sub.to {
		if slices.Contains(last.Complete, d.Region) {
			continue
		}
		if _, err := ship.MirrorSnapshot(ctx, from, d, in.Group, in.Workspace, in.ID); err != nil {
			return describe(err, "copy snapshot %s from %s to %s", in.ID, from.Region, d.Region)
		}
	}
	inv, err := ship.Look(ctx, sub.source, sub.choice())
	if err != nil {
		return err
	}
	if last, err = heldSnapshots(ctx, sub.to, in.Group, in.Workspace, l.ID); err != nil {
		return err
	}
	return s.recordHeld(ctx, in.SourceInput, sub, l.ID, last, inv)
}

// progressNotes writes a snapshot's progress into the catalog about once a second, without holding up the snapshot.
type progressNotes struct {
	notes chan topology.SnapshotProgress
	done  sync.WaitGroup
	put   func(topology.SnapshotProgress)
}

// progressNotes begins to write. before is what the buckets hold of the lineage already.
func (s *Source) progressNotes(ctx context.Context, in SourceInput, before held, warnings []string, p *pulse) *progressNotes {
	n := &progressNotes{notes: make(chan topology.SnapshotProgress, 1)}
	n.put = func(sp topology.SnapshotProgress) {
		before.mark(&sp)
		sp.Warnings = warnings
		p.say(sp)
		select {
		case n.notes <- sp:
		default: // the last one is still being written; the next comes soon
		}
	}
	n.done.Go(func() {
		for sp := range n.notes {
			ctx, cancel := context.WithTimeout(ctx, soon)
			if err := s.Catalog.PutSnapshotProgress(ctx, in.Group, in.Workspace, sp); err != nil {
				s.Log.WarnContext(ctx, "the status does not say how far the snapshot is", "error", err)
			}
			cancel()
		}
	})
	return n
}

func (n *progressNotes) end() {
	close(n.notes)
	n.done.Wait()
}
