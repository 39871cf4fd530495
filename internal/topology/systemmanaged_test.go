package topology

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// failedOver is a group after a failover of workspace main: lineage b was left for c.
func failedOver() Group {
	return Group{Epoch: 2, Replication: &Replication{}, Workspaces: []Workspace{
		{Name: "main", Lineage: "c", Lineages: []Lineage{
			{ID: "b", Epoch: 1, Region: "east", Start: pos(1, 100)},
			{ID: "c", Epoch: 2, Region: "west", Start: pos(2, 1000), Parent: fork("b", 1, 1500)},
		}},
		{Name: "side", Lineage: "e", Lineages: []Lineage{
			{ID: "d", Epoch: 1, Region: "east", Start: pos(1, 100)},
			{ID: "e", Epoch: 2, Region: "west", Start: pos(2, 300), Parent: fork("d", 1, 350)},
		}},
	}}
}

var began = time.Date(2026, 11, 22, 22, 10, 0, 987654321, time.UTC)

func ofMain() Continued {
	return Continued{Workspace: "main", Lineage: "b", Databases: []string{"postgres", "app", "billing"}, Operation: "op", At: began}
}

func TestAFailoverLeavesAContinuationOfEachDatabase(t *testing.T) {
	g := failedOver()
	g.Continue(ofMain())
	again := ofMain()
	again.At = began.Add(time.Hour) // it was resumed
	g.Continue(again)
	side := Continued{Workspace: "side", Lineage: "d", Databases: []string{"app"}, Operation: "op", At: began.Add(time.Hour)}
	g.Continue(side)
	since := began.Truncate(time.Second)
	want := []SystemManaged{
		{Name: "app_20261122T221000Z", Workspace: "main", Database: "app", Lineage: "b", Fork: pos(1, 1500), Operation: "op", Region: "east", Since: since},
		{Name: "billing_20261122T221000Z", Workspace: "main", Database: "billing", Lineage: "b", Fork: pos(1, 1500), Operation: "op", Region: "east", Since: since},
		{Name: "app_20261122T221000Z", Workspace: "side", Database: "app", Lineage: "d", Fork: pos(1, 350), Operation: "op", Region: "east", Since: since},
	}
	if diff := cmp.Diff(want, g.SystemManaged); diff != "" {
		t.Error(diff)
	}
	if s := g.FindSystemManaged("side/app_20261122T221000Z"); s == nil || s.Workspace != "side" {
		t.Errorf("found %+v", s)
	}
	if s := g.FindSystemManaged("app_20261122T221000Z"); s == nil || s.Workspace != "main" {
		t.Errorf("found %+v", s)
	}
}

func TestWhatNoFailoverLeavesBehind(t *testing.T) {
	for name, change := range map[string]func(*Group, *Continued){
		"a suspended workspace":         func(g *Group, _ *Continued) { g.Workspaces[0].State = WorkspaceSuspended },
		"a database that is not chosen": func(g *Group, _ *Continued) { g.Replication.Databases = []string{"other"} },
		"a lineage that is written":     func(_ *Group, c *Continued) { c.Lineage = "c" },
		"a workspace that is gone":      func(_ *Group, c *Continued) { c.Workspace = "none" },
		"a server that ended where it was left": func(_ *Group, c *Continued) {
			c.Fenced = Fence{Lineage: "b", State: FenceCommitted, Worth: FenceProven, End: pos(1, 1500)}
		},
	} {
		g, c := failedOver(), ofMain()
		if change(&g, &c); true {
			g.Continue(c)
		}
		if len(g.SystemManaged) > 0 {
			t.Errorf("%s: %+v", name, g.SystemManaged)
		}
	}
	for name, f := range map[string]Fence{
		"further than it was left": {Lineage: "b", State: FenceCommitted, Worth: FenceProven, End: pos(1, 1501)},
		"of best effort":           {Lineage: "b", State: FenceCommitted, Worth: FenceBestEffort, End: pos(1, 1500)},
		"lifted":                   {Lineage: "b", State: FenceLifted, Worth: FenceProven, End: pos(1, 1500)},
		"of another lineage":       {Lineage: "a", State: FenceCommitted, Worth: FenceProven, End: pos(1, 1500)},
		"without an end":           {Lineage: "b", State: FenceCommitted, Worth: FenceProven},
	} {
		g, c := failedOver(), ofMain()
		c.Fenced = f
		if g.Continue(c); len(g.SystemManaged) != 2 {
			t.Errorf("a fence %s: %+v", name, g.SystemManaged)
		}
	}
}

// The maintenance database is listed where somebody has chosen it by its name.
func TestTheMaintenanceDatabaseIsListedWhenChosen(t *testing.T) {
	g := failedOver()
	g.Replication.Databases = []string{"main/postgres"}
	g.Continue(ofMain())
	if names := databasesOf(g); !slices.Equal(names, []string{"postgres"}) {
		t.Errorf("listed are %q", names)
	}
}

func databasesOf(g Group) (names []string) {
	for _, s := range g.SystemManaged {
		names = append(names, s.Database)
	}
	return names
}

func TestHowFarASystemManagedDatabaseIs(t *testing.T) {
	g := failedOver()
	g.Continue(ofMain())
	s := g.SystemManaged[0]
	if w := s.WithTail(nil); w.At != s.Fork || w.Complete || w.NothingMissing() {
		t.Errorf("before anything has arrived: %+v", w)
	}
	last := began.Add(time.Minute)
	other := Tail{Workspace: "side", Lineage: "b", Fork: pos(1, 1), At: pos(1, 9000), Commits: 99, Complete: true}
	w := s.WithTail([]Tail{other, {Workspace: "main", Lineage: "b", Fork: pos(1, 1500), At: pos(1, 1700), Commits: 3, Last: last, Error: "not fenced"}})
	want := Waits{SystemManaged: s, At: pos(1, 1700), Time: last, Commits: 3, Bytes: 200, Reason: "not fenced"}
	if diff := cmp.Diff(want, w); diff != "" {
		t.Error(diff)
	}
	if w := s.WithTail([]Tail{{Workspace: "main", Lineage: "b", Fork: pos(1, 1500), At: pos(1, 1500), Complete: true}}); !w.NothingMissing() {
		t.Errorf("all of it is there: %+v", w)
	}
}
