package topology

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/smartdr/smartdr/internal/fault"
)

func TestNames(t *testing.T) {
	for name, ok := range map[string]bool{
		"a": true, "prod-1": true, "0": true, strings.Repeat("a", 63): true,
		"": false, "-a": false, "A": false, "a_b": false, "a/b": false, "a.b": false, "a\n": false, "ä": false, strings.Repeat("a", 64): false,
	} {
		err := CheckName("region", name)
		if (err == nil) != ok || err != nil && (!fault.Is(err, fault.Invalid) || fault.HintOf(err) == "") {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestLineageIDs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := Epoch(rapid.Int64Range(1, 99_999_999).Draw(t, "epoch"))
		got, err := ParseLineageID(NewLineageID(e))
		if err != nil || got != e {
			t.Fatalf("epoch %d became %d: %v", e, got, err)
		}
	})
	if first, second := NewLineageID(1), NewLineageID(1); first == second {
		t.Error("two lineages of one epoch have one ID")
	}
	for _, bad := range []string{"", "0001", "0001-", "1-00000000", "0000-00000000", "0001-0000000G", "0001-000000000", "../x-00000000", "99999999999999999999-00000000"} {
		if e, err := ParseLineageID(bad); !fault.Is(err, fault.Invalid) {
			t.Errorf("%q was read as epoch %d", bad, e)
		}
	}
}

func group() Group {
	return Group{
		Name: "prod", Primary: "east", Secondary: "west", Active: "east", Authority: "west", Epoch: 1, Replication: &Replication{},
		Workspaces: []Workspace{{Name: "main", Lineage: "0001-00000000", Lineages: []Lineage{{ID: "0001-00000000"}}, Sites: map[string]Site{"east": {}}}},
	}
}

