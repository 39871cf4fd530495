package activities

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/smartdr/smartdr/internal/archive"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/internal/restore"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

const (
	// lossPatience is how long the other bucket may take to say what it has, and the counting of transactions: the failover
	// itself waits for it.
	lossPatience = 10 * time.Second
	// countMost is how much WAL is read to count transactions: what takes a few seconds.
	countMost = 256 << 20
)

// served is what is known of the side that serves.
type served struct {
	end   wal.LSN           // of what its server has flushed, as far as anybody knows
	at    time.Time         // the newest moment of which that is known
	held  wal.LSN           // end of what some bucket that answers holds
	store objectstore.Store // that bucket
}

// loss says what a plan leaves behind; nil when nothing is known of the side that serves.
func (p *planner) loss(ctx context.Context, plan *WorkspacePlan) *topology.Loss {
	ctx, cancel := context.WithTimeout(ctx, lossPatience)
	defer cancel()
	current := p.workspace.CurrentLineage()
	if current == nil || len(plan.Legs) == 0 {
		return nil
	}
	at := p.parted(*plan, *current)
	s, known := p.serving(ctx, *current, at)
	if !known {
		return nil
	}
	l := &topology.Loss{AtLeast: p.more()}
	if s.end <= at {
		plan.Point.AsOf = newest(plan.Point.AsOf, s.at) // the server had nothing then that is not here
		return l
	}
	l.Bytes, l.Seconds = int64(s.end-at), max(0, s.at.Sub(p.leaves(*plan)).Seconds())
	p.count(ctx, plan, l, s, *current, max(plan.Point.RecordEnd, at))
	return l
}

// parted is the position at which a plan's way and that of the lineage that serves part.
func (p *planner) parted(plan WorkspacePlan, l topology.Lineage) wal.LSN {
	end, last := plan.Point.At.LSN, plan.Legs[len(plan.Legs)-1].Lineage.ID
	for l.ID != last && l.Parent != nil {
		if l.Parent.Lineage == last {
			return min(end, l.Parent.At.LSN)
		}
		parent := p.workspace.FindLineage(l.Parent.Lineage)
		if parent == nil {
			break
		}
		l = *parent
	}
	return end
}

// serving finds out how far the side that serves is: by what it announced, and by what its bucket has.
func (p *planner) serving(ctx context.Context, current topology.Lineage, from wal.LSN) (s served, known bool) {
	s = served{held: from, store: p.store}
	if p.tipOf == current.ID {
		s.held = max(s.held, p.tip.Position.LSN)
	}
	if p.announced.Lineage == current.ID {
		s.end, known = p.announced.Server.LSN, true
		if p.announced.Error == "" {
			s.at = p.announced.MeasuredAt
		}
	}
	if p.other != nil {
		a := archive.Open(p.other, p.group, p.workspace.Name, current.ID)
		tip, err := a.TipFrom(ctx, current, max(current.Start.LSN, current.SegmentSize.Start(from)))
		if err == nil {
			known, s.at = true, newest(s.at, tip.AsOf)
			if tip.Position.LSN > s.held {
				s.held, s.store = tip.Position.LSN, p.other
			}
		}
	}
	s.end = max(s.end, s.held)
	return s, known
}

// more reports whether the side that serves may have written, or may still write, more than it announced: nobody has fenced it yet.
func (p *planner) more() bool {
	return p.workspace.State != topology.WorkspaceSuspended // its server ended when all was shipped
}

// leaves is the moment from which on something may be left behind: of the first commit behind a chosen point; else of the
// oldest byte that had not arrived when it was last measured, or that up to which all had arrived.
func (p *planner) leaves(plan WorkspacePlan) time.Time {
	if p.next.LSN != 0 {
		return p.next.Time
	}
	c := p.announced.Cursor(p.region)
	if c == nil || p.announced.Error != "" || c.Point.At.LSN != plan.Point.At.LSN || c.Point.Lineage != plan.Point.Lineage {
		return plan.Point.AsOf
	}
	return newest(plan.Point.AsOf, p.announced.MeasuredAt.Add(-time.Duration(c.LagSeconds*float64(time.Second))))
}

