package activities

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/smartdr/smartdr/internal/archive"
	"github.com/smartdr/smartdr/internal/catalog"
	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/postgres/postgrestest"
	"github.com/smartdr/smartdr/internal/snapshot"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

// replicated is group prod with a real server as its workspace main, of which nothing is stored yet. Its shipper is
// only claimed: it says that all WAL is everywhere.
func replicated(t *testing.T) (*world, *Source, *postgres.Server) {
	t.Helper()
	w, s := newWorld(t), startServer(t)
	source := &Source{Site: w.Site, Answers: func(context.Context) error { return nil }}
	source.Region = "east"
	w.update(t, func(g *topology.Group) {
		g.SmartDR = true
		g.Workspaces[0].Sites["east"] = topology.Site{Kind: topology.Adopted, Source: s.Source("postgres")}
	})
	prepared, err := as(t, source.PrepareSource, main1)
	check(t, err)
	check(t, w.Catalog.PutWALProgress(t.Context(), "prod", "main", topology.WALProgress{
		Lineage: prepared.Lineage, Epoch: 1, MeasuredAt: time.Now(),
		Cursors: []topology.Cursor{{Region: "west", Point: topology.RecoveryPoint{At: wal.Position{Timeline: 1, LSN: 1 << 60}}}},
	}))
	return w, source, s
}

var main1 = SourceInput{Group: "prod", Workspace: "main", Epoch: 1}

func (w *world) choose(t *testing.T, databases ...string) {
	t.Helper()
	w.update(t, func(g *topology.Group) { g.Replication = &topology.Replication{Databases: databases} })
}

// takes asks for a snapshot and says whether another one was taken for it.
func takes(t *testing.T, source *Source) bool {
	t.Helper()
	result, err := as(t, source.TakeSnapshot, TakeSnapshotInput{SourceInput: main1, MaxAgeSeconds: 3600})
	check(t, err)
	if !slices.Equal(result.Complete, []string{"east", "west"}) {
		t.Errorf("complete in %q", result.Complete)
	}
	return result.Taken
}

// state is what the status says of a database.
func (w *world) state(t *testing.T, databases ...string) (states []topology.DatabaseState) {
	t.Helper()
	check(t, w.Catalog.PutMetadata(t.Context(), "prod", "main", catalog.Metadata{Epoch: 1, CapturedAt: time.Now(), Databases: databases}))
	status, err := w.Catalog.Status(t.Context(), "prod", time.Now())
	check(t, err)
	for _, name := range databases {
		i := slices.IndexFunc(status.Workspaces[0].Databases, func(d topology.DatabaseStatus) bool { return d.Database == name })
		if i < 0 {
			states = append(states, "")
			continue
		}
		states = append(states, status.Workspaces[0].Databases[i].State)
	}
	return states
}

func TestAYoungSnapshotCountsOnlyIfItCoversTheChoice(t *testing.T) {
	w, source, s := replicated(t)
	for _, db := range []string{"app", "spare"} {
		postgrestest.Exec(t, s, "postgres", "CREATE DATABASE "+db)
	}
	step := func(what string, taken bool, want ...topology.DatabaseState) {
		t.Helper()
		if got := takes(t, source); got != taken {
			t.Errorf("%s: taken %t", what, got)
		}
		if diff := cmp.Diff(want, w.state(t, "app", "spare", "fresh")); diff != "" {
			t.Errorf("%s: %s", what, diff)
		}
	}
	w.choose(t, "app")
	step("the first", true, topology.Active, "", "")
	step("again", false, topology.Active, "", "")
	w.choose(t, "app", "spare")
	if got := w.state(t, "app", "spare"); !slices.Equal(got, []topology.DatabaseState{topology.Active, topology.Pending}) {
		t.Errorf("added, and no snapshot yet: %q", got)
	}
	step("one added", true, topology.Active, topology.Active, "")
	w.choose(t, "app")
	step("one removed", false, topology.Active, "", "")
	w.choose(t)
	step("all again", false, topology.Active, topology.Active, topology.Active)
	postgrestest.Exec(t, s, "postgres", "CREATE DATABASE fresh")
	step("one made since", false, topology.Active, topology.Active, topology.Active)
	w.choose(t, "spare")
	step("nothing new", false, "", topology.Active, "")

	postgrestest.Exec(t, s, "postgres", "CREATE TABLESPACE far LOCATION '"+postgrestest.TempDir(t)+"'")
	step("a tablespace", true, "", topology.Active, "")
	step("a tablespace, again", false, "", topology.Active, "")
	postgrestest.Exec(t, s, "postgres", "DROP DATABASE spare")
	postgrestest.Exec(t, s, "postgres", "ALTER DATABASE app RENAME TO spare")
	step("the name of another that was left out", true, "", topology.Active, "")
}

