package history

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/smartdr/smartdr/internal/snapshot"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

// add puts the windows and gaps of a lineage onto a timeline.
func (c *Contents) add(t *topology.Timeline, s survey) {
	if c.floor(s.lineage) == topology.Gone {
		return
	}
	if s.broken != "" {
		if len(s.runs) > 0 {
			t.Gaps = append(t.Gaps, c.gap(s, s.runs[0].start, s.last().end, s.broken))
		}
		return
	}
	a := assembly{c: c, s: s, t: t, at: c.ended(s.lineage)}
	for i := range s.runs {
		a.run(i)
	}
	a.close()
}

func (c *Contents) floor(l topology.Lineage) wal.LSN {
	return c.group.Workspace(c.Workspace).Floor(c.Region, l.ID)
}

// assembly turns one lineage's runs into windows and the gaps between them.
type assembly struct {
	c    *Contents
	s    survey
	t    *topology.Timeline
	at   wal.LSN  // where the gap that is open begins; 0: it begins with the next run
	why  []string // of the gap that is open: what is missing, as sentences without their full stops
	ends wal.LSN  // of what was seen
}

func (a *assembly) run(i int) {
	r := a.s.runs[i]
	if i > 0 {
		a.missing(a.s.runs[i-1].end, r.start)
	}
	a.astray(r.end)
	a.ends = r.end
	from := max(r.from, a.c.floor(a.s.lineage))
	switch {
	case r.end <= a.c.floor(a.s.lineage):
		a.at, a.why = 0, nil // given up: nothing that is missing there is missed
		return
	case r.from == 0:
		a.open(r.start)
		a.why = append(a.why, fmt.Sprintf("the WAL from %s to %s cannot be used: %s", r.start, r.end, r.lacks))
		return
	case r.from <= a.c.floor(a.s.lineage):
		a.at, a.why = 0, nil
	case r.lacks != "":
		a.open(max(r.start, a.fork()))
		a.why = append(a.why, r.lacks)
	}
	a.gap(from)
	w := a.window(r, from)
	a.t.Windows = append(a.t.Windows, w)
	a.at = max(w.To.LSN, from)
}

// fork is where the lineage began to be another one than its parent.
func (a *assembly) fork() wal.LSN {
	if p := a.s.lineage.Parent; p != nil {
		return p.At.LSN
	}
	return 0
}

// open begins a gap unless one is open.
func (a *assembly) open(at wal.LSN) {
	if a.at == 0 {
		a.at = at
	}
}

func (a *assembly) missing(from, to wal.LSN) {
	a.open(from)
	a.why = append(a.why, fmt.Sprintf("the WAL from %s to %s is missing: no object of the bucket holds it", from, to))
}

// astray names the snapshots before an LSN that cannot be used.
func (a *assembly) astray(before wal.LSN) {
	for len(a.s.astray) > 0 && a.s.astray[0].End.LSN <= before {
		m := a.s.astray[0]
		a.s.astray = a.s.astray[1:]
		if len(a.why) > 0 { // the gap that is there is what it lacks
			a.why = append(a.why, fmt.Sprintf("snapshot %s needs the WAL from %s to %s, of which some is missing", m.ID, m.Start.LSN, m.End.LSN))
		}
	}
}

// gap ends the one that is open, if there is a reason for it.
func (a *assembly) gap(to wal.LSN) {
	if a.s.lineage.Parent == nil && a.at != 0 && len(a.why) == 0 && len(a.t.Windows) > 0 && a.at < to && a.ofBefore() {
		a.why = append(a.why, fmt.Sprintf("the server no longer had the WAL that comes next: lineage %s began anew, with a snapshot", a.s.lineage.ID))
	}
	if len(a.why) > 0 && a.at < to {
		a.t.Gaps = append(a.t.Gaps, a.c.gap(a.s, a.at, to, strings.Join(a.why, "; ")))
	}
	a.at, a.why = 0, nil
}

// ofBefore reports whether the open gap began in the lineage before.
func (a *assembly) ofBefore() bool { return a.at == a.c.ended(a.s.lineage) }

// close ends what is open at the end of what the bucket holds.
func (a *assembly) close() {
	end := a.ends
	for _, m := range a.s.astray {
		end = max(end, m.End.LSN)
		a.open(m.Start.LSN)
		a.why = append(a.why, fmt.Sprintf("snapshot %s cannot be used: the WAL from %s to %s, or some of it, is missing", m.ID, m.Start.LSN, m.End.LSN))
	}
	if len(a.why) > 0 {
		a.gap(end)
	}
}

