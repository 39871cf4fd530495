package activities

import (
	"context"
	"time"

	"github.com/smartdr/smartdr/internal/dsn"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/preflight"
	"github.com/smartdr/smartdr/internal/replication"
	"github.com/smartdr/smartdr/internal/topology"
)

// SlotName is the name of our slot on a workspace's server, for sentences that tell somebody to drop it.
func SlotName(group, workspace string) string { return slotName(group, workspace) }

// ReachSource finds out whether an adopted server can be released: it answers, and lets us in.
func (s *Source) ReachSource(ctx context.Context, in ServerInput) error {
	p := beat(ctx)
	defer p.end()
	conn, _, err := s.adopted(ctx, in)
	if err == nil {
		_, err = conn.ReadSlot(ctx, slotName(in.Group, in.Workspace))
		_ = conn.Close(context.WithoutCancel(ctx)) // only read from
	}
	return judge(ctx, describe(err, "the adopted server of workspace %s", in.Workspace))
}

// DrainSource waits until every bucket holds what an adopted server has written by now. It fails when that does not come.
func (s *Source) DrainSource(ctx context.Context, in ServerInput) error {
	p := beat(ctx)
	defer p.end()
	return judge(ctx, describe(s.drainSource(ctx, in), "workspace %s", in.Workspace))
}

func (s *Source) drainSource(ctx context.Context, in ServerInput) error {
	conn, g, err := s.adopted(ctx, in)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }() // only read from
	w := g.Workspace(in.Workspace)
	if !ships(g, *w) {
		return nil
	}
	system, err := conn.IdentifySystem(ctx)
	if err != nil {
		return err
	}
	return s.awaitShipped(ctx, g, *w, system.Position.LSN, drainWithin)
}

// releaseWithin is how long a shipper that was told to end may hold the slot.
const releaseWithin = time.Minute

// DropSlot takes our slot off an adopted server, which is as it was then. It waits for the shipper that may hold it.
func (s *Source) DropSlot(ctx context.Context, in ServerInput) error {
	p := beat(ctx)
	defer p.end()
	return judge(ctx, describe(s.dropSlot(ctx, in), "the adopted server of workspace %s", in.Workspace))
}

func (s *Source) dropSlot(ctx context.Context, in ServerInput) error {
	conn, g, err := s.adopted(ctx, in)
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }() // what counts was answered
	if w := g.Workspace(in.Workspace); w.State != topology.WorkspaceTerminated {
		return fault.Newf(fault.Invalid, "drop slot", "workspace %s of %s is not terminated", in.Workspace, in.Group)
	}
	slot := slotName(in.Group, in.Workspace)
	for end := time.Now().Add(releaseWithin); ; {
		err := conn.DropSlot(ctx, slot)
		if err == nil || fault.Is(err, fault.Missing) {
			return nil
		}
		if !fault.Is(err, fault.Transient) || time.Now().After(end) {
			return err
		}
		if pauseFor(ctx, askShipped); ctx.Err() != nil {
			return fault.New(fault.Transient, "drop slot", ctx.Err())
		}
	}
}

// CheckSource looks at an adopted server by another connection string: it must be the same server, and one that can be
// replicated as before.
func (s *Source) CheckSource(ctx context.Context, in CheckSourceInput) (CheckSourceResult, error) {
	p := beat(ctx)
	defer p.end()
	result, err := s.checkSource(ctx, in)
	return result, judge(ctx, describe(err, "workspace %s", in.Workspace))
}

func (s *Source) checkSource(ctx context.Context, in CheckSourceInput) (CheckSourceResult, error) {
	parsed, err := dsn.Parse(in.Source)
	if err != nil {
		return CheckSourceResult{}, err
	}
	loaded, err := s.Catalog.Load(ctx, in.Group)
	if err != nil {
		return CheckSourceResult{}, err
	}
	w := loaded.Group.Workspace(in.Workspace)
	if w == nil {
		return CheckSourceResult{}, noWorkspace(loaded.Group, in.Workspace)
	}
	slot := slotName(in.Group, in.Workspace)
	report, err := preflight.Check(ctx, in.Source, preflight.Options{SlotName: slot, AppName: slot})
	if err == nil {
		err = report.Err()
	}
	if err != nil {
		return CheckSourceResult{}, err
	}
	if l := w.CurrentLineage(); l != nil && l.SystemID != report.Facts.SystemID {
		return CheckSourceResult{}, fault.Newf(fault.Diverged, "look at server", "the connection string leads to another server: its system identifier is %s, and that of the workspace's is %s",
			report.Facts.SystemID, l.SystemID).WithHint("Give the way to the same server; another server is another workspace.")
	}
	return CheckSourceResult{Endpoint: topology.Endpoint{Hosts: parsed.Hosts}, Warnings: sentences(report.Warnings)}, nil
}

// adopted connects to a workspace's adopted server in a region.
func (s *Source) adopted(ctx context.Context, in ServerInput) (*replication.Conn, topology.Group, error) {
	loaded, err := s.Catalog.Load(ctx, in.Group)
	if err != nil {
		return nil, topology.Group{}, err
	}
	w := loaded.Group.Workspace(in.Workspace)
	if w == nil {
		return nil, loaded.Group, noWorkspace(loaded.Group, in.Workspace)
	}
	site := w.Sites[in.Region]
	if site.Kind != topology.Adopted {
		return nil, loaded.Group, fault.Newf(fault.Invalid, "find server", "workspace %s has no adopted server in region %s", w.Name, in.Region)
	}
	conn, err := replication.Connect(ctx, site.Source, slotName(in.Group, in.Workspace))
	return conn, loaded.Group, err
}
