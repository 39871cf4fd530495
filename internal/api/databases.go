package api

import (
	"context"
	"maps"
	"slices"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/workflows"
)

// Databases returns the databases of the group's workspaces by workspace and name, those that are left out too where they are known; and
// then what is system-managed, and the branches.
func (s *Service) Databases(ctx context.Context, group string) ([]Database, error) {
	st, err := s.Status(ctx, group)
	if err != nil {
		return nil, err
	}
	return append(ownDatabases(st), besides(st)...), nil
}

// DatabasesOf is Databases of one workspace; "" for all.
func (s *Service) DatabasesOf(ctx context.Context, group, workspace string) ([]Database, error) {
	all, err := s.Databases(ctx, group)
	if err != nil || workspace == "" {
		return all, err
	}
	if _, err := s.Workspace(ctx, group, workspace); err != nil {
		return nil, err
	}
	return slices.DeleteFunc(all, func(d Database) bool { return d.Workspace != workspace }), nil
}

// besides are the databases of a group that no workspace serves.
func besides(st topology.GroupStatus) (out []Database) {
	for _, l := range st.Listed() {
		out = append(out, Database{Workspace: l.Workspace, Name: l.Name, Kind: l.Kind, State: l.State, Reason: l.Reason, Detached: &l})
	}
	return out
}

func ownDatabases(st topology.GroupStatus) []Database {
	out := []Database{}
	for _, w := range st.Workspaces {
		if of := st.Group.Workspace(w.Workspace); of == nil || of.State != topology.WorkspaceTerminated {
			out = append(out, databasesOf(st.Group, w)...)
		}
	}
	return out
}

// leftOut says why a database is not replicated.
func leftOut(g topology.Group, workspace, name string) string {
	if names, all := g.Replication.Chosen(workspace); !all && !slices.Contains(names, name) {
		return "not chosen: it is not stored in " + g.Other(g.Active) + ", and is absent after a failover"
	}
	return "not in a snapshot yet"
}

func databasesOf(g topology.Group, w topology.WorkspaceStatus) []Database {
	known := map[string]Database{}
	sizes := map[string]int64{}
	if w.Snapshot != nil {
		for _, d := range w.Snapshot.Databases {
			if sizes[d.Name] = d.TotalBytes; d.Replicated {
				continue // the status names it, unless it is a template or was dropped
			}
			known[d.Name] = Database{Workspace: w.Workspace, Name: d.Name, Kind: topology.AttachedKind, SizeBytes: d.TotalBytes, Reason: leftOut(g, w.Workspace, d.Name)}
		}
	}
	for _, d := range w.Databases {
		known[d.Database] = Database{
			Workspace: w.Workspace, Name: d.Database, Kind: topology.AttachedKind, Replicated: true, SizeBytes: sizes[d.Database], State: d.State, Reason: d.Reason,
		}
	}
	var out []Database
	for _, name := range slices.Sorted(maps.Keys(known)) {
		out = append(out, known[name])
	}
	return out
}

// DatabasesChange asks to replicate other databases than now.
type DatabasesChange struct {
	Group  string   `json:"group"`
	Add    []string `json:"add,omitempty"` // "name" or "workspace/name"
	Remove []string `json:"remove,omitempty"`
	All    bool     `json:"all,omitempty"` // all, present and future; excludes the other two
}

// ChangeDatabases changes what is replicated while replication runs, and waits until the choice is recorded.
func (s *Service) ChangeDatabases(ctx context.Context, req DatabasesChange) (ChangedGroup, error) {
	g, err := s.changeable(ctx, req.Group)
	if err != nil {
		return ChangedGroup{}, err
	}
	err = firstOf(
		func() error { return g.Replicable(opChange) },
		func() error { return configured(g) },
		func() error { return validDatabases(slices.Concat(req.Add, req.Remove)) },
		func() error { return g.CheckChoice(slices.Concat(req.Add, req.Remove)) },
	)
	if err != nil {
		return ChangedGroup{}, err
	}
	summary := "choose the databases of " + req.Group
	return s.changeGroup(ctx, req.Group, workflows.ChangeDatabasesType, summary, workflows.ChangeDatabasesInput(req))
}

func configured(g topology.Group) error {
	if g.Replication != nil {
		return nil
	}
	return fault.Newf(fault.Missing, opChange, "group %s is not replicated", g.Name).
		WithHint("`smartdr configure --group %s --secondary REGION` begins with it.", g.Name)
}
