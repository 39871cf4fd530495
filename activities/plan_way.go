package activities

import (
	"context"
	"errors"
	"slices"

	"github.com/smartdr/smartdr/internal/archive"
	"github.com/smartdr/smartdr/internal/restore"
	"github.com/smartdr/smartdr/internal/snapshot"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

// ancestry returns l's lineages from the oldest ancestor down to l.
func ancestry(w topology.Workspace, l topology.Lineage) []topology.Lineage {
	line := []topology.Lineage{l}
	for l.Parent != nil {
		parent := w.FindLineage(l.Parent.Lineage)
		if parent == nil {
			break
		}
		l = *parent
		line = append(line, l)
	}
	slices.Reverse(line)
	return line
}

// along plans by the newest snapshot that lies on a line of lineages, whose WAL is there, and that leads to what is wanted. found is
// false when there is none; restore.ErrTooEarly is in the error's tree when only what is wanted lies before them all.
func (p *planner) along(ctx context.Context, line []topology.Lineage, snapshots []*snapshot.Manifest) (plan WorkspacePlan, found bool, err error) {
	var early error               // of the oldest snapshot that was tried
	var passed *snapshot.Manifest // the oldest one that is known to be too new, without a look
	for _, m := range slices.Backward(snapshots) {
		at := slices.IndexFunc(line, func(l topology.Lineage) bool { return l.ID == m.Lineage })
		if at < 0 || !p.before(m, line[at:]) {
			continue
		}
		if p.beyond(m) {
			passed = m
			continue
		}
		plan, found, err := p.from(ctx, m, line[at:], early)
		if found || err != nil && !errors.Is(err, restore.ErrTooEarly) {
			return plan, found, err
		}
		if err != nil {
			early = err
		}
	}
	if early == nil && passed != nil { // for what it says of what there is
		at := slices.IndexFunc(line, func(l topology.Lineage) bool { return l.ID == passed.Lineage })
		_, _, early = p.from(ctx, passed, line[at:], nil)
	}
	return plan, false, early
}

// target is what is wanted of the line: what was chosen, else the point where it was left, if it was.
func (p *planner) target() topology.Target {
	if p.goal.Latest() {
		return topology.Target{LSN: p.left.LSN}
	}
	return p.goal
}

// beyond reports whether a snapshot is known to be of a later moment than what is wanted.
func (p *planner) beyond(m *snapshot.Manifest) bool {
	t := p.target()
	return t.LSN != 0 && t.LSN < m.End.LSN || !t.Time.IsZero() && t.Time.Before(m.StartedAt)
}

// before reports whether a snapshot was consistent before the line went on elsewhere.
func (p *planner) before(m *snapshot.Manifest, line []topology.Lineage) bool {
	left := p.left
	if len(line) > 1 {
		if line[1].Parent == nil {
			return false
		}
		left = line[1].Parent.At
	}
	return left.LSN == 0 || m.End.LSN <= left.LSN && m.End.Timeline <= left.Timeline
}

// from plans by one snapshot. early is what trying a newer one said.
func (p *planner) from(ctx context.Context, m *snapshot.Manifest, line []topology.Lineage, early error) (plan WorkspacePlan, found bool, err error) {
	w, err := p.way(ctx, m, line)
	if err != nil {
		return plan, false, err
	}
	if !w.leads(m, line) {
		return plan, false, nil
	}
	plan = p.describe(m, w.legs, w.tip)
	p.tip, p.tipOf, p.known = w.tip, w.legs[len(w.legs)-1].Lineage.ID, m.Databases
	if err := p.cut(ctx, &plan, m, w, early); err != nil {
		return plan, false, err
	}
	return plan, true, nil
}

// way is the WAL from a snapshot's start on, as far as a bucket has it.
type way struct {
	legs   []Leg
	tip    archive.Tip  // of the last leg's lineage
	upTo   wal.Timeline // what the last leg's lineage has of newer ones is not on the way; 0: all is
	broken error        // why it does not go on to the end of the line; then the target must lie before
	passes bool         // through the end of the snapshot
}

// leads reports whether a way goes on from its snapshot's end, and onto the last lineage of the line.
func (w way) leads(m *snapshot.Manifest, line []topology.Lineage) bool {
	if !w.passes || w.tip.Position.LSN < m.End.LSN && len(w.legs) == 1 {
		return false // another timeline's; or published, and its WAL is not in this bucket yet: an older one's is
	}
	last := line[len(line)-1]
	return w.broken != nil || len(line) == 1 || w.tip.Position.LSN > last.Parent.At.LSN // else nothing of the last lineage is in this bucket
}

// way returns the stretches of WAL from a snapshot's start to the end of the line. Where some is missing on the way the rest is out of
// reach, which is an error unless a point is chosen: that may lie before.
func (p *planner) way(ctx context.Context, m *snapshot.Manifest, line []topology.Lineage) (w way, err error) {
	from := wal.Position{Timeline: m.Start.Timeline, LSN: m.SegmentSize.Start(m.Start.LSN)}
	for i, l := range line {
		if i > 0 {
			from = l.Start
		}
		if w.upTo = p.left.Timeline; i+1 < len(line) {
			w.upTo = line[i+1].Parent.At.Timeline
		}
		a := archive.Open(p.store, p.group, p.workspace.Name, l.ID)
		if w.upTo != 0 {
			a = a.UpTo(w.upTo)
		}
		if w.tip, err = a.TipFrom(ctx, l, from.LSN); err != nil {
			return w, err
		}
		w.passes = w.passes || i == 0 && w.tip.Line.At(m.End.LSN-1) == m.End.Timeline
		w.legs = append(w.legs, Leg{Lineage: l, From: from, To: p.until(line, i, w.tip)})
		if i+1 < len(line) && w.tip.Position.LSN < line[i+1].Parent.At.LSN {
			w.broken = p.gap(l.ID, w.tip.Position.LSN, line[i+1].Parent.At.LSN)
			break
		}
	}
	if w.broken != nil && p.goal.Latest() {
		err = w.broken
	}
	return w, err
}

// until is where a line's lineage ends on the way: where it was left, or where the bucket has no more.
func (p *planner) until(line []topology.Lineage, i int, tip archive.Tip) wal.LSN {
	left := p.left.LSN
	if i+1 < len(line) {
		left = line[i+1].Parent.At.LSN
	}
	if left == 0 {
		return tip.Position.LSN
	}
	return min(left, tip.Position.LSN)
}
