package topology

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/smartdr/smartdr/internal/fault"
)

func TestChosen(t *testing.T) {
	r := &Replication{Databases: []string{"app", "orders/app", "orders/a/b", "main/x"}}
	for workspace, want := range map[string][]string{"main": {"app", "x"}, "orders": {"a/b", "app"}, "other": {"app"}} {
		got, all := r.Chosen(workspace)
		if diff := cmp.Diff(want, got); diff != "" || all {
			t.Errorf("%s: all %t %s", workspace, all, diff)
		}
	}
	if got, all := (&Replication{Databases: []string{"main/x"}}).Chosen("orders"); len(got) != 0 || all {
		t.Errorf("a workspace without a chosen one: %q, all %t", got, all)
	}
	for _, r := range []*Replication{nil, {}} {
		if got, all := r.Chosen("main"); len(got) != 0 || !all {
			t.Errorf("no choice: %q, all %t", got, all)
		}
	}
}

func TestCheckChoice(t *testing.T) {
	g := group()
	g.Workspaces = append(g.Workspaces, Workspace{Name: "gone", State: WorkspaceTerminated})
	if err := g.CheckChoice([]string{"app", "main/app", "main/a/b"}); err != nil {
		t.Error(err)
	}
	for entry, says := range map[string]string{"": "no name", "main/": "no name", "nowhere/app": `no workspace "nowhere"`, "gone/app": `no workspace "gone"`, "/app": "no workspace", "a\x00": "no name"} {
		if err := g.CheckChoice([]string{entry}); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v", entry, err)
		}
	}
}

func TestChanged(t *testing.T) {
	one := Present{{Workspace: "main", Databases: []string{"app", "postgres", "scratch"}}}
	two := Present{{Workspace: "main", Databases: []string{"app", "scratch"}}, {Workspace: "orders", Databases: []string{"app", "shop"}}}
	asleep := append(append(Present(nil), one...), Found{Workspace: "orders", Unknown: true})
	for name, c := range map[string]struct {
		chosen  []string
		change  DatabaseChange
		present Present
		want    []string
		fails   string
	}{
		"one more":                 {[]string{"app"}, DatabaseChange{Add: []string{"shop"}}, two, []string{"app", "shop"}, ""},
		"one there already":        {[]string{"app"}, DatabaseChange{Add: []string{"main/app"}}, two, []string{"app"}, ""},
		"in all, not in one":       {[]string{"main/app"}, DatabaseChange{Add: []string{"app"}}, two, []string{"app"}, ""},
		"one less":                 {[]string{"app", "shop"}, DatabaseChange{Remove: []string{"app"}}, two, []string{"shop"}, ""},
		"one less that was named":  {[]string{"main/app", "shop"}, DatabaseChange{Remove: []string{"app"}}, two, []string{"shop"}, ""},
		"in one workspace":         {[]string{"app"}, DatabaseChange{Remove: []string{"main/app"}}, two, []string{"orders/app"}, ""},
		"one that was dropped":     {[]string{"app", "old"}, DatabaseChange{Remove: []string{"old"}}, one, []string{"app"}, ""},
		"another instead":          {[]string{"app"}, DatabaseChange{Add: []string{"scratch"}, Remove: []string{"app"}}, one, []string{"scratch"}, ""},
		"all":                      {[]string{"app"}, DatabaseChange{All: true}, two, nil, ""},
		"all but one":              {nil, DatabaseChange{Remove: []string{"scratch"}}, one, []string{"app"}, ""},
		"all but one of several":   {nil, DatabaseChange{Remove: []string{"main/app"}}, two, []string{"main/scratch", "orders/app", "orders/shop"}, ""},
		"one that is not there":    {[]string{"app"}, DatabaseChange{Add: []string{"nowhere"}}, two, nil, "workspace main has app, scratch; workspace orders has app, shop"},
		"of the wrong workspace":   {[]string{"app"}, DatabaseChange{Add: []string{"main/shop"}}, two, nil, `no database "main/shop"`},
		"one that was not chosen":  {[]string{"app"}, DatabaseChange{Remove: []string{"shop"}}, two, nil, "what is chosen is app"},
		"a system one out of all":  {nil, DatabaseChange{Remove: []string{"postgres"}}, one, nil, "not replicated"},
		"none left":                {[]string{"app"}, DatabaseChange{Remove: []string{"app"}}, one, nil, "no database would be left"},
		"all, and some":            {[]string{"app"}, DatabaseChange{All: true, Add: []string{"shop"}}, two, nil, "at once"},
		"nothing":                  {[]string{"app"}, DatabaseChange{}, two, nil, "nothing"},
		"more than all":            {nil, DatabaseChange{Add: []string{"app"}}, two, nil, "replicated already"},
		"names with slashes":       {[]string{"main/x/app", "x"}, DatabaseChange{Add: []string{"app"}}, two, []string{"app", "main/x/app", "x"}, ""},
		"one sleeps, all but one":  {nil, DatabaseChange{Remove: []string{"scratch"}}, asleep, nil, "orders does not run"},
		"one sleeps, in the other": {[]string{"app"}, DatabaseChange{Remove: []string{"main/app"}}, asleep, nil, "orders does not run"},
		"one sleeps, one less":     {[]string{"app", "x"}, DatabaseChange{Remove: []string{"app"}}, asleep, []string{"x"}, ""},
		"one sleeps, not there":    {[]string{"app"}, DatabaseChange{Add: []string{"x"}}, asleep, nil, "orders does not run"},
		"nobody runs, one removed": {[]string{"app", "x"}, DatabaseChange{Remove: []string{"x"}}, nil, []string{"app"}, ""},
		"nobody runs, one added":   {[]string{"app"}, DatabaseChange{Add: []string{"x"}}, nil, nil, "no workspace has a server running"},
	} {
		t.Run(name, func(t *testing.T) {
			before := append([]string(nil), c.chosen...)
			got, _, err := (&Replication{Databases: c.chosen}).Changed(c.change, c.present)
			if (err != nil) != (c.fails != "") || err != nil && (!fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), c.fails)) {
				t.Fatalf("got %v, want %q", err, c.fails)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(before, append([]string(nil), c.chosen...)); diff != "" {
				t.Errorf("the old choice was changed:\n%s", diff)
			}
		})
	}
}

