package api

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/smartdr/smartdr/internal/archive"
	"github.com/smartdr/smartdr/internal/catalog"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/history"
	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/internal/restore"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

// timelineWithin is how long one bucket may take to be listed. The WAL, where restore points are asked for, may take as long as the caller
// gives it.
const timelineWithin = time.Minute

// TimelineInput says which part of a group's history is wanted.
type TimelineInput struct {
	Group         string `json:"group"`
	Workspace     string `json:"workspace,omitempty"`     // empty: all
	Region        string `json:"region,omitempty"`        // empty: all
	RestorePoints bool   `json:"restorePoints,omitempty"` // list those that somebody named: all WAL is read for that
}

// Timelines is what can be restored of a group.
type Timelines struct {
	Group     string              `json:"group"`
	Timelines []topology.Timeline `json:"timelines"`
	Branches  []topology.Branch   `json:"branches,omitempty"` // each can be gone back to where it begins, and along its own lineages
	Points    []RestorePoint      `json:"restorePoints,omitempty"`
	Notes     []string            `json:"notes,omitempty"` // what could not be looked at
}

// RestorePoint is a point that somebody named by pg_create_restore_point.
type RestorePoint struct {
	Workspace string `json:"workspace"`
	Region    string `json:"region"`
	Lineage   string `json:"lineage"`
	restore.NamedPoint
}

// Timeline says what can be restored of a group's workspaces from each region's bucket. It works without Temporal; a bucket that does
// not answer is named in the notes.
func (s *Service) Timeline(ctx context.Context, in TimelineInput) (Timelines, error) {
	if err := topology.CheckName("group", in.Group); err != nil {
		return Timelines{}, err
	}
	c, err := s.openCatalog(ctx)
	if err != nil {
		return Timelines{}, err
	}
	loaded, err := c.Load(ctx, in.Group)
	if err != nil {
		return Timelines{}, err
	}
	g := loaded.Group
	if err := in.check(g); err != nil {
		return Timelines{}, err
	}
	out := Timelines{Group: g.Name, Timelines: []topology.Timeline{}}
	for _, region := range in.regions(g) {
		if err := s.regionTimeline(ctx, c, g, region, in, &out); err != nil {
			out.Notes = append(out.Notes, fmt.Sprintf("The bucket of %s does not answer, and what can be restored from it is not known: %v.", region, err))
		}
	}
	for _, b := range g.Branches {
		if (in.Workspace == "" || b.Workspace == in.Workspace) && (in.Region == "" || b.Region == in.Region) {
			out.Branches = append(out.Branches, b)
		}
	}
	return out, nil
}

func (in TimelineInput) check(g topology.Group) error {
	const op = "show timeline"
	if in.Workspace != "" && g.Workspace(in.Workspace) == nil {
		return fault.Newf(fault.Missing, op, "group %s has no workspace %q", g.Name, in.Workspace)
	}
	if in.Region != "" && in.Region != g.Primary && in.Region != g.Secondary {
		return fault.Newf(fault.Invalid, op, "group %s has no region %q", g.Name, in.Region).WithHint("It has %s.", joinRegions(g))
	}
	return nil
}

func joinRegions(g topology.Group) string {
	if g.Secondary == "" {
		return g.Primary
	}
	return g.Primary + " and " + g.Secondary
}

func (in TimelineInput) regions(g topology.Group) []string {
	if in.Region != "" {
		return []string{in.Region}
	}
	return slices.DeleteFunc([]string{g.Primary, g.Secondary}, func(r string) bool { return r == "" })
}

// regionTimeline adds what one bucket has.
func (s *Service) regionTimeline(ctx context.Context, c *catalog.Catalog, g topology.Group, region string, in TimelineInput, out *Timelines) error {
	store := c.Stores[region]
	if store == nil {
		return fault.Newf(fault.Invalid, "show timeline", "region %q is not in the configuration", region)
	}
	for _, w := range g.Workspaces {
		if in.Workspace != "" && w.Name != in.Workspace || len(w.Lineages) == 0 {
			continue
		}
		listing, cancel := context.WithTimeout(ctx, timelineWithin)
		contents, err := history.Read(listing, store, region, g, w.Name)
		cancel()
		if err != nil {
			return err
		}
		t := contents.Timeline()
		out.Timelines = append(out.Timelines, t)
		if !in.RestorePoints {
			continue
		}
		if err := restorePoints(ctx, store, g, t, out); err != nil {
			out.Notes = append(out.Notes, fmt.Sprintf("The restore points of workspace %s in the bucket of %s are not all listed: %v.", w.Name, region, err))
		}
	}
	return nil
}

// restorePoints reads the WAL of every window.
func restorePoints(ctx context.Context, store objectstore.Store, g topology.Group, t topology.Timeline, out *Timelines) error {
	for _, w := range t.Windows {
		l := g.FindLineage(w.Workspace, w.Lineage)
		leg := restore.Leg{
			Archive: archive.Open(store, g.Name, w.Workspace, w.Lineage), Lineage: *l,
			From: wal.Position{Timeline: w.From.Timeline, LSN: max(w.From.LSN, l.Start.LSN)}, To: w.To.LSN,
		}
		points, err := restore.ListPoints(ctx, []restore.Leg{leg}, l.SegmentSize)
		if err != nil {
			return err
		}
		for _, p := range points {
			out.Points = append(out.Points, RestorePoint{w.Workspace, w.Region, w.Lineage, p})
		}
	}
	return nil
}
