package api

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/smartdr/smartdr/activities"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/workflows"
)

// FailoverForecast is what a failover now would do, found out from what the buckets hold.
type FailoverForecast struct {
	FailoverPreview
	Choice  topology.Choice     `json:"choice,omitzero"`
	Refused string              `json:"refused,omitempty"` // why it would be refused as it was asked for, besides that the region is alive
	Hint    string              `json:"hint,omitempty"`    // what to do about that
	Seconds float64             `json:"seconds"`           // that it would take
	How     string              `json:"how"`               // how Seconds was computed, in a sentence
	Details []WorkspaceForecast `json:"details"`           // in the group's order
}

// WorkspaceForecast is one workspace's share of a FailoverForecast.
type WorkspaceForecast struct {
	Workspace     string                 `json:"workspace"`
	Error         string                 `json:"error,omitempty"` // why it would not come back; the rest is empty then
	Point         topology.RecoveryPoint `json:"point"`
	Loss          *topology.Loss         `json:"loss,omitempty"` // nil: nothing is known of the serving side
	Snapshot      string                 `json:"snapshot,omitempty"`
	SnapshotBytes int64                  `json:"snapshotBytes"`     // of the files to restore; 0 with a standby
	WALBytes      int64                  `json:"walBytes"`          // to replay
	Seconds       float64                `json:"seconds"`           // that this one would take
	Host          string                 `json:"host,omitempty"`    // where it would run
	Standby       *topology.Standby      `json:"standby,omitempty"` // that would be promoted
	Databases     []string               `json:"databases"`         // that would be brought back
	Notes         []string               `json:"notes,omitempty"`
}

// ForecastFailover says what a failover now would bring back, what it would lose of each database, where each workspace would go
// and how long it would take. It reads the buckets as the failover itself would, and changes nothing.
func (s *Service) ForecastFailover(ctx context.Context, req FailoverRequest) (FailoverForecast, error) {
	p, err := s.PreviewFailover(ctx, req)
	if err != nil {
		return FailoverForecast{}, err
	}
	f := FailoverForecast{FailoverPreview: p, Details: []WorkspaceForecast{}}
	in, err := req.planned(p)
	if err != nil {
		return f, err
	}
	c, err := s.openCatalog(ctx)
	if err != nil {
		return f, err
	}
	t := &activities.Target{Site: activities.Site{Stores: c.Stores, Catalog: c, Log: s.opts.Log}}
	plan, refused, err := activities.Preview(ctx, t, in)
	if k := fault.KindOf(err); k == fault.Invalid || k == fault.Missing || k == fault.Corrupt {
		refused, err = err, nil // it was found out that it cannot be done
	}
	if err != nil {
		return f, err
	}
	if refused != nil {
		f.Ready, f.Refused, f.Hint = false, text(refused), fault.HintOf(refused)
		f.Problem = cmp.Or(f.Problem, f.Refused)
	}
	f.Choice = in.Choice
	pace, err := s.pace(ctx, req.Group)
	if err != nil {
		return f, err
	}
	f.foresee(plan, pace)
	return f, nil
}

// Blocked reports whether a failover would not work now as it was asked for. That the region still seems alive is no such reason: one looks
// ahead while it is.
func (f FailoverForecast) Blocked(force bool) bool { return f.Refused != "" || f.hopeless(force) }

// planned is the request as the failover's planning reads it.
func (req FailoverRequest) planned(p FailoverPreview) (activities.PlanFailoverInput, error) {
	in := activities.PlanFailoverInput{Group: req.Group, To: p.To, Force: req.Force}
	limits, err := req.choice(p.recoverable())
	in.FailoverChoice = limits
	return in, err
}

// choice reads the point and the limit that are asked for.
func (req FailoverRequest) choice(workspaces []string) (c activities.FailoverChoice, err error) {
	if c.Choice, err = topology.ParseChoice(req.Point, workspaces); err != nil {
		return c, err
	}
	c.MaxDataLoss, err = topology.ParseLossLimit(req.MaxDataLoss)
	return c, err
}

// recoverable returns the names of the workspaces that a failover is about.
func (p FailoverPreview) recoverable() (names []string) {
	for _, w := range p.Workspaces {
		names = append(names, w.Workspace)
	}
	return names
}