func TestASnapshotWarnsOfWhatIsChosenAndNotThere(t *testing.T) {
	w, source, s := replicated(t)
	postgrestest.Exec(t, s, "postgres", "CREATE DATABASE app")
	w.choose(t, "app", "gone")
	takes(t, source)
	p, err := w.Catalog.SnapshotProgress(t.Context(), "prod", "main")
	check(t, err)
	if p.BytesSent == 0 {
		t.Error("the status forgot what the snapshot sent")
	}
	if len(p.Warnings) != 1 || !strings.Contains(p.Warnings[0], "gone") || p.Error != "" {
		t.Errorf("progress %+v", p)
	}
	if takes(t, source) {
		t.Error("what is not there makes another snapshot needed")
	}
	w.update(t, func(g *topology.Group) {
		g.Workspaces = append(g.Workspaces, topology.Workspace{Name: "other"})
		g.Replication = &topology.Replication{Databases: []string{"app", "gone"}}
	})
	takes(t, source)
	if p, err = w.Catalog.SnapshotProgress(t.Context(), "prod", "main"); err != nil || len(p.Warnings) != 0 {
		t.Errorf("it may be another workspace's: %q, %v", p.Warnings, err)
	}
}

func TestAPlanNamesWhatComesBack(t *testing.T) {
	m := &snapshot.Manifest{Databases: []snapshot.Database{
		{Name: "app", Replicated: true}, {Name: "postgres", Replicated: true}, {Name: "removed", Replicated: true}, {Name: "template1", Replicated: true}, {Name: "left"},
	}}
	for _, c := range []struct {
		chosen, want []string
	}{{nil, []string{"app", "postgres", "removed"}}, {[]string{"main/app", "other/removed"}, []string{"app", "postgres"}}} {
		p := &planner{workspace: topology.Workspace{Name: "main"}, chosen: &topology.Replication{Databases: c.chosen}}
		got := p.describe(m, []Leg{{}}, archive.Tip{})
		if diff := cmp.Diff(c.want, got.Databases); diff != "" || len(got.Omitted) != 1 {
			t.Errorf("chosen %q: %s, omitted %+v", c.chosen, diff, got.Omitted)
		}
	}
}

func TestWatchSnapshot(t *testing.T) {
	w, source, s := replicated(t)
	postgrestest.Exec(t, s, "postgres", "CREATE DATABASE app")
	postgrestest.Exec(t, s, "postgres", "CREATE DATABASE spare")
	w.choose(t, "app")
	takes(t, source)
	in := main1
	in.TurnSeconds = 1
	if got, err := as(t, source.WatchSnapshot, in); err != nil || got.Reason != "" {
		t.Errorf("nothing changed: %+v, %v", got, err)
	}
	w.choose(t, "app", "spare")
	ctx := devtest.Context(t)
	if reason, err := source.watchSnapshot(ctx, in, 50*time.Millisecond); err != nil || !strings.Contains(reason, "database spare") {
		t.Errorf("one was added: %q, %v", reason, err)
	}
	w.choose(t, "app")
	postgrestest.Exec(t, s, "postgres", "CREATE TABLESPACE far LOCATION '"+postgrestest.TempDir(t)+"'")
	if reason, err := source.watchSnapshot(ctx, in, 50*time.Millisecond); err != nil || !strings.Contains(reason, "tablespace far was made") {
		t.Errorf("a tablespace was made: %q, %v", reason, err)
	}
}

func TestRecordDatabases(t *testing.T) {
	w := newWorld(t)
	source := &Source{Site: w.Site}
	present := topology.Present{{Workspace: "main", Databases: []string{"app", "spare"}}}
	in := RecordDatabasesInput{Group: "prod", Change: topology.DatabaseChange{Remove: []string{"spare"}}, Present: present}
	refused := func(what, says string) {
		t.Helper()
		if _, err := as(t, source.RecordDatabases, in); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", what, err)
		}
	}
	refused("without the option", "SmartDR and database branching")
	w.update(t, func(g *topology.Group) {
		g.SmartDR, g.Operation = true, &topology.OperationRef{ID: "op", Kind: "Failover"}
	})
	refused("during a failover", "Failover")
	w.update(t, func(g *topology.Group) { g.Operation = nil })
	got, err := as(t, source.RecordDatabases, in)
	check(t, err)
	if r := got.Group.Replication; len(got.Notes) != 1 || !slices.Equal(r.Databases, []string{"app"}) || r.ChangedAt.IsZero() || r.ConfiguredAt.IsZero() {
		t.Errorf("recorded %+v %q", r, got.Notes)
	}
	in.Change = topology.DatabaseChange{Add: []string{"nowhere/app"}}
	refused("no such workspace", `"nowhere"`)
	w.update(t, func(g *topology.Group) { g.State = topology.GroupTerminated })
	refused("terminated", "terminated")
}

func TestInspectDatabases(t *testing.T) {
	_, source, s := replicated(t)
	postgrestest.Exec(t, s, "postgres", "CREATE DATABASE app")
	in := InspectDatabasesInput{Group: "prod", Workspace: "main", Source: s.Source("postgres")}
	got, err := as(t, source.InspectDatabases, in)
	check(t, err)
	if diff := cmp.Diff([]string{"app", "postgres"}, got.Databases); diff != "" || len(got.Endpoint.Hosts) != 1 {
		t.Error(diff, got.Endpoint)
	}
}
