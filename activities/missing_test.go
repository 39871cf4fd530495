package activities

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/missing"
	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

var leftBehind = []topology.SystemManaged{
	{Name: "app_1", Workspace: "main", Database: "app", Lineage: servedBefore, Operation: "1", Since: time.Unix(1, 0)},
	{Name: "app_2", Workspace: "main", Database: "app", Lineage: servesNow, Operation: "2", Since: time.Unix(2, 0)},
	{Name: "crm_2", Workspace: "main", Database: "crm", Lineage: servesNow, Operation: "2", Since: time.Unix(2, 0)},
	{Name: "app_2", Workspace: "more", Database: "app", Lineage: "0002-00000009", Operation: "2", Since: time.Unix(2, 0)},
}

func TestWhichMissingRowsAreMeant(t *testing.T) {
	g := &topology.Group{Name: "prod", SystemManaged: leftBehind}
	for _, c := range []struct {
		in   PlaceMissingInput
		want string
		kind fault.Kind
	}{
		{PlaceMissingInput{}, "main/app_2 main/crm_2 more/app_2", ""},
		{PlaceMissingInput{Workspace: "main"}, "main/app_2 main/crm_2", ""},
		{PlaceMissingInput{Of: "crm"}, "main/crm_2", ""},
		{PlaceMissingInput{Of: "app_1"}, "main/app_1", ""},
		{PlaceMissingInput{Of: "app", Workspace: "main"}, "main/app_2", ""},
		{PlaceMissingInput{Of: "more/app"}, "more/app_2", ""},
		{PlaceMissingInput{Of: "more/app_2"}, "more/app_2", ""},
		{PlaceMissingInput{Of: "app"}, "", fault.Invalid}, // of two workspaces
		{PlaceMissingInput{Of: "none"}, "", fault.Missing},
		{PlaceMissingInput{Workspace: "none"}, "", fault.Invalid},
	} {
		found, err := c.in.chosen(g)
		var names []string
		for _, s := range found {
			names = append(names, s.Workspace+"/"+s.Name)
		}
		if got := strings.Join(names, " "); got != c.want || err != nil && (!fault.Is(err, c.kind) || fault.HintOf(err) == "") || (err == nil) != (c.kind == "") {
			t.Errorf("%+v: %q %v", c.in, got, err)
		}
	}
	if groups := byLineage(leftBehind); len(groups) != 3 || len(groups[1]) != 2 {
		t.Errorf("by lineage: %+v", groups)
	}
}

// missingWorld is group prod, which has failed over from east to west.
func missingWorld(t *testing.T) *world {
	w := newWorld(t)
	w.leave(t, topology.Site{Kind: topology.Managed, Host: "h1", Instance: "/srv/e1"})
	w.update(t, func(g *topology.Group) {
		g.SystemManaged = []topology.SystemManaged{{Name: "app_1", Workspace: "main", Database: "app", Lineage: servedBefore, Region: "east",
			Fork: wal.Position{Timeline: 1, LSN: 20 << 20}, Operation: "1", Since: time.Unix(1, 0).UTC()}}
		ws := g.Workspace("main")
		ws.State = topology.WorkspaceActive
		ws.Sites["west"] = topology.Site{Kind: topology.Managed, Host: "w1", Instance: "/srv/w1", Source: topology.Source{ConnString: "postgres://dr@db/postgres"}}
	})
	return w
}

// Where nothing has arrived that is said, with what is waited for; and where there is nothing at all, too.
func TestNothingToCompare(t *testing.T) {
	w := missingWorld(t)
	target := &Target{Site: w.Site}
	place := func(says ...string) {
		t.Helper()
		_, err := as(t, target.PlaceMissing, PlaceMissingInput{Group: "prod"})
		for _, text := range says {
			if err == nil || !strings.Contains(err.Error(), text) {
				t.Errorf("%q is not in: %v", text, err)
			}
		}
		if typeOf(err) != string(fault.Invalid) {
			t.Errorf("it is %q", typeOf(err))
		}
	}
	place("nothing has arrived yet of what region east wrote", "0/1400000")
	check(t, w.Catalog.PutTail(t.Context(), "prod", topology.Tail{Workspace: "main", Lineage: servedBefore, Complete: true}))
	place("nothing is missing of app_1")
	w.update(t, func(g *topology.Group) { g.SystemManaged = nil })
	place("no failover of group prod has left anything behind")
}

