package api

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/snapshot"
	"github.com/smartdr/smartdr/workflows"
)

// SnapshotsRequest names whose snapshots are meant: of a group, or of one workspace.
type SnapshotsRequest struct {
	Group     string `json:"group"`
	Workspace string `json:"workspace,omitempty"`
}

// Snapshot is one snapshot, wherever it is.
type Snapshot struct {
	Workspace   string    `json:"workspace"`
	ID          string    `json:"id"`
	Lineage     string    `json:"lineage"`
	End         string    `json:"end"` // first consistent position
	CompletedAt time.Time `json:"completedAt"`
	Bytes       int64     `json:"bytes"` // of all files, as they are restored
	Regions     []string  `json:"regions"`
}

// Snapshots is what the buckets hold.
type Snapshots struct {
	Group     string     `json:"group"`
	Snapshots []Snapshot `json:"snapshots"` // by workspace, oldest first
	Notes     []string   `json:"notes,omitempty"`
}

// TakeSnapshot takes one now, and waits for it.
func (s *Service) TakeSnapshot(ctx context.Context, req SnapshotsRequest) (ChangedGroup, error) {
	g, err := s.Group(ctx, req.Group)
	if err != nil {
		return ChangedGroup{}, err
	}
	if req.Workspace != "" {
		if _, err := findWorkspace(g, req.Workspace); err != nil {
			return ChangedGroup{}, err
		}
	}
	if g.Replication == nil {
		return ChangedGroup{}, fault.Newf(fault.Invalid, "take snapshot", "group %s is not replicated, and has no snapshots", g.Name).
			WithHint("smartdr configure --group %s --secondary REGION", g.Name)
	}
	return s.changeBy(ctx, workflows.SnapshotNowID(g.Name), workflows.SnapshotType, "take a snapshot of "+g.Name, workflows.SnapshotInput(req))
}

// Snapshots lists the snapshots of a group in the buckets that answer.
func (s *Service) Snapshots(ctx context.Context, req SnapshotsRequest) (Snapshots, error) {
	g, err := s.Group(ctx, req.Group)
	if err == nil && req.Workspace != "" {
		_, err = findWorkspace(g, req.Workspace)
	}
	if err != nil {
		return Snapshots{}, err
	}
	out := Snapshots{Group: g.Name, Snapshots: []Snapshot{}}
	answered := false
	for _, w := range g.Workspaces {
		if req.Workspace != "" && w.Name != req.Workspace {
			continue
		}
		for _, region := range bucketsOf(g) {
			store, err := s.store(ctx, region)
			if err != nil {
				return Snapshots{}, err
			}
			found, err := snapshot.List(ctx, store, g.Name, w.Name)
			if err != nil {
				out.Notes = append(out.Notes, fmt.Sprintf("In the bucket of %s not all could be read: %s.", region, err))
			}
			answered = answered || err == nil || len(found) > 0
			out.add(found, region)
		}
	}
	if !answered {
		return out, fault.Newf(fault.Transient, "list snapshots", "no bucket can be read: %s", strings.Join(out.Notes, " "))
	}
	return out, nil
}

func (out *Snapshots) add(found []*snapshot.Manifest, region string) {
	for _, m := range found {
		i := slices.IndexFunc(out.Snapshots, func(o Snapshot) bool { return o.Workspace == m.Workspace && o.ID == m.ID })
		if i >= 0 {
			out.Snapshots[i].Regions = append(out.Snapshots[i].Regions, region)
			continue
		}
		out.Snapshots = append(out.Snapshots, Snapshot{Workspace: m.Workspace, ID: m.ID, Lineage: m.Lineage, End: m.End.LSN.String(),
			CompletedAt: m.CompletedAt, Bytes: m.TotalBytes, Regions: []string{region}})
	}
	slices.SortStableFunc(out.Snapshots, func(a, b Snapshot) int {
		if a.Workspace != b.Workspace {
			return strings.Compare(a.Workspace, b.Workspace)
		}
		return strings.Compare(a.ID, b.ID)
	})
}
