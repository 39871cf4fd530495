package render

import (
	"strings"
	"testing"
	"time"

	"github.com/mattn/go-runewidth"

	"github.com/smartdr/smartdr/internal/api"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

func at(host string, port int) topology.Endpoint {
	return topology.Endpoint{Hosts: []topology.HostPort{{Host: host, Port: port}}}
}

func made(name, size string, port int, state topology.WorkspaceState) topology.Workspace {
	s, err := topology.ParseSize(size)
	if err != nil {
		panic(err)
	}
	return topology.Workspace{Name: name, State: state, Size: s, Lineage: "0001-" + name, Sites: map[string]topology.Site{
		"east": {Kind: topology.Managed, Host: "east-1", Instance: "/var/lib/smartdr/prod/" + name, Endpoint: at("db-1.east.example.com", port)},
	}}
}

// mixed is a group with workspaces of both kinds and of all states.
func mixed() topology.Group {
	g := group()
	g.Firewall = topology.Firewall{Ranges: []string{"10.0.0.0/8", "192.0.2.7/32"}}
	g.Replication = &topology.Replication{}
	reports := made("reports", "S-1", 6001, topology.WorkspaceActive)
	reports.Settings = map[string]string{"work_mem": "64MB", "jit": "off"}
	reports.HBA, reports.Ident = []string{"hostssl all auditor 10.9.0.0/16 cert map=staff"}, []string{"staff /^(.*)@example.com$ \\1"}
	pending := made("fresh", "6GiB/2", 6003, topology.WorkspacePending)
	pending.Sites, pending.Reason = map[string]topology.Site{}, "no host of east has room for 6 GiB: the most that one has left is 2 GiB"
	g.Workspaces = append(g.Workspaces, reports, made("ledger", "S-0", 6002, topology.WorkspaceSuspended), pending,
		made("old", "S-0", 6004, topology.WorkspaceTerminated))
	return g
}

func shipping(workspace, lineage string, databases ...topology.DatabaseStatus) topology.WorkspaceStatus {
	for i := range databases {
		databases[i].Workspace = workspace
	}
	p := func(lsn wal.LSN) topology.RecoveryPoint {
		r := point(lsn)
		r.Lineage = lineage
		return r
	}
	return topology.WorkspaceStatus{Workspace: workspace, Databases: databases, WAL: &topology.WALProgress{
		Lineage: lineage, MeasuredAt: before(time.Second), Slot: topology.SlotState{Name: "smartdr", WALStatus: "reserved"},
		Cursors: []topology.Cursor{
			{Region: "east", Point: p(0x5a4f300), Mode: "live", BytesSent: 12_345_678},
			{Region: "west", Point: p(0x5a3f210), LagBytes: 65776, LagSeconds: 0.83, Mode: "catching up", BytesSent: 12_300_000},
		},
	}}
}

func database(name string, state topology.DatabaseState, reason string) topology.DatabaseStatus {
	d := topology.DatabaseStatus{Database: name, Region: "west", State: state, Percent: 100, Reason: reason}
	if state == topology.Pending {
		d.Percent = 41
	}
	d.Lag = topology.Lag{Seconds: 185, Bytes: 123_456_789, LSN: 0x12_5a3f_2100, MeasuredAt: before(130 * time.Minute)}
	return d
}

func mixedStatus() topology.GroupStatus {
	rests := "the workspace is suspended: what it wrote until then is in the buckets"
	return topology.GroupStatus{Group: mixed(), ReadAt: now, ReadFrom: []string{"east", "west"}, Workspaces: []topology.WorkspaceStatus{
		shipping("main", "0001-89abcdef", database("app", topology.Active, ""), database("warehouse_2026", topology.Pending, "")),
		shipping("reports", "0001-reports", database("postgres", topology.Active, ""), database("reports", topology.Active, "")),
		shipping("ledger", "0001-ledger", database("ledger", topology.Inactive, rests), database("postgres", topology.Inactive, rests)),
		{Workspace: "fresh"}, {Workspace: "old"},
	}}
}

// halfOver is what a failover leaves that has brought back main alone; reports still announces its old lineage.
func halfOver() topology.GroupStatus {
	s := mixedStatus()
	s.Group.Active, s.Group.Epoch = "west", 2
	s.Group.Workspaces, s.Workspaces = s.Group.Workspaces[:2], s.Workspaces[:2]
	w := &s.Group.Workspaces[0]
	w.Lineage = "0002-01234567"
	w.Sites["west"] = topology.Site{Kind: topology.Managed, Host: "west-1", Endpoint: at("db.west", 6000)}
	s.Workspaces[0].Databases = []topology.DatabaseStatus{{Workspace: "main", Database: "app", Region: "east", State: topology.Pending, Reason: "no shipper has reported yet"}}
	s.Workspaces[1].WAL, s.Workspaces[1].Databases = nil, nil
	return s
}

func over() topology.GroupStatus {
	return topology.GroupStatus{Group: topology.Group{Name: "gone", Primary: "east", Secondary: "west", Active: "east", Epoch: 1, State: topology.GroupTerminated}}
}

func standings(g topology.Group) (all []api.Workspace) {
	for _, w := range g.Workspaces {
		all = append(all, api.Standing(g, w))
	}
	return all
}

func termination() api.Termination {
	return api.Termination{Group: "prod", Workspace: "reports",
		Removed: []string{"workspace reports: its server in east on host east-1, with all its files"},
		Stays:   []string{"what is in the buckets of east and west, until its retention ends"}}
}

func hostList() api.Hosts {
	return api.Hosts{Silent: map[string]string{"north": "connection refused"}, Hosts: []api.Host{
		{Name: "east-1", Region: "east", Fresh: true, AnnouncedAt: before(40 * time.Second), MemoryBytes: 64 << 30, MemoryUsed: 20 << 30, CPUs: 16,
			CPUsUsed: 5, DiskBytes: 800 << 30, Postgres: []int{160004, 180001}, Placed: make([]topology.Placed, 2)},
		{Name: "east-2", Region: "east", AnnouncedAt: before(5 * time.Hour), MemoryBytes: 512 << 20, CPUs: 0.5, DiskBytes: 1 << 30},
	}}
}

// TestStatusFitsTheScreen: several workspaces can be read at 100 columns; sentences may be longer.
func TestStatusFitsTheScreen(t *testing.T) {
	for _, style := range []Style{{}, {Bars: true}} {
		for line := range strings.Lines(Status(mixedStatus(), now, style)) {
			sentence := strings.Contains(line, ": ")
			if n := runewidth.StringWidth(strings.TrimSuffix(line, "\n")); n > 100 && !sentence {
				t.Errorf("%d columns: %s", n, line)
			}
		}
	}
}

// TestAnOldLineageIsNotShown: after a failover nobody ships the old side's WAL, and its cursors say nothing of the new one.
func TestAnOldLineageIsNotShown(t *testing.T) {
	s := halfOver()
	if got := Status(s, now, Style{}); strings.Contains(got, "STORED TO") {
		t.Errorf("the old lineage's cursors are shown:\n%s", got)
	}
	if s.Workspaces[0].WAL == nil {
		t.Error("the status itself was changed")
	}
}