// merging returns a merge that is about to commit.
func (w *world) merging() *merging {
	m := &merging{Source: &Source{Site: w.Site}, store: w.Stores["west"], in: MergeMissingInput{Apply: true, Run: "r-1",
		Job: MissingJob{Group: "prod", Epoch: 2, Serves: "west", Workspace: "main", Lineage: servedBefore, Tip: wal.Position{Timeline: 1, LSN: 30 << 20}},
		Of:  MissingOf{"app_1", "app"}}}
	return m
}

// Nothing is merged while an operation holds the group, and none commits after one has begun.
func TestAnOperationFencesAMerge(t *testing.T) {
	w := missingWorld(t)
	begin := func() *merging {
		t.Helper()
		m := w.merging()
		var err error
		m.group, m.space, err = m.permitted(t.Context())
		check(t, err)
		check(t, m.openReport(t.Context()))
		return m
	}
	undo := missing.Undo{Database: "app", XID: 7, Changes: func(yield func(missing.Change, error) bool) { yield(missing.Change{ID: "c"}, nil) }}
	m := begin()
	check(t, m.lines.Write(missing.Header{}))
	check(t, m.keepUndo(t.Context(), undo))
	for region, store := range w.Stores { // it is in both buckets, and so is nothing else
		u, err := missing.ReadUndo(t.Context(), store, m.undo)
		check(t, err)
		n := 0
		for c, err := range u.Changes {
			check(t, err)
			if n++; c.ID != "c" {
				t.Errorf("%s: %+v", region, c)
			}
		}
		if u.XID != 7 || n != 1 {
			t.Errorf("%s: %+v with %d changes", region, u, n)
		}
	}
	if _, _, err := missing.ReadReport(t.Context(), m.store, m.reportKey()); err != nil {
		t.Errorf("the report of a merge that is about to commit: %v", err)
	}
	if found, err := m.undoKeys(t.Context()); err != nil || len(found) != 1 {
		t.Errorf("undo records: %v %v", found, err)
	}
	for what, c := range map[string]struct {
		change func(*topology.Group)
		kind   fault.Kind
	}{
		"an operation": {func(g *topology.Group) {
			g.Operation = &topology.OperationRef{ID: "f", Kind: "Failover", StartedAt: time.Unix(3, 0)}
		}, fault.Taken},
		"a suspension":  {func(g *topology.Group) { g.Workspace("main").State = topology.WorkspaceSuspended }, fault.Invalid},
		"a restore":     {func(g *topology.Group) { g.Workspace("main").Lineage = servedBefore }, fault.Fenced},
		"another epoch": {func(g *topology.Group) { g.Epoch, g.Active = 3, "east" }, fault.Fenced},
		"a claim": {func(g *topology.Group) {
			g.Claimed = &topology.Claimed{Epoch: 3, Region: "east", Operation: "f", At: time.Unix(3, 0)}
		}, fault.Fenced},
		"another controller": {func(g *topology.Group) { g.Controller = &topology.Controller{ID: "other"} }, fault.Fenced},
	} {
		w := missingWorld(t)
		w.Controller = "here"
		m := w.merging()
		var err error
		m.group, m.space, err = m.permitted(t.Context())
		check(t, err)
		check(t, m.openReport(t.Context()))
		w.update(t, c.change)
		if err := m.keepUndo(t.Context(), undo); !fault.Is(err, c.kind) {
			t.Errorf("%s has begun, and a merge would commit: %v", what, err)
		}
	}
}

