package activities

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/smartdr/smartdr/internal/archive"
	"github.com/smartdr/smartdr/internal/catalog"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/internal/snapshot"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

// planner finds out what of one workspace a bucket can bring back.
type planner struct {
	store     objectstore.Store
	region    string // of the store
	group     string
	workspace topology.Workspace
	chosen    *topology.Replication     // what the group replicates
	announced topology.WALProgress      // zero when nobody announced anything
	complete  topology.SnapshotProgress // likewise
	goal      topology.Target           // zero: the latest point
	other     objectstore.Store         // bucket of the region that serves; nil when it does not answer
	of        *topology.Group           // nil: no lineages but the workspace's
	branch    bool                      // it is a branch that is planned
	settled   time.Time                 // nothing can have been written by then that the bucket lacks; zero: not known

	left  wal.Position        // where the line that is planned along was left; zero when it goes on there
	tip   archive.Tip         // end of what the bucket has on the plan's way
	tipOf string              // lineage that the way ends in
	next  archive.Commit      // the first one that a chosen point leaves behind; zero for the latest point
	known []snapshot.Database // of the plan's snapshot
}

func (t *Target) planner(ctx context.Context, loaded catalog.Loaded, w topology.Workspace, to string, c topology.Choice) (*planner, error) {
	store, err := t.store(to)
	if err != nil {
		return nil, err
	}
	g := loaded.Group
	p := &planner{store: store, region: to, group: g.Name, workspace: w, chosen: g.Replication, of: &g}
	p.goal = topology.Target{LSN: c.LSNs[w.Name], Time: c.Time}
	if slices.Contains(loaded.From, g.Active) {
		p.other = t.Stores[g.Active]
	}
	if p.announced, err = t.Catalog.WALProgress(ctx, g.Name, w.Name); err != nil && !fault.Is(err, fault.Missing) {
		return nil, err
	}
	if p.complete, err = t.Catalog.SnapshotProgress(ctx, g.Name, w.Name); err != nil && !fault.Is(err, fault.Missing) {
		return nil, err
	}
	return p, nil
}

// plan says how the goal is reached, unless retention has given it up.
func (p *planner) plan(ctx context.Context) (WorkspacePlan, error) {
	plan, err := p.furthest(ctx)
	return plan, p.kept(ctx, plan, err)
}

// furthest chooses the newest lineage that can be recovered at all. Only one that nobody ever announced as recoverable
// may be passed over for an older one: a new lineage after a hole, whose first snapshot is not complete, or one of which this
// bucket has nothing; then the older one ends where the newer began.
func (p *planner) furthest(ctx context.Context) (WorkspacePlan, error) {
	snapshots, err := snapshot.List(ctx, p.store, p.group, p.workspace.Name)
	if err != nil && !fault.Is(err, fault.Corrupt) {
		return WorkspacePlan{}, err
	}
	damaged := err // an older snapshot leads to the same point, over more WAL
	for l := p.newest(); l != nil; l = p.older(*l) {
		plan, found, err := p.along(ctx, ancestry(p.workspace, *l), snapshots)
		if err != nil || found {
			return p.judged(plan, *l, damaged, err)
		}
		if p.complete.Lineage == l.ID && slices.Contains(p.complete.Complete, p.region) {
			return plan, fault.Newf(fault.Missing, "plan failover", "workspace %s: snapshot %s of lineage %s was announced and is not usable in the bucket of %q",
				p.workspace.Name, p.complete.ID, l.ID, p.region)
		}
	}
	return WorkspacePlan{}, fault.Newf(fault.Missing, "plan failover", "workspace %s has no complete snapshot in the bucket of %q: it was never in sync", p.workspace.Name, p.region).
		WithHint("nothing can be recovered there; wait until status says Active, or bring the serving region back")
}

func (p *planner) newest() *topology.Lineage {
	all := p.workspace.Lineages
	if l := p.workspace.CurrentLineage(); l != nil || len(all) == 0 {
		return l
	}
	return &all[len(all)-1]
}

// lineage returns one of the workspace, or of its branches.
func (p *planner) lineage(id string) *topology.Lineage {
	if p.of == nil {
		return p.workspace.FindLineage(id)
	}
	return p.of.FindLineage(p.workspace.Name, id)
}

// older returns the lineage that l continues, and remembers where l left it; for one after a hole, the lineage before the hole.
func (p *planner) older(l topology.Lineage) *topology.Lineage {
	if p.left = (wal.Position{}); l.Parent != nil {
		p.left = l.Parent.At
		return p.lineage(l.Parent.Lineage)
	}
	at := slices.IndexFunc(p.workspace.Lineages, func(o topology.Lineage) bool { return o.ID == l.ID })
	if at <= 0 {
		return nil
	}
	return &p.workspace.Lineages[at-1]
}

// op is what is being done, as errors say it.
func (p *planner) op() string {
	if p.branch {
		return "plan branch"
	}
	return "plan failover"
}

func (p *planner) gap(lineage string, from, to wal.LSN) error {
	return fault.Newf(fault.Missing, p.op(), "workspace %s: WAL of lineage %s from %s to %s is missing in the bucket of %q",
		p.workspace.Name, lineage, from, to, p.region).
		WithHint("look whether the other bucket still has it; nothing was changed")
}

func (p *planner) describe(m *snapshot.Manifest, legs []Leg, tip archive.Tip) WorkspacePlan {
	plan := WorkspacePlan{
		Workspace: p.workspace.Name, Snapshot: m.ID, SnapshotStart: m.Start, SnapshotEnd: m.End.LSN,
		Legs: legs, Point: tip.Point(legs[len(legs)-1].Lineage.ID),
		SystemID: m.SystemID, ServerVersion: m.ServerVersion, SegmentSize: m.SegmentSize, Bytes: m.TotalBytes,
	}
	chosen, all := p.chosen.Chosen(p.workspace.Name)
	for _, d := range m.Databases {
		switch {
		case !d.Replicated:
			plan.Omitted = append(plan.Omitted, OmittedDatabase{Name: d.Name, OID: d.OID})
		case d.Name == "template0" || d.Name == "template1":
		case all || d.Name == "postgres" || slices.Contains(chosen, d.Name): // what is not chosen any more is dropped
			plan.Databases = append(plan.Databases, d.Name)
		}
	}
	return plan
}

// judged refuses a plan that does not reach what was announced, and notes what an operator should know of it.
func (p *planner) judged(plan WorkspacePlan, l topology.Lineage, damaged, err error) (WorkspacePlan, error) {
	if err != nil {
		return plan, err
	}
	if err := p.announcedThere(l.ID); err != nil {
		return plan, err
	}
	if damaged != nil {
		plan.Notes = append(plan.Notes, "passed over: "+damaged.Error())
	}
	if l.ID != p.workspace.Lineage {
		plan.Behind = fmt.Sprintf("the bucket of %q cannot bring back lineage %s, which serves: it lacks its WAL, or a snapshot to begin with", p.region, p.workspace.Lineage)
		plan.Notes = append(plan.Notes, fmt.Sprintf("%s; recovered to %s of lineage %s", plan.Behind, plan.Point.RecordEnd, plan.Point.Lineage))
	}
	return plan, nil
}

// announcedThere refuses an end of a lineage that lies below what was announced.
func (p *planner) announcedThere(lineage string) error {
	if p.announced.Lineage != lineage {
		return nil
	}
	for _, c := range p.announced.Cursors {
		if c.Region == p.region && c.Point.At.LSN > p.tip.Position.LSN {
			return p.gap(lineage, p.tip.Position.LSN, c.Point.At.LSN)
		}
	}
	return nil
}