func newest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// count counts the transactions between the point and the end of what some bucket has.
func (p *planner) count(ctx context.Context, plan *WorkspacePlan, l *topology.Loss, s served, current topology.Lineage, from wal.LSN) {
	to := min(s.held, from+countMost)
	l.UnknownBytes = int64(s.end - max(to, min(from, s.end)))
	if to <= from {
		return
	}
	legs := restoreLegs(s.store, p.group, p.workspace.Name, p.behindLegs(current, from, to), 0)
	total, byOID, err := restore.CountCommits(ctx, legs, plan.SegmentSize, from, to)
	if err != nil {
		l.UnknownBytes = l.Bytes
		plan.Notes = append(plan.Notes, "the transactions that stay behind were not counted: "+err.Error())
		return
	}
	l.Transactions = total
	for oid, n := range byOID {
		if l.Databases == nil {
			l.Databases = map[string]int64{}
		}
		l.Databases[p.databaseName(oid)] += n
	}
}

// behindLegs is the way of the lineage that serves, from a position on.
func (p *planner) behindLegs(current topology.Lineage, from, to wal.LSN) (legs []Leg) {
	line := ancestry(p.workspace, current)
	at := 0
	for i, l := range line {
		if l.Parent != nil && l.Parent.At.LSN <= from {
			at = i
		}
	}
	start := max(line[at].Start.LSN, current.SegmentSize.Start(from))
	for i, l := range line[at:] {
		leg := Leg{Lineage: l, From: l.Start, To: to}
		if i == 0 {
			leg.From.LSN = start
		}
		if next := at + i + 1; next < len(line) {
			leg.To = line[next].Parent.At.LSN
		}
		legs = append(legs, leg)
	}
	return legs
}

// databaseName names a database by what the snapshot and its taker said.
func (p *planner) databaseName(oid uint32) string {
	for _, d := range p.known {
		if d.OID == oid {
			return d.Name
		}
	}
	for _, d := range p.complete.Databases {
		if d.OID == oid {
			return d.Name
		}
	}
	if oid == 0 {
		return "(unknown)"
	}
	return fmt.Sprintf("(OID %d)", oid)
}

// acceptable refuses a plan that would lose more than is accepted, or of which nobody knows that it would not. With force what
// is known counts: a side that is silent may have written anything since, and may have written nothing.
func acceptable(plan FailoverPlan, limit *topology.LossLimit, force bool, now time.Time) error {
	if limit == nil {
		return nil
	}
	for _, w := range plan.Workspaces {
		if w.Error != "" || w.Serving != nil {
			continue
		}
		if why := unacceptable(w, *limit, force, now); why != "" {
			e := fault.Newf(fault.Invalid, "plan failover", "workspace %s %s; accepted is %s", w.Workspace, why, limit)
			return e.WithHint("nothing was changed; accept more (--max-data-loss), or bring %q back first", plan.From)
		}
	}
	return nil
}

func unacceptable(w WorkspacePlan, limit topology.LossLimit, force bool, now time.Time) string {
	if w.Loss == nil {
		return fmt.Sprintf("would lose an unknown amount: nothing is known of what its server wrote after %s", moment(w.Point.AsOf))
	}
	known := *w.Loss
	known.AtLeast = false
	if !limit.Allows(&known) {
		return "would lose " + lossText(w.Loss)
	}
	most := now.Sub(w.Point.AsOf) // nothing older can be missing
	if w.Loss.AtLeast && !force && (limit.InBytes || most.Seconds() > limit.Seconds) {
		return fmt.Sprintf("would lose %s, and nothing was heard of its server since: what it may have written after %s is not known (force goes by what is known)",
			lossText(w.Loss), moment(w.Point.AsOf))
	}
	return ""
}

// lossText is a loss in words.
func lossText(l *topology.Loss) string {
	if l == nil {
		return "an unknown amount"
	}
	text := fmt.Sprintf("%.1f s, %d bytes of WAL", l.Seconds, l.Bytes)
	if l.AtLeast {
		text = "at least " + text
	}
	if l.Transactions > 0 {
		var parts []string
		for _, name := range slices.Sorted(maps.Keys(l.Databases)) {
			parts = append(parts, fmt.Sprintf("%s %d", name, l.Databases[name]))
		}
		text += fmt.Sprintf(" with %d transactions (%s)", l.Transactions, strings.Join(parts, ", "))
	}
	if l.UnknownBytes > 0 {
		text += fmt.Sprintf("; %d bytes of it are in no bucket that answers", l.UnknownBytes)
	}
	return text
}
