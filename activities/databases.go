package activities

import (
	"context"
	"strings"
	"time"

	"github.com/smartdr/smartdr/internal/dsn"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/preflight"
	"github.com/smartdr/smartdr/internal/ship"
	"github.com/smartdr/smartdr/internal/topology"
)

// watchEvery is how soon it is noticed that the newest snapshot does not bring back all that should be.
const watchEvery = 30 * time.Second

// InspectDatabases looks at a server, refuses what cannot be replicated or left out, and says which databases it has.
func (s *Source) InspectDatabases(ctx context.Context, in InspectDatabasesInput) (InspectDatabasesResult, error) {
	p := beat(ctx)
	defer p.end()
	parsed, err := dsn.Parse(in.Source)
	if err != nil {
		return InspectDatabasesResult{}, judge(ctx, err)
	}
	slot := slotName(in.Group, in.Workspace)
	options := preflight.Options{SlotName: slot, AppName: slot}
	if in.Choice != nil {
		names, all := in.Choice.Chosen(in.Workspace)
		options.Only, options.Databases = !all, names
	}
	report, err := preflight.Check(ctx, in.Source, options)
	if err == nil {
		err = report.Err()
	}
	result := InspectDatabasesResult{Endpoint: topology.Endpoint{Hosts: parsed.Hosts}, Warnings: sentences(report.Warnings)}
	for _, d := range report.Facts.Databases {
		result.Databases = append(result.Databases, d.Name)
	}
	return result, judge(ctx, describe(err, "workspace %q", in.Workspace))
}

// RecordDatabases records what is replicated from now on.
func (s *Source) RecordDatabases(ctx context.Context, in RecordDatabasesInput) (result RecordDatabasesResult, err error) {
	p := beat(ctx)
	defer p.end()
	updated, err := s.Catalog.Update(ctx, in.Group, func(g *topology.Group) error {
		result.Notes, err = changeDatabases(g, in)
		return err
	})
	result.Group = updated.Group
	return result, judge(ctx, err)
}

func changeDatabases(g *topology.Group, in RecordDatabasesInput) (notes []string, err error) {
	if err := g.Replicable("change databases"); err != nil {
		return nil, err
	}
	if g.Replication == nil {
		return nil, fault.Newf(fault.Invalid, "choose databases", "group %s is not replicated", g.Name).WithHint("Configure its replication first.")
	}
	if err := g.CheckChoice(in.Change.Add); err != nil {
		return nil, err
	}
	chosen, notes, err := g.Replication.Changed(in.Change, in.Present)
	if err != nil {
		return nil, err
	}
	next := *g.Replication
	next.Databases, next.ChangedAt = chosen, now()
	g.Replication = &next
	return notes, nil
}

// WatchSnapshot compares the server with the newest snapshot, for one turn or until that does not bring back all that should be.
func (s *Source) WatchSnapshot(ctx context.Context, in SourceInput) (result WatchSnapshotResult, err error) {
	p := beat(ctx)
	defer p.end()
	_, err = s.runTurn(ctx, in.turn(), func(ctx context.Context) error {
		result.Reason, err = s.watchSnapshot(ctx, in, watchEvery)
		return err
	})
	return result, judge(ctx, err)
}

// watchSnapshot waits before it looks: a snapshot that comes out without what was missed must not be followed by the next at once.
func (s *Source) watchSnapshot(ctx context.Context, in SourceInput, every time.Duration) (reason string, err error) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	var last held
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return "", nil
		}
		sub, err := s.subject(ctx, in)
		if err == nil {
			reason, err = s.lacks(ctx, in, sub, &last)
		}
		if reason != "" || err != nil && ctx.Err() == nil {
			return reason, err
		}
	}
}

// lacks says why a snapshot is to be taken now, or "". last is what the buckets held when they were looked into first: the one
// who asks takes no snapshots meanwhile.
func (s *Source) lacks(ctx context.Context, in SourceInput, sub subject, last *held) (reason string, err error) {
	if last.ID == "" {
		l, err := sub.lineage(in.Epoch)
		if err != nil {
			return "", err
		}
		if *last, err = heldSnapshots(ctx, sub.to, in.Group, in.Workspace, l.ID); err != nil || last.ID == "" {
			return "", err
		}
	}
	inv, err := ship.Look(ctx, sub.source, sub.choice())
	if err != nil {
		return "", err
	}
	return strings.Join(last.lacks(inv), "; "), nil
}
