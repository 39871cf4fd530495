package api

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/workflows"
)

const opRetention = "set retention"

// RegionRetention is what one region's bucket keeps.
type RegionRetention struct {
	Region        string          `json:"region"`
	WindowMinutes int             `json:"windowMinutes"`
	Snapshots     string          `json:"snapshots"` // interval, or line of cron in UTC
	Last          *topology.Swept `json:"last,omitempty"`
	Note          string          `json:"note,omitempty"` // why Last is not there
}

// Retention is what the regions of a group keep.
type Retention struct {
	Group   string            `json:"group"`
	Regions []RegionRetention `json:"regions"`
}

// RetentionChange asks to keep something else in a region; what is empty stays.
type RetentionChange struct {
	Group     string `json:"group"`
	Region    string `json:"region"`
	Window    string `json:"window,omitempty"`    // topology.ParseWindow
	Snapshots string `json:"snapshots,omitempty"` // topology.ParseSchedule
}

// RetentionPreview is what a change of retention would do.
type RetentionPreview struct {
	Group   string             `json:"group"`
	Region  string             `json:"region"`
	Before  topology.Retention `json:"before"`
	After   topology.Retention `json:"after"`
	GivesUp []string           `json:"givesUp"` // what could not be restored any more, in sentences
}

// Retention reads what the regions of a group keep, and what their last rounds did.
func (s *Service) Retention(ctx context.Context, group string) (Retention, error) {
	g, err := s.Group(ctx, group)
	if err != nil {
		return Retention{}, err
	}
	c, err := s.openCatalog(ctx)
	if err != nil {
		return Retention{}, err
	}
	r := Retention{Group: g.Name, Regions: []RegionRetention{}}
	for _, region := range bucketsOf(g) {
		kept := g.Retention[region]
		one := RegionRetention{Region: region, WindowMinutes: int(kept.Window() / time.Minute), Snapshots: kept.Snapshots}
		if one.Snapshots == "" {
			one.Snapshots = topology.DefaultSnapshots
		}
		last, err := c.Swept(ctx, group, region)
		switch {
		case err == nil:
			one.Last = &last
		case fault.Is(err, fault.Missing):
			one.Note = "not looked through yet"
		default:
			one.Note = err.Error()
		}
		r.Regions = append(r.Regions, one)
	}
	return r, nil
}

// PreviewRetention says what a change would give up, and refuses what cannot be done. It changes nothing.
func (s *Service) PreviewRetention(ctx context.Context, req RetentionChange) (RetentionPreview, error) {
	g, err := s.Group(ctx, req.Group)
	if err != nil {
		return RetentionPreview{}, err
	}
	if !slices.Contains(bucketsOf(g), req.Region) {
		return RetentionPreview{}, fault.Newf(fault.Invalid, opRetention, "group %s has no region %q", g.Name, req.Region).
			WithHint("Its regions are %s: --region names one.", strings.Join(bucketsOf(g), " and "))
	}
	p := RetentionPreview{Group: g.Name, Region: req.Region, Before: g.Retention[req.Region], GivesUp: []string{}}
	if p.After, err = req.over(p.Before); err != nil {
		return p, err
	}
	if p.After.Window() < p.Before.Window() {
		since := s.opts.Now().Add(-p.After.Window()).UTC().Format("2006-01-02 15:04 UTC")
		p.GivesUp = append(p.GivesUp, fmt.Sprintf("Moments before %s can no longer be restored from the bucket of %s, but for what branches and system-managed databases need.", since, req.Region))
	}
	return p, nil
}

// over returns what is kept after the change.
func (req RetentionChange) over(r topology.Retention) (topology.Retention, error) {
	if req.Window == "" && req.Snapshots == "" {
		return r, fault.Newf(fault.Invalid, opRetention, "nothing is to be changed").WithHint("Say --window, --snapshots, or both.")
	}
	if req.Window != "" {
		minutes, err := topology.ParseWindow(req.Window)
		if err != nil {
			return r, err
		}
		r.WindowMinutes = minutes
	}
	if req.Snapshots != "" {
		r.Snapshots = req.Snapshots
	}
	return r, r.Check()
}

// SetRetention changes what a region keeps. What is not needed any more goes by and by.
func (s *Service) SetRetention(ctx context.Context, req RetentionChange) (ChangedGroup, error) {
	p, err := s.PreviewRetention(ctx, req)
	if err != nil {
		return ChangedGroup{}, err
	}
	in := workflows.ChangeRetentionInput{Group: p.Group, Region: p.Region, Retention: p.After}
	return s.changeBy(ctx, workflows.ChangeRetentionID(p.Group, p.Region), workflows.ChangeRetentionType, "change what "+p.Region+" keeps of "+p.Group, in)
}

// RetentionRun asks to remove what nothing needs now.
type RetentionRun struct {
	Group  string `json:"group"`
	Region string `json:"region,omitempty"` // default: all of the group
	DryRun bool   `json:"dryRun,omitempty"`
	// GraceMinutes is how long something stays that nothing refers to; nil: an hour.
	GraceMinutes *int `json:"graceMinutes,omitempty"`
}

// RunRetention removes what nothing needs from the buckets of a group, or says what would go.
func (s *Service) RunRetention(ctx context.Context, req RetentionRun) (all []topology.Swept, err error) {
	g, err := s.Group(ctx, req.Group)
	if err != nil {
		return nil, err
	}
	regions := bucketsOf(g)
	if req.Region != "" {
		if !slices.Contains(regions, req.Region) {
			return nil, fault.Newf(fault.Invalid, "run retention", "group %s has no region %q", g.Name, req.Region).WithHint("Its regions are %s.", strings.Join(regions, " and "))
		}
		regions = []string{req.Region}
	}
	for _, region := range regions {
		var swept topology.Swept
		in := workflows.RetentionInput{Group: g.Name, Region: region, DryRun: req.DryRun, GraceMinutes: req.GraceMinutes}
		id, what := workflows.RetentionID(g.Name, region), "remove from the bucket of "+region+" what nothing needs of "+g.Name
		if req.DryRun {
			id, what = id+"/preview", "what of "+g.Name+" nothing needs in the bucket of "+region
		}
		if err := s.perform(ctx, id, workflows.RetentionType, what, in, &swept); err != nil {
			return all, err
		}
		all = append(all, swept)
	}
	return all, nil
}
