package api

import (
	"context"
	"maps"
	"slices"

	"github.com/smartdr/smartdr/internal/topology"
)

// Databases returns the group's databases by workspace and name, those that are left out too where they are known.
func (s *Service) Databases(ctx context.Context, group string) ([]Database, error) {
	st, err := s.Status(ctx, group)
	if err != nil {
		return nil, err
	}
	out := []Database{}
	for _, w := range st.Workspaces {
		out = append(out, databasesOf(w)...)
	}
	return out, nil
}

func databasesOf(w topology.WorkspaceStatus) []Database {
	known := map[string]Database{}
	sizes := map[string]int64{}
	if w.Snapshot != nil {
		for _, d := range w.Snapshot.Databases {
			if sizes[d.Name] = d.TotalBytes; d.Replicated {
				continue // the status names it, unless it is a template or was dropped
			}
			known[d.Name] = Database{Workspace: w.Workspace, Name: d.Name, SizeBytes: d.TotalBytes}
		}
	}
	for _, d := range w.Databases {
		known[d.Database] = Database{
			Workspace: w.Workspace, Name: d.Database, Replicated: true, SizeBytes: sizes[d.Database], State: d.State, Reason: d.Reason,
		}
	}
	var out []Database
	for _, name := range slices.Sorted(maps.Keys(known)) {
		out = append(out, known[name])
	}
	return out
}