func TestValidate(t *testing.T) {
	good := group()
	if err := good.Validate(); err != nil {
		t.Fatal(err)
	}
	for says, change := range map[string]func(*Group){
		`"Prod"`:                  func(g *Group) { g.Name = "Prod" },
		"as primary and as":       func(g *Group) { g.Secondary = "east" },
		`no name for a region`:    func(g *Group) { g.Primary, g.Active, g.Workspaces[0].Sites = "", "west", nil },
		`"mars" as its active`:    func(g *Group) { g.Active = "mars" },
		`"" as its authority`:     func(g *Group) { g.Authority = "" },
		"epoch 0":                 func(g *Group) { g.Epoch = 0 },
		"unknown state":           func(g *Group) { g.Workspaces[0].State = "asleep" },
		"port cannot be chosen":   func(g *Group) { g.Workspaces[0].Settings = map[string]string{"port": "1"} },
		"two workspaces named":    func(g *Group) { g.Workspaces = append(g.Workspaces, g.Workspaces[0]) },
		"does not list it":        func(g *Group) { g.Workspaces[0].Lineage = "0002-00000000" },
		`"x" is not an epoch`:     func(g *Group) { g.Workspaces[0].Lineages = append(g.Workspaces[0].Lineages, Lineage{ID: "x"}) },
		`a server in region "up"`: func(g *Group) { g.Workspaces[0].Sites = map[string]Site{"up": {}} },
	} {
		t.Run(says, func(t *testing.T) {
			g := group()
			change(&g)
			if err := g.Validate(); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), says) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestDatabaseStatuses(t *testing.T) {
	const lineage = "0001-00000000"
	now := time.Unix(10_000, 0)
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	shipping := func(age time.Duration) *WALProgress {
		return &WALProgress{Lineage: lineage, MeasuredAt: ago(age), Cursors: []Cursor{
			{Region: "east"}, {Region: "west", LagSeconds: 0.5, LagBytes: 100, Point: RecoveryPoint{RecordEnd: 0x77}},
		}}
	}
	snapshot := func(age time.Duration, complete ...string) *SnapshotProgress {
		return &SnapshotProgress{Lineage: lineage, MeasuredAt: ago(age), Complete: complete, Databases: []DatabaseProgress{
			{Name: "app", Replicated: true, DoneBytes: 335, TotalBytes: 1000}, {Name: "left", TotalBytes: 7}, {Name: "template1", Replicated: true},
		}}
	}
	with := func(p *WALProgress, change func(*WALProgress)) *WALProgress { change(p); return p }
	for name, c := range map[string]struct {
		wal     *WALProgress
		snap    *SnapshotProgress
		state   DatabaseState
		percent float64
		reason  string
	}{
		"shipping, whole snapshot":              {shipping(time.Second), snapshot(time.Hour, "west"), Active, 100, ""},
		"measured exactly a minute ago":         {shipping(time.Minute), snapshot(time.Hour, "west"), Active, 100, ""},
		"nobody ships":                          {shipping(61 * time.Second), snapshot(time.Hour, "west"), Inactive, 100, "1m1s"},
		"the clock is behind the shipper's":     {shipping(-time.Hour), snapshot(time.Hour, "west"), Active, 100, ""},
		"snapshot under way":                    {shipping(time.Second), snapshot(time.Second), Pending, 33.5, ""},
		"snapshot in the wrong bucket":          {shipping(time.Second), snapshot(time.Second, "east"), Pending, 33.5, ""},
		"nothing yet":                           {nil, nil, Pending, 0, "no shipper"},
		"snapshot failed":                       {shipping(time.Second), &SnapshotProgress{Lineage: lineage, Error: "disk"}, Error, 0, "disk"},
		"a later snapshot failed":               {shipping(time.Second), &SnapshotProgress{Lineage: lineage, Complete: []string{"west"}, Error: "disk"}, Active, 100, ""},
		"snapshot, and the shipper is gone":     {shipping(time.Hour), snapshot(time.Second), Pending, 33.5, ""},
		"everybody is gone before it was whole": {shipping(time.Hour), snapshot(time.Hour), Pending, 33.5, "1h0m0s"},
		"shipping stands still":                 {with(shipping(1), func(p *WALProgress) { p.Error = "no slot" }), snapshot(1, "west"), Error, 100, "no slot"},
		"and then died":                         {with(shipping(time.Hour), func(p *WALProgress) { p.Error = "no slot" }), snapshot(1, "west"), Inactive, 100, "no slot"},
		"the other bucket refuses":              {with(shipping(1), func(p *WALProgress) { p.Cursors[1].Error = "denied" }), snapshot(1, "west"), Error, 100, "west: denied"},
		"the own bucket refuses":                {with(shipping(1), func(p *WALProgress) { p.Cursors[0].Error = "denied" }), snapshot(1, "west"), Active, 100, ""},
		"the slot is lost":                      {with(shipping(1), func(p *WALProgress) { p.Slot = SlotState{Name: "s", WALStatus: "lost"} }), snapshot(1, "west"), Error, 100, "slot s"},
		"all of another lineage": {
			with(shipping(1), func(p *WALProgress) { p.Lineage = "0000-1" }), &SnapshotProgress{Lineage: "0000-1", Complete: []string{"west"}}, Pending, 0, "no shipper"},
	} {
		t.Run(name, func(t *testing.T) {
			g := group()
			got := DatabaseStatuses(Observation{Group: &g, Workspace: &g.Workspaces[0], WAL: c.wal, Snapshot: c.snap, Databases: []string{"app"}, Now: now})
			if len(got) != 1 {
				t.Fatalf("got %+v", got)
			}
			d := got[0]
			if d.State != c.state || d.Percent != c.percent || d.Region != "west" || (c.reason == "") != (d.Reason == "") || !strings.Contains(d.Reason, c.reason) {
				t.Errorf("got %+v, want %s %v%% because %q", d, c.state, c.percent, c.reason)
			}
			if c.wal != nil && c.wal.Lineage == lineage && (d.Lag.Seconds != 0.5 || d.Lag.LSN != 0x77 || !d.Lag.MeasuredAt.Equal(c.wal.MeasuredAt)) {
				t.Errorf("lag %+v", d.Lag)
			}
		})
	}
}

func TestWhichDatabasesAreShown(t *testing.T) {
	snap := &SnapshotProgress{Lineage: "0001-00000000", Databases: []DatabaseProgress{{Name: "b", Replicated: true}, {Name: "x"}, {Name: "a", Replicated: true}}}
	for name, c := range map[string]struct {
		chosen, known []string
		snap          *SnapshotProgress
		want          []string
	}{
		"known from the server":    {nil, []string{"postgres", "b", "template1", "a"}, snap, []string{"a", "b", "postgres"}},
		"chosen ones only":         {[]string{"a"}, []string{"postgres", "b", "a"}, snap, []string{"a"}},
		"known from the snapshot":  {nil, nil, snap, []string{"a", "b"}},
		"known from the choice":    {[]string{"b", "a"}, nil, nil, []string{"a", "b"}},
		"not known at all":         {nil, nil, nil, []string{}},
		"a chosen one was dropped": {[]string{"a", "gone"}, []string{"a"}, snap, []string{"a"}},
	} {
		t.Run(name, func(t *testing.T) {
			g := group()
			g.Replication.Databases = c.chosen
			got := []string{}
			for _, d := range DatabaseStatuses(Observation{Group: &g, Workspace: &g.Workspaces[0], Snapshot: c.snap, Databases: c.known, Now: time.Unix(0, 0)}) {
				got = append(got, d.Database)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
	g := group()
	g.Replication = nil
	if got := DatabaseStatuses(Observation{Group: &g, Workspace: &g.Workspaces[0]}); got != nil {
		t.Errorf("without replication: %v", got)
	}
	g = group()
	g.Active = "west"
	if got := DatabaseStatuses(Observation{Group: &g, Workspace: &g.Workspaces[0], Databases: []string{"a"}}); got[0].Region != "east" {
		t.Errorf("after a failover, replication goes to %s", got[0].Region)
	}
}

func FuzzParseLineageID(f *testing.F) {
	f.Add("0001-89abcdef")
	f.Fuzz(func(t *testing.T, s string) {
		if e, err := ParseLineageID(s); err == nil && (e < 1 || !strings.HasSuffix(s, s[len(s)-9:]) || s[len(s)-9] != '-') {
			t.Errorf("%q was read as epoch %d", s, e)
		}
	})
}

// A name without a workspace is any workspace's: before its databases are known, nothing is said of it there.
func TestChosenDatabasesOfAnotherWorkspaceAreNotPending(t *testing.T) {
	g := Group{Active: "east", Primary: "east", Secondary: "west", Workspaces: []Workspace{{Name: "main"}, {Name: "reports"}},
		Replication: &Replication{Databases: []string{"app", "reports/sales"}}}
	for i, want := range [][]string{nil, {"sales"}} {
		var got []string
		for _, d := range DatabaseStatuses(Observation{Group: &g, Workspace: &g.Workspaces[i]}) {
			got = append(got, d.Database)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", g.Workspaces[i].Name, got, want)
		}
	}
}
