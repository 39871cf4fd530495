package activities

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/smartdr/smartdr/internal/archive"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/internal/restore"
	"github.com/smartdr/smartdr/internal/snapshot"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

// cut ends a plan at the chosen point. What lies behind it stays in its lineage; the new one forks off at the point. early is what trying
// a newer snapshot said. restore.ErrTooEarly is in the error's tree when the plan's snapshot does not lead to the point, and an older one may.
func (p *planner) cut(ctx context.Context, plan *WorkspacePlan, m *snapshot.Manifest, w way, early error) error {
	goal := p.target()
	if goal.Latest() {
		return nil
	}
	choice := restore.ChoiceOf(goal, m.End.LSN, m.StartedAt)
	choice.Searched = early
	legs := restoreLegs(p.store, p.group, p.workspace.Name, plan.Legs, w.upTo)
	at, err := restore.FindPoint(ctx, legs, plan.SegmentSize, choice)
	if w.broken != nil && (errors.Is(err, restore.ErrTooLate) || err == nil && at.Latest) {
		return w.broken
	}
	if err != nil {
		return fault.New(fault.KindOf(err), "workspace "+p.workspace.Name, err)
	}
	if known := p.knownUntil(); at.Latest && goal.Time.After(known) {
		return fault.Newf(fault.Invalid, p.op(), "workspace %s: nothing is known of %s yet: the bucket of %q is complete to %s only",
			p.workspace.Name, moment(goal.Time), p.region, moment(known)).
			WithHint("choose %s or earlier, or the latest recovery point", moment(known))
	}
	p.next = at.NextCommit
	plan.end(at, goal)
	return nil
}

// knownUntil is the moment up to which the bucket is known to have all that was written.
func (p *planner) knownUntil() time.Time {
	known := newest(p.tip.AsOf, p.settled)
	if a := p.announced; a.Lineage == p.tipOf && a.Error == "" && a.Server.LSN <= p.tip.Position.LSN {
		known = newest(known, a.MeasuredAt)
	}
	return known
}

// end makes a point the plan's.
func (w *WorkspacePlan) end(at restore.Point, goal topology.Target) {
	w.Legs = slices.Clone(w.Legs[:at.Leg+1])
	w.Legs[at.Leg].To = at.End.LSN
	w.Point = topology.RecoveryPoint{
		Lineage: w.Legs[at.Leg].Lineage.ID, At: at.End, RecordEnd: at.End.LSN, LastCommit: at.LastCommit.Time, AsOf: at.LastCommit.Time,
	}
	if !goal.Time.IsZero() {
		w.Point.AsOf = goal.Time
	}
}

// restoreLegs opens the legs of a plan in a bucket. What the last one's lineage has of newer timelines than upTo is left out; 0 leaves out
// nothing.
func restoreLegs(store objectstore.Store, group, workspace string, legs []Leg, upTo wal.Timeline) (out []restore.Leg) {
	for i, l := range legs {
		a := leftAt(archive.Open(store, group, workspace, l.Lineage.ID), lineagesOf(legs), i)
		if i+1 == len(legs) && upTo != 0 {
			a = a.UpTo(upTo)
		}
		out = append(out, restore.Leg{Archive: a, Lineage: l.Lineage, From: l.From, To: l.To})
	}
	return out
}
