package verify

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/smartdr/smartdr/internal/history"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

// possible is what could be restored of a workspace if nothing were missing or damaged.
type possible struct {
	ws       *workspace
	contents *history.Contents
	windows  []topology.Window
}

// possible reads the bucket as if what is missing were there. What retention has given up counts too, since branches may stand on it.
func (ws *workspace) possible(ctx context.Context) (*possible, error) {
	g := ws.Group
	g.Workspaces = slices.Clone(g.Workspaces)
	g.Workspace(ws.Name).Floors = nil
	c, err := history.Read(ctx, ws.here.with(ws.beside), ws.Region, g, ws.Name)
	if err != nil {
		return nil, err
	}
	return &possible{ws, c, c.Timeline().Windows}, nil
}

// stretch is a part of a lineage.
type stretch struct{ from, to wal.LSN }

// without returns what cannot be restored without some objects.
func (p *possible) without(keys ...string) (lost []topology.Lost) {
	after := p.contents.Without(keys...).Timeline().Windows
	gone := map[string][]stretch{}
	for _, w := range p.windows {
		missing := minus(w, after)
		gone[w.Lineage] = append(gone[w.Lineage], missing...)
		lost = append(lost, p.promised(w, missing)...)
	}
	for _, b := range p.ws.Group.Branches {
		if b.Workspace == p.ws.Name && b.Region == p.ws.Region {
			lost = append(lost, p.branch(b, gone)...)
		}
	}
	for _, m := range p.ws.Group.SystemManaged {
		if at, ok := p.newest(m.Lineage); m.Workspace == p.ws.Name && ok && has(gone[m.Lineage], at) {
			lost = append(lost, topology.Lost{Workspace: m.Workspace, Of: topology.LossSystemManaged, Name: m.Name, Lineage: m.Lineage, From: at, To: at,
				Text: fmt.Sprintf("The system-managed database %s cannot be branched at its newest point, %s of lineage %s.", m.Name, at, m.Lineage)})
		}
	}
	return lost
}

// minus returns the parts of a window that are in none of others.
func minus(w topology.Window, others []topology.Window) (left []stretch) {
	at := w.From.LSN
	covering := slices.DeleteFunc(slices.Clone(others), func(o topology.Window) bool { return o.Lineage != w.Lineage || o.To.LSN < w.From.LSN })
	slices.SortFunc(covering, func(a, b topology.Window) int { return cmp.Compare(a.From.LSN, b.From.LSN) })
	for _, o := range covering {
		if o.From.LSN > w.To.LSN {
			break
		}
		if o.From.LSN > at {
			left = append(left, stretch{at, o.From.LSN})
		}
		at = max(at, o.To.LSN)
	}
	if at < w.To.LSN || len(covering) == 0 {
		left = append(left, stretch{at, w.To.LSN})
	}
	return left
}

// promised are the parts that retention has not given up.
func (p *possible) promised(w topology.Window, missing []stretch) (lost []topology.Lost) {
	floor := p.ws.Floor(p.ws.Region, w.Lineage)
	for _, s := range missing {
		if s.from = max(s.from, floor); floor == topology.Gone || s.from > s.to || s.from == s.to && w.From != w.To {
			continue
		}
		l := topology.Lost{Workspace: p.ws.Name, Of: topology.LossWindow, Name: w.Of, Lineage: w.Lineage, From: s.from, To: s.to,
			FromTime: p.ws.momentOf(w.Lineage, s.from), ToTime: p.ws.momentOf(w.Lineage, s.to)}
		stretch := fmt.Sprintf("from %s to %s%s", s.from, s.to, times(l))
		if s.from == s.to {
			stretch = fmt.Sprintf("at %s, its only point", s.from)
		}
		l.Text = fmt.Sprintf("Workspace %s, lineage %s%s: nothing can be restored %s.", p.ws.Name, w.Lineage, goesOn(w.Of), stretch)
		lost = append(lost, l)
	}
	return lost
}

func times(l topology.Lost) string {
	const form = "2006-01-02 15:04:05Z"
	switch {
	case l.ToTime.IsZero():
		return ""
	case l.FromTime.IsZero():
		return " (up to " + l.ToTime.UTC().Format(form) + ")"
	}
	return fmt.Sprintf(" (%s to %s)", l.FromTime.UTC().Format(form), l.ToTime.UTC().Format(form))
}

func goesOn(of string) string {
	switch of {
	case "":
		return ""
	case "serves":
		return ", which serves"
	}
	return ", in which " + of + " goes on"
}

// branch says whether a branch can still be attached, and whether where it begins can be.
func (p *possible) branch(b topology.Branch, gone map[string][]stretch) []topology.Lost {
	lineage, tip := b.Tip()
	at, ok := tip.LSN, true
	if at == 0 {
		at, ok = p.newest(lineage)
	}
	if !ok || !has(gone[lineage], at) {
		return nil
	}
	return []topology.Lost{{Workspace: b.Workspace, Of: topology.LossBranch, Name: b.Name, Lineage: lineage, From: at, To: at,
		Text: fmt.Sprintf("Branch %s cannot be attached: its point %s of lineage %s cannot be restored.", b.Name, at, lineage)}}
}

// newest is the end of the last window of a lineage.
func (p *possible) newest(lineage string) (at wal.LSN, ok bool) {
	for _, w := range p.windows {
		if w.Lineage == lineage && w.To.LSN >= at {
			at, ok = w.To.LSN, true
		}
	}
	return at, ok
}

func has(all []stretch, at wal.LSN) bool {
	return slices.ContainsFunc(all, func(s stretch) bool { return s.from <= at && at <= s.to })
}

// momentOf says when something of a lineage was written, by the last commit before it that a header tells of; zero when none does.
func (ws *workspace) momentOf(id string, at wal.LSN) (t time.Time) {
	l := ws.lineages[id]
	if l == nil {
		return t
	}
	var best wal.LSN
	for _, h := range l.heads {
		if h.commit.LSN <= at && h.commit.LSN > best {
			best, t = h.commit.LSN, h.commit.Time
		}
	}
	if best == 0 && l.Parent != nil {
		return ws.momentOf(l.Parent.Lineage, l.Parent.At.LSN)
	}
	return t
}
