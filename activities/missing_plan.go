package activities

import (
	"context"
	"fmt"
	"slices"

	"github.com/smartdr/smartdr/internal/archive"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/restore"
	"github.com/smartdr/smartdr/internal/snapshot"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

// planMissing chooses the bucket that has most of a lineage, and plans how the server is brought back as it was at the fork. What is chosen is
// noted in the job.
func (t *Target) planMissing(ctx context.Context, g topology.Group, s topology.SystemManaged, job *MissingJob) (plan WorkspacePlan, notes []string, err error) {
	var reached []MissingJob
	for _, region := range []string{g.Active, g.Other(g.Active)} {
		there, err := t.missingIn(ctx, g, *job, region)
		switch {
		case fault.Is(err, fault.Transient) && ctx.Err() == nil:
			notes = append(notes, fmt.Sprintf("the bucket of region %s does not answer", region))
		case err != nil:
			return plan, notes, err
		case there.Tip.LSN > s.Fork.LSN:
			reached = append(reached, there)
		}
	}
	slices.SortStableFunc(reached, func(a, b MissingJob) int {
		if c := b.Tip.Compare(a.Tip); c != 0 || s.Back[a.Bucket] == s.Back[b.Bucket] {
			return c
		}
		if s.Back[a.Bucket] { // it has WAL as far back as transactions go that were open at the fork
			return -1
		}
		return 1
	})
	if len(reached) == 0 {
		return plan, notes, t.nothingArrived(ctx, g, s, notes)
	}
	for _, there := range reached {
		var why error
		if plan, why = t.planFork(ctx, g, there); why == nil {
			*job = there
			return plan, notes, nil
		}
		if err == nil {
			err = why
		}
	}
	return plan, notes, err
}

// nothingArrived says why there is nothing to compare.
func (t *Target) nothingArrived(ctx context.Context, g topology.Group, s topology.SystemManaged, notes []string) error {
	tail, err := t.Catalog.Tail(ctx, g.Name, s.Workspace, s.Lineage)
	if err != nil && !fault.Is(err, fault.Missing) {
		return err
	}
	if tail.Complete {
		return fault.Newf(fault.Invalid, opMissing, "%w of %s: its server wrote nothing that the one which serves does not have", errNothing, s.Name)
	}
	why := fault.Newf(fault.Invalid, opMissing, "nothing has arrived yet of what region %s wrote in workspace %s after %s", s.Region, s.Workspace, s.Fork.LSN)
	switch {
	case tail.Error != "":
		return why.WithHint("It is waited for: %s", tail.Error)
	case len(notes) > 0:
		return why.WithHint("It is waited for: %s.", notes[0])
	}
	return why.WithHint("It is brought over as soon as that region, or its bucket, is back: `smartdr status --group %s` says how far it is.", g.Name)
}

// missingIn says how far a bucket has a lineage that was left.
func (t *Target) missingIn(ctx context.Context, g topology.Group, job MissingJob, region string) (MissingJob, error) {
	store, err := t.store(region)
	if err != nil {
		return job, err
	}
	l := g.FindLineage(job.Workspace, job.Lineage)
	if l == nil {
		return job, fault.Newf(fault.Missing, opMissing, "group %s does not know lineage %s", g.Name, job.Lineage)
	}
	a := archive.Open(store, g.Name, job.Workspace, l.ID)
	from := l.SegmentSize.Start(job.Fork.LSN)
	tip, err := a.TipFrom(ctx, *l, from)
	if err == nil && tip.Line.At(job.Fork.LSN-1) != job.Fork.Timeline { // its server went back behind the fork since, and on from there
		job.UpTo = job.Fork.Timeline
		tip, err = a.UpTo(job.UpTo).TipFrom(ctx, *l, from)
	}
	job.Bucket, job.End = region, tip.Position
	end := tip.RecordEnd
	if end > tip.Position.LSN { // a log switch, of which the bucket does not have the whole file: nothing was written in it
		end = tip.LastCommit.LSN
	}
	if end > 0 {
		job.Tip = wal.Position{Timeline: tip.Line.At(end - 1), LSN: end}
	}
	return job, err
}

// planFork plans a restore to the fork.
func (t *Target) planFork(ctx context.Context, g topology.Group, job MissingJob) (plan WorkspacePlan, err error) {
	p, err := t.branchPlanner(ctx, g, job.Workspace, job.Bucket)
	if err != nil {
		return plan, err
	}
	snapshots, err := snapshot.List(ctx, p.store, p.group, p.workspace.Name)
	if err != nil && !fault.Is(err, fault.Corrupt) {
		return plan, err
	}
	p.left = job.Fork
	plan, found, err := p.along(ctx, g.Ancestry(job.Workspace, job.Lineage), snapshots)
	if err == nil && !found {
		err = fault.Newf(fault.Missing, opMissing, "no complete snapshot in the bucket of %q leads to %s of lineage %s", job.Bucket, job.Fork.LSN, job.Lineage).
			WithHint("`smartdr timeline --group %s` shows what can be restored.", g.Name)
	}
	return plan, err
}

// missingWay is the way of lineages from the one that a position is of to a job's tip.
func (t *Target) missingWay(g topology.Group, job MissingJob, from *Leg) ([]restore.Leg, error) {
	store, err := t.store(job.Bucket)
	if err != nil {
		return nil, err
	}
	way := g.Ancestry(job.Workspace, job.Lineage)
	if from != nil {
		at := slices.IndexFunc(way, func(l topology.Lineage) bool { return l.ID == from.Lineage.ID })
		way = way[max(at, 0):]
	}
	var legs []Leg
	for i, l := range way {
		leg := Leg{Lineage: l, From: l.Start, To: job.Tip.LSN}
		if i == 0 && from != nil {
			leg.From = from.From
		}
		if i+1 < len(way) {
			leg.To = way[i+1].Parent.At.LSN
		}
		legs = append(legs, leg)
	}
	return restoreLegs(store, job.Group, job.Workspace, legs, job.UpTo), nil
}