func TestStatusOfDatabasesAddedLater(t *testing.T) {
	const lineage = "0001-00000000"
	now := time.Unix(10_000, 0)
	wal := &WALProgress{Lineage: lineage, MeasuredAt: now, Cursors: []Cursor{{Region: "west"}}}
	snap := func(databases ...DatabaseProgress) *SnapshotProgress {
		return &SnapshotProgress{Lineage: lineage, MeasuredAt: now, Complete: []string{"east", "west"}, Databases: databases}
	}
	app := DatabaseProgress{Name: "app", Replicated: true, DoneBytes: 10, TotalBytes: 10}
	for name, c := range map[string]struct {
		chosen  []string
		snap    *SnapshotProgress
		state   DatabaseState
		percent float64
	}{
		"in the snapshot":                     {[]string{"new"}, snap(DatabaseProgress{Name: "new", Replicated: true}), Active, 100},
		"left out, then added":                {[]string{"app", "new"}, snap(app, DatabaseProgress{Name: "new", DoneBytes: 5, TotalBytes: 5}), Pending, 0},
		"its snapshot is under way":           {[]string{"app", "new"}, snap(app, DatabaseProgress{Name: "new", Replicated: true, DoneBytes: 1, TotalBytes: 4, Lacking: []string{"east", "west"}}), Pending, 25},
		"its snapshot is in the wrong bucket": {[]string{"app", "new"}, snap(app, DatabaseProgress{Name: "new", Replicated: true, DoneBytes: 4, TotalBytes: 4, Lacking: []string{"west"}}), Pending, 99.9},
		"its snapshot is in the right bucket": {[]string{"app", "new"}, snap(app, DatabaseProgress{Name: "new", Replicated: true, DoneBytes: 4, TotalBytes: 4, Lacking: []string{"east"}}), Active, 100},
		"made since, nothing left out":        {nil, snap(app), Active, 100},
		"made since, something left out":      {[]string{"app", "new"}, snap(app, DatabaseProgress{Name: "other"}), Pending, 0},
		"all, after something was left out":   {nil, snap(app, DatabaseProgress{Name: "new"}), Pending, 0},
	} {
		t.Run(name, func(t *testing.T) {
			g := group()
			g.Replication.Databases = c.chosen
			got := DatabaseStatuses(Observation{Group: &g, Workspace: &g.Workspaces[0], WAL: wal, Snapshot: c.snap, Databases: []string{"new"}, Now: now})
			if len(got) != 1 || got[0].State != c.state || got[0].Percent != c.percent || (got[0].Reason == "") != (c.state == Active) {
				t.Errorf("got %+v, want %s %v", got, c.state, c.percent)
			}
		})
	}
}

func TestStatusOfWorkspacesThatRest(t *testing.T) {
	const lineage = "0001-00000000"
	now := time.Unix(10_000, 0)
	snap := &SnapshotProgress{Lineage: lineage, Complete: []string{"west"}}
	g := group()
	w := &g.Workspaces[0]
	w.State = WorkspaceSuspended
	stopped := &WALProgress{Lineage: lineage, MeasuredAt: now.Add(-time.Hour), Error: "the server is shutting down"}
	got := DatabaseStatuses(Observation{Group: &g, Workspace: w, WAL: stopped, Snapshot: snap, Databases: []string{"app"}, Now: now})
	if len(got) != 1 || got[0].State != Inactive || !strings.Contains(got[0].Reason, "suspended") || strings.Contains(got[0].Reason, "shutting down") {
		t.Errorf("suspended: %+v", got)
	}
	w.State = WorkspaceTerminated
	if got := DatabaseStatuses(Observation{Group: &g, Workspace: w, Snapshot: snap, Databases: []string{"app"}, Now: now}); got != nil {
		t.Errorf("terminated: %+v", got)
	}
}