// A bucket of the other region that is away does not hold up a merge, and the record is in the one that serves.
func TestAMergeWithoutTheOtherBucket(t *testing.T) {
	w := missingWorld(t)
	m := w.merging()
	var err error
	m.group, m.space, err = m.permitted(t.Context())
	check(t, err)
	check(t, m.openReport(t.Context()))
	w.faults["east"].Add(objectstore.Rule{Ops: objectstore.OpPut, Fail: fault.Newf(fault.Transient, "put", "the region is gone")})
	check(t, m.keepUndo(t.Context(), missing.Undo{XID: 7, Moved: []missing.MovedValue{{Name: "s"}}}))
	if u, err := missing.ReadUndo(t.Context(), w.Stores["west"], m.undo); err != nil || u.XID != 7 {
		t.Errorf("the bucket that serves has %+v: %v", u, err)
	}
	if w.faults["east"].Struck() == 0 {
		t.Error("nobody tried the other bucket")
	}
}

func TestRecordMerged(t *testing.T) {
	w := missingWorld(t)
	in := RecordMergedInput{Group: "prod", Workspace: "main", Name: "app_1", Merged: topology.Merged{Commits: 4, Applied: 9, Lineage: servesNow, LSN: 25 << 20}}
	c := &Control{Site: w.Site}
	_, err := as(t, func(ctx context.Context, in RecordMergedInput) (bool, error) { return true, c.RecordMerged(ctx, in) }, in)
	check(t, err)
	l, err := w.Catalog.Load(t.Context(), "prod")
	check(t, err)
	if m := l.Group.SystemManaged[0].Merged; m == nil || *m != in.Merged {
		t.Errorf("recorded %+v", m)
	}
	in.Name = "gone"
	_, err = as(t, func(ctx context.Context, in RecordMergedInput) (bool, error) { return true, c.RecordMerged(ctx, in) }, in)
	check(t, err)
}

// A set counts once its document is there, and one that is damaged is made anew.
func TestSetsThatAreThere(t *testing.T) {
	w := missingWorld(t)
	job := w.merging().in.Job
	job.Databases = []MissingOf{{"app_1", "app"}, {"crm_1", "crm"}}
	there := func(want bool) {
		t.Helper()
		if got, err := w.setsThere(t.Context(), job); err != nil || got != want {
			t.Errorf("sets are there: %v %v", got, err)
		}
	}
	for _, of := range job.Databases {
		there(false)
		set := missing.CreateObject(t.Context(), w.Stores["west"], job.place(of).SetKey(false))
		_, err := set.Write([]byte("rows"))
		check(t, errors.Join(err, set.Close()))
		there(false)
		check(t, set.Publish(t.Context(), missing.Object{Kind: missing.SetObject}))
	}
	there(true)
	job.Full = true
	there(false)
	keys := slices.Collect(func(yield func(string) bool) {
		for info := range w.Stores["west"].List(t.Context(), missing.Prefix("prod", "main"), "") {
			yield(info.Key)
		}
	})
	if len(keys) != 4 {
		t.Errorf("kept %q", keys)
	}
}

// A copy that nobody works on any more is removed; one that somebody does, or did lately, is not.
func TestAbandonedCopiesAreRemoved(t *testing.T) {
	w := missingWorld(t)
	target := &Target{Site: w.Site, Hosting: Hosting{DataDir: t.TempDir()}}
	job := w.merging().in.Job
	dir := target.missingDir(job)
	there := func(want bool) {
		t.Helper()
		check(t, target.sweepMissing(t.Context()))
		if _, err := os.Stat(dir); (err == nil) != want {
			t.Errorf("it is there: %v", err == nil)
		}
	}
	check(t, os.MkdirAll(filepath.Join(dir, copyFolder), 0o755))
	check(t, writeState(dir, missingFile, missingCopy{Job: job}))
	there(true)
	old := time.Now().Add(-2 * abandonedAfter)
	check(t, os.Chtimes(filepath.Join(dir, missingFile), old, old))
	_, release, err := target.followers.take(t.Context(), dir)
	check(t, err)
	there(true)
	release()
	there(false)
}
