package api

import (
	"context"
	"fmt"
	"time"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/workflows"
)

const opPreprovision = "preprovision"

// PreprovisionRequest asks to keep standbys in the region that does not serve, or to take them away.
type PreprovisionRequest struct {
	Group string `json:"group"`
	Stop  bool   `json:"stop,omitempty"`
}

// PreprovisionPreview says what standbys take of the region that does not serve, and what that costs.
type PreprovisionPreview struct {
	Group      string        `json:"group"`
	Region     string        `json:"region"`
	Since      time.Time     `json:"since,omitzero"` // when they were asked for; zero when they were not
	Workspaces []StandbyCost `json:"workspaces"`
	Total      topology.Size `json:"total"`
	DiskBytes  int64         `json:"diskBytes"`
	Month      *float64      `json:"month,omitempty"`    // for all, in Currency; nil where servers have no price
	Currency   string        `json:"currency,omitempty"` // of Month
	Unpriced   string        `json:"unpriced,omitempty"` // why there is no price, in a sentence
}

// StandbyCost is what one workspace's standby takes of a host.
type StandbyCost struct {
	Workspace string        `json:"workspace"`
	Size      topology.Size `json:"size,omitzero"` // zero: not said, as for most adopted ones
	DiskBytes int64         `json:"diskBytes"`     // 0 when that is not known
	Host      string        `json:"host,omitempty"`
}

// PreviewPreprovision says what the standbys of a group take, and refuses what cannot be done. It changes nothing.
func (s *Service) PreviewPreprovision(ctx context.Context, req PreprovisionRequest) (PreprovisionPreview, error) {
	st, err := s.Status(ctx, req.Group)
	if err != nil {
		return PreprovisionPreview{}, err
	}
	g := st.Group
	to, err := s.target(g, "")
	if err != nil {
		return PreprovisionPreview{}, about(opPreprovision, err)
	}
	if err := g.Changeable(opPreprovision); err != nil {
		return PreprovisionPreview{}, err
	}
	if req.Stop && g.Preprovision == nil {
		return PreprovisionPreview{}, fault.Newf(fault.Invalid, opPreprovision, "group %s has no servers in %s that follow: there is nothing to stop", g.Name, to)
	}
	return previewPreprovision(st, to, s.cfg.Regions[to].Prices.Servers()), nil
}

// previewPreprovision adds up what standbys take. It does no I/O.
func previewPreprovision(st topology.GroupStatus, to string, prices topology.ServerPrices) PreprovisionPreview {
	p := PreprovisionPreview{Group: st.Group.Name, Region: to}
	if st.Group.Preprovision != nil {
		p.Since = st.Group.Preprovision.Since
	}
	unsized := ""
	for i := range st.Group.Workspaces {
		w := &st.Group.Workspaces[i]
		if !w.Recoverable() {
			continue
		}
		c := StandbyCost{Workspace: w.Name, Size: w.Size, Host: w.Standbys[to].Host}
		if ws := workspaceStatus(st, w.Name); ws != nil && ws.Snapshot != nil {
			c.DiskBytes = topology.RestoreBytes(ws.Snapshot.TotalBytes, 0)
		}
		if w.Size.IsZero() {
			unsized = w.Name
		}
		p.Workspaces = append(p.Workspaces, c)
		p.Total.MemoryBytes, p.Total.CPUs, p.DiskBytes = p.Total.MemoryBytes+c.Size.MemoryBytes, p.Total.CPUs+c.Size.CPUs, p.DiskBytes+c.DiskBytes
	}
	switch {
	case !prices.Known():
		p.Unpriced = fmt.Sprintf("What a server costs in %s is not known: regions.%s.prices has cpuMonth, memoryGBMonth and diskGBMonth for it.", to, to)
	case unsized != "":
		p.Unpriced = fmt.Sprintf("Workspace %s has no size, so that what its server costs is not known: smartdr workspace change %s --group %s --size SIZE", unsized, unsized, p.Group)
	default:
		month := prices.Month(p.Total, p.DiskBytes)
		p.Month, p.Currency = &month, prices.Currency
	}
	return p
}

// Preprovision starts or ends the group's standbys. It does not wait until they have caught up.
func (s *Service) Preprovision(ctx context.Context, req PreprovisionRequest) (ChangedGroup, error) {
	p, err := s.PreviewPreprovision(ctx, req)
	if err != nil {
		return ChangedGroup{}, err
	}
	if !req.Stop && !p.Since.IsZero() {
		g, err := s.Group(ctx, req.Group)
		return ChangedGroup{Group: g, Already: true}, err
	}
	verb := "keep servers of " + req.Group + " following in " + p.Region
	if req.Stop {
		verb = "end the servers of " + req.Group + " that follow in " + p.Region
	}
	return s.changeGroup(ctx, req.Group, workflows.PreprovisionType, verb, workflows.PreprovisionInput(req))
}
