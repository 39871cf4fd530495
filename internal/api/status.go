package api

import (
	"context"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/sdk/converter"

	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/workflows"
)

// liveTimeout bounds what is asked of Temporal only to be a few seconds fresher.
const liveTimeout = 2 * time.Second

func (s *Service) bucketTimeout() time.Duration {
	if s.opts.BucketTimeout > 0 {
		return s.opts.BucketTimeout
	}
	return 4 * time.Second
}

// Status returns a group's replication as the buckets say it, with the newest word of the shippers where Temporal
// answers.
func (s *Service) Status(ctx context.Context, group string) (topology.GroupStatus, error) {
	if err := topology.CheckName("group", group); err != nil {
		return topology.GroupStatus{}, err
	}
	c, err := s.openCatalog(ctx)
	if err != nil {
		return topology.GroupStatus{}, err
	}
	st, err := c.Status(ctx, group, s.opts.Now())
	if err != nil {
		return topology.GroupStatus{}, err
	}
	s.overlayLive(ctx, &st)
	return st, nil
}

// overlayLive puts what activities said with their last heartbeat over what they wrote into the buckets, where it is
// newer. Without Temporal nothing changes.
func (s *Service) overlayLive(ctx context.Context, st *topology.GroupStatus) {
	if st.Group.Replication == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, liveTimeout)
	defer cancel()
	for i := range st.Workspaces {
		w := &st.Workspaces[i]
		live, err := s.live(ctx, st.Group, w.Workspace)
		if err != nil {
			s.opts.Log.DebugContext(ctx, "no live progress", "workspace", w.Workspace, "error", err)
			return
		}
		if overlay(w, live) {
			w.Databases = s.databaseStatuses(ctx, st.Group, *w)
		}
	}
}

// live asks Temporal for the heartbeats of a workspace's replication.
func (s *Service) live(ctx context.Context, g topology.Group, workspace string) ([]*workflowpb.PendingActivityInfo, error) {
	c, err := s.dial(ctx)
	if err != nil {
		return nil, err
	}
	d, err := c.DescribeWorkflowExecution(ctx, workflows.WorkspaceReplicationID(g.Name, workspace, g.Epoch), "")
	return d.GetPendingActivities(), err
}

// overlay puts heartbeat details over what the buckets said, where they are newer and of the same lineage, and
// reports whether any was. Details may be the catalog's documents, or a shipper's cursors alone.
func overlay(w *topology.WorkspaceStatus, pending []*workflowpb.PendingActivityInfo) (changed bool) {
	for _, a := range pending {
		details := a.GetHeartbeatDetails()
		switch a.GetActivityType().GetName() {
		case "ShipSegments":
			wal := detail[*topology.WALProgress](details)
			if wal == nil {
				wal = withCursors(w.WAL, detail[[]topology.Cursor](details))
			}
			if wal != nil && w.WAL != nil && wal.Lineage == w.WAL.Lineage && wal.MeasuredAt.After(w.WAL.MeasuredAt) {
				w.WAL, changed = wal, true
			}
		case "TakeSnapshot":
			snap := detail[*topology.SnapshotProgress](details)
			if snap != nil && w.Snapshot != nil && snap.Lineage == w.Snapshot.Lineage && snap.MeasuredAt.After(w.Snapshot.MeasuredAt) {
				w.Snapshot, changed = snap, true
			}
		}
	}
	return changed
}

// withCursors is what was said last with newer cursors in it. They were measured no earlier than the moment up to
// which they are complete.
func withCursors(said *topology.WALProgress, cursors []topology.Cursor) *topology.WALProgress {
	if said == nil || len(cursors) == 0 {
		return nil
	}
	p := *said
	p.Cursors = cursors
	for _, c := range cursors {
		if c.Point.Lineage == said.Lineage && c.Point.AsOf.After(p.MeasuredAt) {
			p.MeasuredAt = c.Point.AsOf
		}
	}
	return &p
}

// detail decodes heartbeat details; zero when there are none, or of another form.
func detail[T any](payloads *commonpb.Payloads) (v T) {
	if payloads == nil || converter.GetDefaultDataConverter().FromPayloads(payloads, &v) != nil {
		var none T
		return none
	}
	return v
}

func (s *Service) databaseStatuses(ctx context.Context, g topology.Group, w topology.WorkspaceStatus) []topology.DatabaseStatus {
	o := topology.Observation{
		Group: &g, Workspace: g.Workspace(w.Workspace), WAL: w.WAL, Snapshot: w.Snapshot, Now: s.opts.Now(),
	}
	if o.Workspace == nil {
		return w.Databases
	}
	if m, err := s.catalog.Metadata(ctx, g.Name, w.Workspace); err == nil {
		o.Databases = m.Databases
	}
	return topology.DatabaseStatuses(o)
}
