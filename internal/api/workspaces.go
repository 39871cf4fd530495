package api

import (
	"context"
	"fmt"
	"strings"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/workflows"
)

const opChange = "change group"

// Workspaces returns a group's workspaces as they stand, in the group's order; the terminated ones too.
func (s *Service) Workspaces(ctx context.Context, group string) ([]Workspace, error) {
	g, err := s.Group(ctx, group)
	if err != nil {
		return nil, err
	}
	out := []Workspace{}
	for _, w := range g.Workspaces {
		out = append(out, Standing(g, w))
	}
	return out, nil
}

// Workspace returns one workspace as it stands; fault.Missing when the group has none of that name.
func (s *Service) Workspace(ctx context.Context, group, name string) (Workspace, error) {
	g, err := s.Group(ctx, group)
	if err != nil {
		return Workspace{}, err
	}
	w, err := findWorkspace(g, name)
	if err != nil {
		return Workspace{}, err
	}
	return Standing(g, *w), nil
}

// Standing says how a workspace stands: in the region that serves, or where it was last if it is not there.
func Standing(g topology.Group, w topology.Workspace) Workspace {
	out := Workspace{
		Group: g.Name, Name: w.Name, State: string(w.State), Reason: w.Reason, Size: w.Size, Region: g.Active,
		Settings: w.Settings, HBA: w.HBA, Ident: w.Ident, Lineage: w.Lineage, Sites: w.Sites,
	}
	site, placed := w.Sites[g.Active]
	switch {
	case w.State == topology.WorkspaceActive && placed:
		out.State = WorkspaceActive
	case w.State == topology.WorkspaceActive:
		out.State = WorkspaceMissing
		out.Reason = fmt.Sprintf("not restored in %s: smartdr failover --group %s --resume", g.Active, g.Name)
	}
	if !placed {
		site = w.Sites[g.Other(g.Active)]
	}
	out.Kind, out.Host, out.Instance, out.Endpoint = site.Kind, site.Host, site.Instance, site.Endpoint
	if !placed {
		out.Host, out.Instance, out.Endpoint = "", "", topology.Endpoint{}
	}
	return out
}

// findWorkspace returns a workspace that may be terminated; fault.Missing names those that there are.
func findWorkspace(g topology.Group, name string) (*topology.Workspace, error) {
	if w := g.Workspace(name); w != nil {
		return w, nil
	}
	return nil, fault.Newf(fault.Missing, opConnect, "group %s has no workspace %q", g.Name, name).
		WithHint("It has: %s.", strings.Join(livingNames(g), ", "))
}

func livingNames(g topology.Group) (names []string) {
	for _, w := range g.Workspaces {
		if w.State != topology.WorkspaceTerminated {
			names = append(names, w.Name)
		}
	}
	return names
}

// changeable returns a group that may be changed now: it is there, not over, and no operation holds it.
func (s *Service) changeable(ctx context.Context, name string) (topology.Group, error) {
	g, err := s.Group(ctx, name)
	if err != nil {
		return g, err
	}
	return g, g.Changeable(opChange)
}

// changeableWorkspace is changeable for one workspace of a group.
func (s *Service) changeableWorkspace(ctx context.Context, group, name string) (topology.Group, *topology.Workspace, error) {
	g, err := s.changeable(ctx, group)
	if err != nil {
		return g, nil, err
	}
	w, err := findWorkspace(g, name)
	if err == nil && w.State == topology.WorkspaceTerminated {
		err = fault.Newf(fault.Missing, opChange, "workspace %s of group %s is terminated", name, group).
			WithHint("Those that are there: %s.", strings.Join(livingNames(g), ", "))
	}
	return g, w, err
}

// CreateWorkspace adopts one more server for a group, or makes one, and waits until it serves.
func (s *Service) CreateWorkspace(ctx context.Context, group string, spec WorkspaceSpec) (ChangedWorkspace, error) {
	if err := spec.Validate(); err != nil {
		return ChangedWorkspace{}, err
	}
	g, err := s.changeable(ctx, group)
	if err != nil {
		return ChangedWorkspace{}, err
	}
	if w := g.Workspace(spec.Name); w != nil && w.State != topology.WorkspacePending {
		return ChangedWorkspace{}, taken(g, w)
	}
	in := workflows.CreateWorkspaceInput{Group: group, WorkspaceInput: spec.input()}
	return s.changeWorkspace(ctx, group, spec.Name, workflows.CreateWorkspaceType, "create workspace "+spec.Name+" of "+group, in)
}

func taken(g topology.Group, w *topology.Workspace) error {
	if w.State == topology.WorkspaceTerminated {
		return fault.Newf(fault.Taken, opChange, "group %s had a workspace %s, whose objects are in the buckets", g.Name, w.Name).
			WithHint("Give the new one another name.")
	}
	return fault.Newf(fault.Taken, opChange, "group %s has a workspace %s already", g.Name, w.Name).
		WithHint("`smartdr workspace show %s --group %s` shows it.", w.Name, g.Name)
}

// changeWorkspace performs a workflow whose result is a workspace.
func (s *Service) changeWorkspace(ctx context.Context, group, name, workflow, summary string, in any) (ChangedWorkspace, error) {
	var out workflows.WorkspaceResult
	if err := s.perform(ctx, workflows.ManageWorkspaceID(group, name), workflow, summary, in, &out); err != nil {
		return ChangedWorkspace{}, err
	}
	g, err := s.Group(ctx, group)
	if err != nil {
		return ChangedWorkspace{}, err
	}
	return ChangedWorkspace{Workspace: Standing(g, out.Workspace), Warnings: out.Warnings, Notes: out.Notes}, nil
}
