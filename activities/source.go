package activities

import (
	"context"
	"time"

	"github.com/smartdr/smartdr/internal/dsn"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/internal/preflight"
	"github.com/smartdr/smartdr/internal/replication"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

// Source acts beside the servers that are replicated.
type Source struct {
	Site
	// Answers asks whether Temporal answers. A turn of shipping does not end while it does not, since nobody would
	// order the next one.
	Answers func(context.Context) error
	DataDir string // of servers that SmartDR makes on this host; empty where it makes none
	turns   turns
	guards  guards
	over    bell // rings when an epoch is found to be over
}

// CheckRegions verifies that the buckets answer, take conditional writes and are two.
func (s *Source) CheckRegions(ctx context.Context, in CheckRegionsInput) error {
	p := beat(ctx)
	defer p.end()
	seen := map[string]string{}
	for _, region := range in.Regions {
		store, err := s.store(region)
		if err != nil {
			return judge(ctx, err)
		}
		marker, err := objectstore.Check(ctx, store)
		if err != nil {
			return judge(ctx, describe(err, "the bucket of region %q", region))
		}
		if other := seen[marker.ID]; other != "" {
			return judge(ctx, fault.Newf(fault.Invalid, "check regions", "regions %q and %q have the same bucket", other, region).
				WithHint("give each region a bucket of its own"))
		}
		seen[marker.ID] = region
	}
	return nil
}

// PreflightSource looks at a server and refuses what cannot be replicated, with a sentence for each reason.
func (s *Source) PreflightSource(ctx context.Context, in PreflightSourceInput) (PreflightSourceResult, error) {
	p := beat(ctx)
	defer p.end()
	parsed, err := dsn.Parse(in.Source)
	if err != nil {
		return PreflightSourceResult{}, judge(ctx, err)
	}
	slot := slotName(in.Group, in.Workspace)
	options := preflight.Options{SlotName: slot, AppName: slot}
	report, err := preflight.Check(ctx, in.Source, options)
	if err != nil {
		return PreflightSourceResult{}, judge(ctx, describe(err, "workspace %q", in.Workspace))
	}
	result := PreflightSourceResult{Endpoint: topology.Endpoint{Hosts: parsed.Hosts}, Warnings: sentences(report.Warnings)}
	return result, judge(ctx, report.Err())
}

func sentences(findings []preflight.Finding) (all []string) {
	for _, f := range findings {
		all = append(all, f.String())
	}
	return all
}

// RecordReplication records the secondary region and the databases, and gives the decision over the group to the
// secondary's bucket, which is the one that outlives the primary.
func (s *Source) RecordReplication(ctx context.Context, in RecordReplicationInput) (topology.Group, error) {
	p := beat(ctx)
	defer p.end()
	updated, err := s.Catalog.MoveAuthority(ctx, in.Group, in.Secondary, in.record)
	return updated.Group, judge(ctx, err)
}

func (in RecordReplicationInput) record(g *topology.Group) error {
	if err := g.Replicable("configure replication"); err != nil {
		return err
	}
	if g.Secondary != "" && g.Secondary != in.Secondary {
		return fault.Newf(fault.Invalid, "configure", "group %s replicates to %q already", g.Name, g.Secondary)
	}
	if err := g.CheckChoice(in.Databases); err != nil {
		return err
	}
	g.Secondary = in.Secondary
	if g.Replication == nil {
		g.Replication = &topology.Replication{Databases: in.Databases, ConfiguredAt: now()}
		return nil
	}
	again := *g.Replication
	again.Databases, again.ChangedAt = in.Databases, now()
	g.Replication = &again
	return nil
}

// PrepareSource makes sure that the server is one that can be replicated, that a slot keeps its WAL, and that the
// catalog names the lineage it writes.
func (s *Source) PrepareSource(ctx context.Context, in SourceInput) (PrepareSourceResult, error) {
	p := beat(ctx)
	defer p.end()
	result, err := s.prepareSource(ctx, in)
	return result, judge(ctx, s.standstill(ctx, in, err))
}

func (s *Source) prepareSource(ctx context.Context, in SourceInput) (PrepareSourceResult, error) {
	sub, err := s.subject(ctx, in)
	if err != nil {
		return PrepareSourceResult{}, err
	}
	slot := slotName(in.Group, in.Workspace)
	report, err := preflight.Check(ctx, sub.source, preflight.Options{SlotName: slot, AppName: slot})
	if err == nil {
		err = report.Err()
	}
	if err != nil {
		return PrepareSourceResult{}, err
	}
	warnings := sentences(report.Warnings)
	if l, err := sub.lineage(in.Epoch); err == nil {
		return PrepareSourceResult{Lineage: l.ID, Warnings: warnings}, nil
	}
	l, err := s.beginLineage(ctx, in, sub, "", false)
	return PrepareSourceResult{Lineage: l.ID, Warnings: warnings}, err
}

// StartLineage begins a new lineage after a hole in an old one. The old one stays as it is.
func (s *Source) StartLineage(ctx context.Context, in StartLineageInput) (PrepareSourceResult, error) {
	p := beat(ctx)
	defer p.end()
	sub, err := s.subject(ctx, in.SourceInput)
	if err != nil {
		return PrepareSourceResult{}, judge(ctx, err)
	}
	if sub.workspace.Lineage != in.After {
		return PrepareSourceResult{Lineage: sub.workspace.Lineage}, nil // done by an attempt whose answer was lost
	}
	l, err := s.beginLineage(ctx, in.SourceInput, sub, in.After, true)
	return PrepareSourceResult{Lineage: l.ID}, judge(ctx, s.standstill(ctx, in.SourceInput, err))
}

// beginLineage makes a slot that keeps WAL from the last checkpoint on and records a lineage that begins at the
// start of that segment file, so that whole files can be rebuilt.
func (s *Source) beginLineage(ctx context.Context, in SourceInput, sub subject, after string, anew bool) (topology.Lineage, error) {
	conn, err := replication.Connect(ctx, sub.source, slotName(in.Group, in.Workspace))
	if err != nil {
		return topology.Lineage{}, err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }() // nothing was left unsaid on it
	at, err := reserve(ctx, conn, slotName(in.Group, in.Workspace), anew)
	if err != nil {
		return topology.Lineage{}, err
	}
	l, err := describeLineage(ctx, conn, at)
	if err != nil {
		return topology.Lineage{}, err
	}
	l.ID, l.Epoch, l.Region, l.CreatedAt = topology.NewLineageID(in.Epoch), in.Epoch, sub.group.Active, time.Now().UTC()
	return s.recordLineage(ctx, in, l, after)
}

// recordLineage makes l the workspace's current lineage, unless another attempt was faster.
func (s *Source) recordLineage(ctx context.Context, in SourceInput, l topology.Lineage, after string) (topology.Lineage, error) {
	_, err := s.Catalog.Update(ctx, in.Group, func(g *topology.Group) error {
		w := g.Workspace(in.Workspace)
		switch {
		case w == nil:
			return fault.Newf(fault.Missing, "record lineage", "group %s has no workspace %q", g.Name, in.Workspace)
		case g.Epoch != in.Epoch:
			return fault.Newf(fault.Fenced, "record lineage", "group %s is at epoch %d", g.Name, g.Epoch)
		}
		if c := w.CurrentLineage(); c != nil && c.Epoch == in.Epoch && c.ID != after {
			l = *c
			return nil
		}
		w.Lineages, w.Lineage = append(w.Lineages, l), l.ID
		return nil
	})
	return l, err
}

// reserve makes sure of a slot that keeps WAL and returns where that begins.
func reserve(ctx context.Context, conn *replication.Conn, name string, anew bool) (wal.Position, error) {
	slot, err := conn.ReadSlot(ctx, name)
	if err != nil {
		return wal.Position{}, err
	}
	if slot.Exists && (anew || slot.RestartLSN == 0) { // one without a position was lost or never kept anything
		if err := conn.DropSlot(ctx, name); err != nil && !fault.Is(err, fault.Missing) {
			return wal.Position{}, err
		}
		slot.Exists = false
	}
	if !slot.Exists {
		if err := conn.CreateSlot(ctx, name); err != nil && !fault.Is(err, fault.Conflict) {
			return wal.Position{}, err
		}
		if slot, err = conn.ReadSlot(ctx, name); err != nil {
			return wal.Position{}, err
		}
	}
	if slot.RestartLSN == 0 {
		return wal.Position{}, fault.Newf(fault.Transient, "reserve WAL", "slot %s keeps nothing", name)
	}
	return wal.Position{Timeline: slot.RestartTimeline, LSN: slot.RestartLSN}, nil
}

func describeLineage(ctx context.Context, conn *replication.Conn, at wal.Position) (topology.Lineage, error) {
	system, err := conn.IdentifySystem(ctx)
	if err != nil {
		return topology.Lineage{}, err
	}
	size, err := conn.SegmentSize(ctx)
	if err != nil {
		return topology.Lineage{}, err
	}
	start := wal.Position{Timeline: at.Timeline, LSN: size.Start(at.LSN)}
	return topology.Lineage{SystemID: system.ID, SegmentSize: size, Start: start}, nil
}

// standstill lets the status say why nothing is shipped, and returns err. It says nothing about what may pass.
func (s *Source) standstill(ctx context.Context, in SourceInput, err error) error {
	if err == nil || !final(fault.KindOf(err)) || fault.Is(err, fault.Fenced) {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), soon)
	defer cancel()
	p, readErr := s.Catalog.WALProgress(ctx, in.Group, in.Workspace)
	if readErr != nil && !fault.Is(readErr, fault.Missing) { // what was announced must not be covered by less
		s.Log.WarnContext(ctx, "the status does not say why shipping stands still", "error", readErr)
		return err
	}
	p.Epoch, p.Error, p.MeasuredAt = in.Epoch, err.Error(), time.Now().UTC()
	if err := s.Catalog.PutWALProgress(ctx, in.Group, in.Workspace, p); err != nil {
		s.Log.WarnContext(ctx, "the status does not say why shipping stands still", "error", err)
	}
	return err
}
