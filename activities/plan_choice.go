package activities

import (
	"context"
	"slices"

	"github.com/smartdr/smartdr/internal/archive"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/internal/restore"
	"github.com/smartdr/smartdr/internal/snapshot"
	"github.com/smartdr/smartdr/internal/topology"
)

// cut ends a plan at the chosen point. What lies behind it stays in its lineage; the new one forks off at the point.
// restore.ErrTooEarly is in the error's tree when the plan's snapshot was not consistent yet there.
func (p *planner) cut(ctx context.Context, plan *WorkspacePlan, m *snapshot.Manifest) error {
	goal := p.goal
	if goal.LSN == 0 && goal.Time.IsZero() {
		goal.LSN = p.left
	}
	if goal.LSN == 0 && goal.Time.IsZero() {
		return nil
	}
	goal.Consistent, goal.StartedAt = m.End.LSN, m.StartedAt
	at, err := restore.FindPoint(ctx, restoreLegs(p.store, p.group, p.workspace.Name, plan.Legs), plan.SegmentSize, goal)
	if err != nil {
		return fault.New(fault.KindOf(err), "workspace "+p.workspace.Name, err)
	}
	if at.Latest && goal.Time.After(p.tip.AsOf) {
		return fault.Newf(fault.Invalid, "plan failover", "workspace %s: nothing is known of %s yet: the bucket of %q is complete to %s only",
			p.workspace.Name, moment(goal.Time), p.region, moment(p.tip.AsOf)).
			WithHint("choose %s or earlier, or the latest recovery point", moment(p.tip.AsOf))
	}
	p.next = at.NextCommit
	plan.end(at, goal)
	return nil
}

// end makes a point the plan's.
func (w *WorkspacePlan) end(at restore.Point, goal restore.PointChoice) {
	w.Legs = slices.Clone(w.Legs[:at.Leg+1])
	w.Legs[at.Leg].To = at.End.LSN
	w.Point = topology.RecoveryPoint{
		Lineage: w.Legs[at.Leg].Lineage.ID, At: at.End, RecordEnd: at.End.LSN, LastCommit: at.LastCommit.Time, AsOf: at.LastCommit.Time,
	}
	if !goal.Time.IsZero() {
		w.Point.AsOf = goal.Time
	}
}

// restoreLegs opens the legs of a plan in a bucket.
func restoreLegs(store objectstore.Store, group, workspace string, legs []Leg) (out []restore.Leg) {
	for i, l := range legs {
		a := leftAt(archive.Open(store, group, workspace, l.Lineage.ID), lineagesOf(legs), i)
		out = append(out, restore.Leg{Archive: a, Lineage: l.Lineage, From: l.From, To: l.To})
	}
	return out
}
