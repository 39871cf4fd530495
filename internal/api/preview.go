package api

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
)

// preview derives what a failover now would bring back and lose. It does no I/O.
func preview(s topology.GroupStatus, to string, now time.Time) FailoverPreview {
	p := FailoverPreview{
		Group: s.Group.Name, From: s.Group.Active, To: to,
		ReadAt: s.ReadAt, ReadFrom: s.ReadFrom, Silent: s.Silent, Ready: true,
	}
	p.Alive, p.Evidence = alive(s, now)
	for _, w := range s.Group.Workspaces {
		if !w.Recoverable() {
			continue
		}
		wp := previewWorkspace(w, s, to)
		if !wp.Ready && p.Ready {
			p.Ready, p.Problem = false, wp.Problem
		}
		p.Workspaces = append(p.Workspaces, wp)
	}
	return p
}

func previewWorkspace(w topology.Workspace, s topology.GroupStatus, to string) WorkspacePreview {
	p := WorkspacePreview{Workspace: w.Name}
	ws := workspaceStatus(s, w.Name)
	if ws == nil || ws.Snapshot == nil || ws.WAL == nil {
		p.Problem = fmt.Sprintf("workspace %s has never been replicated to %s", w.Name, to)
		return p
	}
	for _, d := range ws.Databases {
		p.Databases = append(p.Databases, d.Database)
	}
	if !slices.Contains(ws.Snapshot.Complete, to) {
		p.Problem = fmt.Sprintf("the first snapshot of workspace %s is not complete in %s", w.Name, to)
		return p
	}
	for _, c := range ws.WAL.Cursors {
		if c.Region == to {
			p.Ready, p.Point, p.LagSeconds, p.LagBytes = true, c.Point, c.LagSeconds, c.LagBytes
			p.MeasuredAt = ws.WAL.MeasuredAt
			if c.LagBytes == 0 && ws.WAL.Error == "" && c.Error == "" && p.MeasuredAt.After(p.Point.AsOf) {
				p.Point.AsOf = p.MeasuredAt // nothing was on the server then that was not in the bucket
			}
			return p
		}
	}
	p.Problem = fmt.Sprintf("no WAL of workspace %s has been announced in %s", w.Name, to)
	return p
}

func workspaceStatus(s topology.GroupStatus, name string) *topology.WorkspaceStatus {
	for i := range s.Workspaces {
		if s.Workspaces[i].Workspace == name {
			return &s.Workspaces[i]
		}
	}
	return nil
}

// alive judges whether the serving region works: its bucket answers, and a shipper has spoken within topology.AliveWithin.
func alive(s topology.GroupStatus, now time.Time) (bool, string) {
	from := s.Group.Active
	bucket := "its bucket answers"
	if why, silent := s.Silent[from]; silent && unasked(why) {
		bucket = "its bucket is not in the configuration here, and was not asked"
	} else if silent {
		return false, fmt.Sprintf("the bucket of %s does not answer: %s", from, why)
	}
	var last time.Time
	for _, w := range s.Workspaces {
		if w.WAL != nil && w.WAL.Error == "" && tellsOf(s.Group, w) && w.WAL.MeasuredAt.After(last) {
			last = w.WAL.MeasuredAt
		}
	}
	if began := beganServing(s.Group); now.Sub(began) < topology.SettlesWithin && last.Before(began) {
		return true, fmt.Sprintf("%s began to serve %s ago, and %s", from, now.Sub(began).Round(time.Second), bucket)
	}
	if last.IsZero() {
		return false, fmt.Sprintf("nothing is known to have been shipped from %s", from)
	}
	age := now.Sub(last).Round(time.Second)
	if now.Sub(last) >= topology.AliveWithin {
		return false, fmt.Sprintf("nothing has been heard from %s for %s", from, age)
	}
	return true, fmt.Sprintf("%s shipped WAL %s ago and %s", from, age, bucket)
}

// unasked reports whether a bucket says nothing because nobody here knows where it is, which is no sign that its region is lost.
func unasked(why string) bool { return strings.HasSuffix(why, "is not in the configuration") }

// beganServing is when the newest server that was brought up from a bucket began to serve; the zero time when there is none.
func beganServing(g topology.Group) (last time.Time) {
	for i := range g.Workspaces {
		if began := g.Workspaces[i].BeganServing(); began.After(last) {
			last = began
		}
	}
	return last
}

// tellsOf reports whether what was announced is of the server that serves now, and not of the one that served before.
func tellsOf(g topology.Group, w topology.WorkspaceStatus) bool {
	there := g.Workspace(w.Workspace)
	return there != nil && w.WAL.Lineage == there.Lineage
}

// placePreview says on which host each workspace would be placed, as far as the hosts' announcements can be read. The failover
// itself knows better what is needed: the preview goes by the last snapshot.
func (s *Service) placePreview(ctx context.Context, st topology.GroupStatus, p *FailoverPreview) {
	c, err := s.openCatalog(ctx)
	if err != nil {
		return
	}
	hosts, err := c.Hosts(ctx, p.To)
	if err != nil || len(hosts) == 0 {
		return
	}
	placed, err := topology.Place(previewNeeds(st, *p), hosts, s.opts.Now())
	if err != nil {
		p.Placement = err.Error()
		return
	}
	for i := range p.Workspaces {
		p.Workspaces[i].Host = placed[p.Workspaces[i].Workspace]
	}
}

func previewNeeds(st topology.GroupStatus, p FailoverPreview) (all []topology.Need) {
	for _, wp := range p.Workspaces {
		w, ws := st.Group.Workspace(wp.Workspace), workspaceStatus(st, wp.Workspace)
		if !wp.Ready || w == nil || ws == nil || ws.Snapshot == nil {
			continue
		}
		all = append(all, topology.Need{Group: p.Group, Workspace: w.Name, Size: w.Size, DiskBytes: ws.Snapshot.TotalBytes, Prefer: w.Reservations[p.To].Host})
	}
	return all
}

// Refusal says why a failover must not be started as things stand; nil when nothing is in the way.
func (p FailoverPreview) Refusal(force bool) error {
	switch {
	case p.hopeless(force):
		return fault.Newf(fault.Missing, opFailover, "%s", p.Problem).
			WithHint("`smartdr status --group %s` shows how far replication is.", p.Group)
	case p.Alive && !force:
		return As(Unsafe, fault.Newf(fault.Invalid, opFailover, "%s still seems alive: %s", p.From, p.Evidence).
			WithHint("If both regions are there, `smartdr switchover --group %s` loses nothing. If it is lost all the same, --force says so.", p.Group))
	}
	return nil
}

// hopeless reports whether workspaces cannot be brought back: any, or with force all of them.
func (p FailoverPreview) hopeless(force bool) bool {
	ready := func(w WorkspacePreview) bool { return w.Ready }
	return !p.Ready && !(force && slices.ContainsFunc(p.Workspaces, ready))
}

const opFailover = "failover"