// ended is where the lineage ended that came before one which began anew, or 0.
func (c *Contents) ended(l topology.Lineage) wal.LSN {
	old := c.before(l)
	if old == nil || old.SystemID != l.SystemID || c.floor(*old) == topology.Gone {
		return 0
	}
	before := c.survey(*old, 0, 0)
	if len(before.runs) == 0 {
		return 0
	}
	return before.heldTo()
}

func (c *Contents) gap(s survey, from, to wal.LSN, why string) topology.TimelineGap {
	g := topology.TimelineGap{Workspace: c.Workspace, Region: c.Region, Lineage: s.lineage.ID, From: s.position(from), To: s.position(to), Reason: why + "."}
	g.FromTime, g.ToTime = c.commitAt(s, from), c.commitAt(s, to)
	if old := c.before(s.lineage); old != nil && g.FromTime.IsZero() {
		g.FromTime = c.commitAt(c.survey(*old, 0, 0), from)
	}
	if l := s.lineage; l.Parent != nil && l.Parent.At.LSN == from {
		g.FromTime = c.forkedAt(l)
	}
	return g
}

// window describes the points of a run from an LSN on.
func (a *assembly) window(r run, from wal.LSN) topology.Window {
	c, s := a.c, a.s
	w := topology.Window{Workspace: c.Workspace, Region: c.Region, Lineage: s.lineage.ID, Of: c.goesOn(s.lineage)}
	to, moment := c.newest(s, r)
	w.From, w.To, w.ToTime = s.position(from), s.position(max(to, from)), moment
	leading := r.snapshots
	if r.forked {
		w.From.Timeline = s.lineage.Parent.At.Timeline
		w.FromTime = c.forkedAt(s.lineage)
		if first := c.leads(s.lineage); first != nil {
			leading = append([]*snapshot.Manifest{first}, leading...)
		}
	} else {
		w.FromTime = later(r.snapshots[0].StartedAt, c.commitAt(s, from))
	}
	if from > r.from { // the floor
		w.From, w.FromTime = s.position(from), later(w.FromTime, c.commitAt(s, from))
	}
	for _, m := range leading {
		w.Snapshots = append(w.Snapshots, topology.SnapshotRef{ID: m.ID, End: m.End.LSN, StartedAt: m.StartedAt, Bytes: m.TotalBytes})
	}
	w.ToTime = later(w.ToTime, w.FromTime)
	return w
}

// forkedAt is the moment of the last commit that a lineage shares with its parent; if none is known, of the snapshot that leads there.
func (c *Contents) forkedAt(l topology.Lineage) time.Time {
	parent := c.group.FindLineage(c.Workspace, l.Parent.Lineage)
	if parent == nil {
		return time.Time{}
	}
	if at := c.commitAt(c.survey(*parent, l.Parent.At.Timeline, l.Parent.At.LSN), l.Parent.At.LSN); !at.IsZero() {
		return at
	}
	if first := c.leads(l); first != nil {
		return first.StartedAt
	}
	return time.Time{}
}

// leads returns the newest snapshot that leads to where a lineage left its parent.
func (c *Contents) leads(l topology.Lineage) *snapshot.Manifest {
	for l.Parent != nil {
		parent := c.group.FindLineage(c.Workspace, l.Parent.Lineage)
		if parent == nil {
			return nil
		}
		s := c.survey(*parent, l.Parent.At.Timeline, l.Parent.At.LSN)
		if r := s.last(); r != nil && len(r.snapshots) > 0 {
			return r.snapshots[len(r.snapshots)-1]
		}
		l = *parent
	}
	return nil
}

// goesOn says what goes on in a lineage: see topology.Window.
func (c *Contents) goesOn(l topology.Lineage) string {
	if c.group.Workspace(c.Workspace).Lineage == l.ID {
		return "serves"
	}
	var names []string
	for _, m := range c.group.SystemManaged {
		if m.Workspace == c.Workspace && m.Lineage == l.ID {
			names = append(names, "system-managed "+m.Name)
		}
	}
	for _, b := range c.group.Branches {
		own := b.Line[len(b.Line)-min(b.Own, len(b.Line)):]
		if b.Workspace == c.Workspace && slices.ContainsFunc(own, func(o topology.Lineage) bool { return o.ID == l.ID }) {
			names = append(names, "branch "+b.Name)
		}
	}
	return strings.Join(names, ", ")
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