// foresee fills in what a plan means.
func (f *FailoverForecast) foresee(plan activities.FailoverPlan, pace pace) {
	busy := map[string]float64{} // by host: the workspaces of one share its network and disks
	for _, w := range plan.Workspaces {
		d := WorkspaceForecast{
			Workspace: w.Workspace, Error: w.Error, Point: w.Point, Loss: w.Loss, Snapshot: w.Snapshot, SnapshotBytes: w.Bytes,
			WALBytes: max(0, int64(w.Point.At.LSN)-int64(w.SnapshotStart.LSN)), Standby: w.Standby, Databases: w.Databases, Notes: w.Notes,
		}
		d.Host = f.hostOf(w)
		if w.Standby != nil {
			d.SnapshotBytes, d.WALBytes = 0, 0
		}
		if w.Error == "" {
			d.Seconds = pace.of(d.SnapshotBytes, d.WALBytes)
			busy[d.Host] += d.Seconds
		}
		f.Details = append(f.Details, d)
	}
	for _, seconds := range busy {
		f.Seconds = max(f.Seconds, seconds)
	}
	f.Seconds += pace.fixed
	f.How = pace.how
}

func (f *FailoverForecast) hostOf(w activities.WorkspacePlan) string {
	at := slices.IndexFunc(f.Workspaces, func(p WorkspacePreview) bool { return p.Workspace == w.Workspace })
	switch {
	case w.Standby != nil:
		return w.Standby.Host
	case at >= 0:
		return f.Workspaces[at].Host
	}
	return ""
}

// pace says how fast a group fails over.
type pace struct {
	bytes float64 // of files, restored in a second
	wal   float64 // of WAL, fetched and replayed in a second
	fixed float64 // seconds besides
	how   string
}

// The pace of a group that was never failed over: what a small cloud machine does.
const (
	restoresByDefault = 100e6
	replaysByDefault  = 50e6
	fixedByDefault    = 10.0
	// tellsFrom is how much must have been restored for its rate to say something about more.
	tellsFrom = 64e6
)

// of is the seconds that bytes take.
func (p pace) of(files, wal int64) float64 { return float64(files)/p.bytes + float64(wal)/p.wal }

// pace is that of the group's last failover that brought everything up; else the default.
func (s *Service) pace(ctx context.Context, group string) (pace, error) {
	ops, err := s.Operations(ctx, group)
	if err != nil {
		return pace{}, err
	}
	for _, op := range ops {
		if op.Kind == workflows.FailoverType && op.State == topology.OperationCompleted {
			return paceOf(op), nil
		}
	}
	return pace{restoresByDefault, replaysByDefault, fixedByDefault, fmt.Sprintf(
		"by default rates, since the group was never failed over: %.0f MB of files and %.0f MB of WAL a second, and %.0f s besides",
		restoresByDefault/1e6, replaysByDefault/1e6, fixedByDefault)}, nil
}

// paceOf measures a failover by its phases.
func paceOf(op topology.Operation) pace {
	var files int64
	var restoring time.Duration
	moving := map[string]time.Duration{} // by workspace
	for _, p := range op.Phases {
		if p.EndedAt.IsZero() || p.Error != "" {
			continue
		}
		switch took := p.EndedAt.Sub(p.StartedAt); p.Name {
		case "Restore snapshot":
			restoring += took
			moving[p.Workspace] += took
		case "Fetch WAL":
			moving[p.Workspace] += took
		}
	}
	for _, w := range op.Workspaces {
		if w.Moved != nil {
			files += w.Moved.Bytes
		}
	}
	longest := time.Duration(0)
	for _, d := range moving {
		longest = max(longest, d)
	}
	p := pace{bytes: restoresByDefault, wal: replaysByDefault, fixed: max(0, op.EndedAt.Sub(op.StartedAt)-longest).Seconds()}
	rate := "the default rate"
	if files >= tellsFrom && restoring > 0 {
		p.bytes = float64(files) / restoring.Seconds()
		rate = "its rate"
	}
	p.how = fmt.Sprintf("by failover %s, which took %.1f s besides what it moved; %.0f MB of files a second, %s, and %.0f MB of WAL",
		op.ID, p.fixed, p.bytes/1e6, rate, p.wal/1e6)
	return p
}

// text is an error without the name of the operation, which the user asked for.
func text(err error) string {
	var f *fault.Error
	if errors.As(err, &f) && f.Err != nil {
		return f.Err.Error()
	}
	return err.Error()
}
