package cli

import (
	"testing"

	"github.com/smartdr/smartdr/internal/topology"
)

func TestInSync(t *testing.T) {
	site := map[string]topology.Site{"west": {}}
	group := topology.Group{Primary: "west", Secondary: "east", Active: "west", Workspaces: []topology.Workspace{
		{Name: "main", Sites: site}, {Name: "none", Sites: site}, {Name: "idle", Sites: site, State: topology.WorkspaceSuspended},
	}}
	active := topology.WorkspaceStatus{Workspace: "main", Databases: []topology.DatabaseStatus{{State: topology.Active}}}
	pending := topology.WorkspaceStatus{Workspace: "main", Databases: []topology.DatabaseStatus{{State: topology.Active}, {State: topology.Pending}}}
	whole := topology.WorkspaceStatus{Workspace: "none", Snapshot: &topology.SnapshotProgress{Complete: []string{"east"}}}
	here := topology.WorkspaceStatus{Workspace: "none", Snapshot: &topology.SnapshotProgress{Complete: []string{"west"}}}
	idle := topology.WorkspaceStatus{Workspace: "idle", Databases: []topology.DatabaseStatus{{State: topology.Inactive}}}
	for name, c := range map[string]struct {
		workspaces []topology.WorkspaceStatus
		want       bool
	}{
		"every database is Active":                           {[]topology.WorkspaceStatus{active}, true},
		"one is not":                                         {[]topology.WorkspaceStatus{pending}, false},
		"a suspended workspace is not waited for":            {[]topology.WorkspaceStatus{active, idle}, true},
		"none of the chosen databases, and a whole snapshot": {[]topology.WorkspaceStatus{active, whole}, true},
		"a snapshot that is not in the other region yet":     {[]topology.WorkspaceStatus{active, here}, false},
		"nothing is known of a workspace yet":                {[]topology.WorkspaceStatus{active, {Workspace: "none"}}, false},
		"no workspace":                                       {nil, false},
	} {
		if got := inSync(topology.GroupStatus{Group: group, Workspaces: c.workspaces}); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}
