package activities

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/retention"
	"github.com/smartdr/smartdr/internal/topology"
)

const (
	// clockSlack is by how much the clocks of servers, workers and buckets may differ. NTP keeps them within a second; this is for where nobody
	// looks after it.
	clockSlack = 5 * time.Minute
	// snapshotSilence is how long a snapshot that is being taken may say nothing before it counts as given up.
	snapshotSilence = 15 * time.Minute
)

// SweepBucket removes from a region's bucket what nothing needs of a group, and records what it did. A later call goes on where one was killed.
func (c *Control) SweepBucket(ctx context.Context, in SweepBucketInput) (topology.Swept, error) {
	p := beat(ctx)
	defer p.end()
	swept, err := c.sweepBucket(ctx, in, p)
	return swept, judge(ctx, err)
}

func (c *Control) sweepBucket(ctx context.Context, in SweepBucketInput, p *pulse) (topology.Swept, error) {
	store, err := c.store(in.Region)
	if err != nil {
		return topology.Swept{}, err
	}
	if err := c.ensureController(ctx, in.Group); err != nil {
		return topology.Swept{}, err
	}
	grace := time.Duration(in.GraceMinutes) * time.Minute
	s := retention.Sweep{
		Store: store, Catalog: c.Catalog, Group: in.Group, Region: in.Region, Controller: c.Controller,
		Grace: grace, Slack: clockSlack, DryRun: in.DryRun, Log: c.Log,
		Claims: c.claims(in.Region), Taking: c.taking(in.Group), TailComplete: c.tailComplete(in.Group), Needed: c.needed(in.Region),
		Say: func(what string) { p.say(what) },
	}
	swept, err := s.Run(ctx)
	if in.DryRun || fault.Is(err, fault.Taken) || fault.Is(err, fault.Fenced) {
		return swept, err
	}
	if err != nil {
		swept.Error, swept.Hint = err.Error(), fault.HintOf(err)
	}
	if putErr := c.Catalog.PutSwept(ctx, swept); err == nil {
		err = putErr
	}
	return swept, err
}

// taking returns what tells whether a snapshot of a workspace is being taken.
func (c *Control) taking(group string) func(context.Context, string) (bool, error) {
	return func(ctx context.Context, workspace string) (bool, error) {
		s, err := c.Catalog.SnapshotProgress(ctx, group, workspace)
		if fault.Is(err, fault.Missing) {
			return false, nil
		}
		return underWay(s, time.Now()), err
	}
}

// underWay reports whether a snapshot is not done and was heard of lately.
func underWay(s topology.SnapshotProgress, now time.Time) bool {
	return s.DoneBytes < s.TotalBytes && now.Sub(s.MeasuredAt) < snapshotSilence
}

func (c *Control) tailComplete(group string) func(context.Context, string, string) (bool, error) {
	return func(ctx context.Context, workspace, lineage string) (bool, error) {
		t, err := c.Catalog.Tail(ctx, group, workspace, lineage)
		if fault.Is(err, fault.Missing) {
			return false, nil
		}
		return t.Complete, err
	}
}

// claims returns what tells of needs that are in no document of the group: those of the operation that claimed its epoch, as long as it can be resumed,
// and those of standbys.
func (c *Control) claims(region string) func(context.Context, *topology.Group, string) ([]retention.Claim, error) {
	return func(ctx context.Context, g *topology.Group, workspace string) ([]retention.Claim, error) {
		planned, err := c.planClaim(ctx, g, region, workspace)
		if err != nil {
			return nil, err
		}
		w := g.Workspace(workspace)
		if _, kept := w.Standbys[region]; !kept {
			return planned, nil
		}
		at, err := c.Catalog.StandbyProgress(ctx, g.Name, workspace)
		if fault.Is(err, fault.Missing) || err == nil && w.FindLineage(at.Lineage) == nil {
			return planned, nil
		}
		if err != nil {
			return nil, err
		}
		l := w.FindLineage(at.Lineage)
		from := l.Start.LSN
		if at.Replayed != 0 {
			from = l.SegmentSize.Start(at.Replayed)
		}
		return append(planned, retention.Claim{Legs: []retention.Leg{{Lineage: *l, From: from}}}), nil
	}
}

// planClaim returns what the operation that claimed the group's epoch restores of a workspace, unless it has done so.
func (c *Control) planClaim(ctx context.Context, g *topology.Group, region, workspace string) ([]retention.Claim, error) {
	if g.Claimed == nil {
		return nil, nil
	}
	op, err := c.Catalog.Operation(ctx, g.Name, g.Claimed.Operation)
	if fault.Is(err, fault.Missing) || err == nil && op.State != topology.OperationActive && op.State != topology.OperationFailed {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	b, err := c.Catalog.FixPlan(ctx, region, g.Name, op.ID, func(there []byte) ([]byte, error) {
		if there == nil {
			return nil, fault.Newf(fault.Missing, "read plan of operation "+op.ID, "there is none in the bucket of %s", region)
		}
		return there, nil
	})
	if fault.Is(err, fault.Missing) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var plan FailoverPlan
	if err := json.Unmarshal(b, &plan); err != nil {
		return nil, fault.New(fault.Corrupt, "read plan of operation "+op.ID, err)
	}
	return claimsOf(plan, workspace), nil
}

func claimsOf(plan FailoverPlan, workspace string) (claims []retention.Claim) {
	i := slices.IndexFunc(plan.Workspaces, func(w WorkspacePlan) bool { return w.Workspace == workspace })
	if i < 0 {
		return nil
	}
	claim := retention.Claim{Snapshot: plan.Workspaces[i].Snapshot}
	for _, l := range plan.Workspaces[i].Legs {
		claim.Legs = append(claim.Legs, retention.Leg{Lineage: l.Lineage, From: l.From.LSN, To: l.To})
	}
	return []retention.Claim{claim}
}

// RecordRetention changes what a region keeps.
func (c *Control) RecordRetention(ctx context.Context, in RecordRetentionInput) (topology.Group, error) {
	p := beat(ctx)
	defer p.end()
	g, err := c.recordRetention(ctx, in)
	return g, judge(ctx, err)
}

func (c *Control) recordRetention(ctx context.Context, in RecordRetentionInput) (topology.Group, error) {
	if err := in.Retention.Check(); err != nil {
		return topology.Group{}, err
	}
	u, err := c.Catalog.Update(ctx, in.Group, func(g *topology.Group) error {
		if in.Region == "" || in.Region != g.Primary && in.Region != g.Secondary {
			return fault.Newf(fault.Invalid, "set retention", "group %s has no region %q", in.Group, in.Region).WithHint("Its regions are %s and %s.", g.Primary, g.Secondary)
		}
		next := map[string]topology.Retention{in.Region: in.Retention}
		for region, r := range g.Retention {
			if region != in.Region {
				next[region] = r
			}
		}
		g.Retention = next
		return nil
	})
	return u.Group, err
}
