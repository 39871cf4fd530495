package render

import (
	"testing"
	"time"

	"github.com/smartdr/smartdr/internal/api"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

// leftBehind is a group after a failover: what is missing of app arrives, nothing is missing of billing, and there are two branches.
func leftBehind() topology.GroupStatus {
	since := time.Date(2026, 11, 22, 22, 10, 0, 0, time.UTC)
	fork := wal.Position{Timeline: 1, LSN: 0x3000000}
	at := func(database, lineage string) topology.SystemManaged {
		return topology.SystemManaged{Name: topology.SystemManagedName(database, since), Workspace: "main", Database: database, Lineage: lineage, Fork: fork, Region: "east", Since: since}
	}
	g := topology.Group{Name: "prod", Primary: "east", Secondary: "west", Active: "west", Epoch: 2, SmartDR: true, Replication: &topology.Replication{},
		Workspaces: []topology.Workspace{{Name: "main", Sites: map[string]topology.Site{"west": {}}}}, SystemManaged: []topology.SystemManaged{at("app", "a"), at("billing", "b"), at("old", "c")},
		Branches: []topology.Branch{
			{Name: "look", Workspace: "main", From: topology.SystemManagedName("app", since), Region: "west", CreatedAt: since.Add(time.Hour), Moment: since.Add(time.Minute),
				Attached: &topology.Attachment{State: topology.AttachmentServes, ReadOnly: true, Endpoint: topology.Endpoint{Hosts: []topology.HostPort{{Host: "127.0.0.1", Port: 6000}}}}},
			{Name: "before", Workspace: "main", Region: "west", Reason: "state before restore in place"},
		}}
	tails := []topology.Tail{
		{Workspace: "main", Lineage: "a", Fork: fork, At: wal.Position{Timeline: 1, LSN: 0x3400000}, Commits: 120, Last: since.Add(-time.Second), Error: "the server is not fenced yet, and may write more"},
		{Workspace: "main", Lineage: "b", Fork: fork, At: fork, Complete: true},
	}
	return topology.GroupStatus{Group: g, Workspaces: []topology.WorkspaceStatus{{Workspace: "main", Tails: tails}}}
}

func TestWhatIsLeftBehindIsListed(t *testing.T) {
	st := leftBehind()
	dbs := []api.Database{{Workspace: "main", Name: "app", Kind: topology.AttachedKind, Replicated: true, SizeBytes: 7 << 20, State: topology.Active}}
	for _, l := range st.Listed() {
		dbs = append(dbs, api.Database{Workspace: l.Workspace, Name: l.Name, Kind: l.Kind, State: l.State, Reason: l.Reason, Detached: &l})
	}
	golden(t, "databases_behind", Databases(dbs, Style{}))
	golden(t, "status_behind", Style{}.behind(st))
}
