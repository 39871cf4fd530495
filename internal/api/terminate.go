package api

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/workflows"
)

// Termination is what terminating a workspace, or a whole group, removes and what stays: in sentences.
type Termination struct {
	Group     string   `json:"group"`
	Workspace string   `json:"workspace,omitempty"`
	Removed   []string `json:"removed"`
	Stays     []string `json:"stays"`
}

// Name is what has to be typed to agree.
func (t Termination) Name() string {
	if t.Workspace == "" {
		return t.Group
	}
	return t.Workspace
}

// PreviewTerminate says what terminating would remove. It changes nothing. What is terminated already may be terminated
// again: that goes on with what could not be removed then.
func (s *Service) PreviewTerminate(ctx context.Context, req Lifecycle) (Termination, error) {
	g, err := s.Group(ctx, req.Group)
	if err == nil && g.State != topology.GroupTerminated {
		err = g.Changeable(opChange)
	}
	if err == nil && req.Workspace != "" {
		_, err = findWorkspace(g, req.Workspace)
	}
	if err != nil {
		return Termination{}, err
	}
	return termination(g, req.Workspace), nil
}

// Terminate takes a workspace or a whole group down, and waits until it is done.
func (s *Service) Terminate(ctx context.Context, req Lifecycle) (ChangedGroup, error) {
	if _, err := s.PreviewTerminate(ctx, req); err != nil {
		return ChangedGroup{}, err
	}
	return s.changeBy(ctx, req.id(), workflows.TerminateType, "terminate "+req.String(), workflows.TerminateInput(req))
}

// termination says what ends with one workspace, or with all of them.
func termination(g topology.Group, only string) Termination {
	t := Termination{Group: g.Name, Workspace: only, Removed: []string{}, Stays: []string{}}
	if only == "" && g.Replication != nil && g.State != topology.GroupTerminated {
		t.Removed = append(t.Removed, fmt.Sprintf("the replication of group %s to %s", g.Name, g.Other(g.Active)))
	}
	for _, w := range g.Workspaces {
		if only != "" && w.Name != only {
			continue
		}
		for _, region := range []string{g.Primary, g.Secondary} {
			if site, ok := w.Sites[region]; ok {
				t.add(g, w, region, site)
			}
		}
	}
	t.Stays = append(t.Stays, "what is in the buckets of "+strings.Join(bucketsOf(g), " and ")+", until its retention ends")
	return t
}

func (t *Termination) add(g topology.Group, w topology.Workspace, region string, site topology.Site) {
	switch {
	case site.Kind == topology.Managed && w.State == topology.WorkspaceTerminated:
		t.Removed = append(t.Removed, fmt.Sprintf("workspace %s: what is left of its server in %s%s", w.Name, region, onHost(site)))
		return
	case site.Kind == topology.Managed:
		t.Removed = append(t.Removed, fmt.Sprintf("workspace %s: its server in %s%s, with all its files", w.Name, region, onHost(site)))
		return
	}
	if g.Replication != nil {
		t.Removed = append(t.Removed, fmt.Sprintf("workspace %s: SmartDR's replication slot on its server in %s", w.Name, region))
	}
	t.Stays = append(t.Stays, fmt.Sprintf("workspace %s: its server in %s, which was adopted, with all its data", w.Name, region))
}

func onHost(s topology.Site) string {
	if s.Host == "" {
		return ""
	}
	return " on host " + s.Host
}

func bucketsOf(g topology.Group) []string {
	return slices.DeleteFunc([]string{g.Primary, g.Secondary}, func(r string) bool { return r == "" })
}
