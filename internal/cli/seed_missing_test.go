package cli_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/internal/missing"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
	"github.com/smartdr/smartdr/workflows"
)

const (
	leftApp = "app_20261122T221000Z"
	// missingNamespace is where a comparison is made by a worker that knows its outcome: temporal.yaml's has no worker.
	missingNamespace = "missing"
	forked, tipped   = wal.LSN(0x3000148), wal.LSN(0x3400000)
)

// place is where the objects of the canned comparison lie.
func place(group string) missing.Place {
	return missing.Place{Group: group, Workspace: "main", Lineage: lineage, Tip: tipped, Database: "app"}
}

// moved is what a failover to west leaves, with a system-managed database beside app.
func moved(g *topology.Group) {
	halfOver(g)
	g.Workspaces = g.Workspaces[:1]
	w := g.Workspace("main")
	w.Lineages[1].Parent = &topology.Fork{Lineage: lineage, At: wal.Position{Timeline: 1, LSN: forked}}
	g.SystemManaged = []topology.SystemManaged{{
		Name: leftApp, Workspace: "main", Database: "app", Lineage: lineage, Region: "east", Operation: operation,
		Fork: wal.Position{Timeline: 1, LSN: forked}, Since: time.Date(2026, 11, 22, 22, 10, 0, 0, time.UTC),
	}}
}

// arrive says that the lost region's tail is there.
func (s seeding) arrive(ctx context.Context) error {
	return s.catalog.PutTail(ctx, s.group, topology.Tail{
		Workspace: "main", Lineage: lineage, Fork: wal.Position{Timeline: 1, LSN: forked}, At: wal.Position{Timeline: 1, LSN: tipped}, Region: "west",
		Commits: 3, Last: time.Date(2026, 11, 22, 22, 9, 59, 0, time.UTC), Complete: true, SeenAt: s.now,
	})
}

// report writes what the canned comparison names, and what leads back from its merge.
func (s seeding) report(ctx context.Context) error {
	tables := []missing.Table{{
		Schema: "public", Name: "accounts", Key: []int{0}, Columns: []missing.Column{{Name: "id", Type: "integer"}, {Name: "balance", Type: "text"}}, How: missing.ByWAL,
	}}
	values := []any{missing.Header{
		Format: missing.SetFormat, Workspace: "main", Database: "app", Lineage: lineage, Fork: forked, Tip: tipped, MadeAt: s.now, Tables: tables,
	}}
	for _, c := range found() {
		values = append(values, c)
	}
	if err := s.lines(ctx, place(s.group).ReportKey("compared"), missing.ReportObject, values); err != nil {
		return err
	}
	undo := missing.Undo{Database: "app", XID: 4711, At: s.now, LSN: tipped, Timeline: 2, Tables: tables}
	return s.lines(ctx, place(s.group).UndoKey("merged", 4711), missing.UndoObject, []any{undo, found()[0]})
}

func (s seeding) lines(ctx context.Context, key string, kind missing.Kind, values []any) error {
	w := missing.CreateObject(ctx, s.catalog.Stores["west"], key)
	l, err := missing.NewLineWriter(w)
	if err != nil {
		return err
	}
	for _, v := range values {
		if err := l.Write(v); err != nil {
			return err
		}
	}
	if err := l.Close(); err != nil {
		return err
	}
	return w.Publish(ctx, missing.Object{Kind: kind, Database: "app", Lineage: lineage, Fork: forked, Tip: tipped, MadeAt: s.now})
}

// found are a row that is missing, one that conflicts, and one that is there.
func found() []missing.Change {
	row := func(values ...string) (out []*string) {
		for _, v := range values {
			out = append(out, &v)
		}
		return out
	}
	commit := &missing.Commit{XID: 740, Time: time.Date(2026, 11, 22, 22, 9, 59, 0, time.UTC), LSN: tipped - 8}
	return []missing.Change{
		{ID: "c1", Schema: "public", Table: "accounts", Op: missing.Insert, Class: missing.Missing, Key: row("9"), Theirs: row("9", "a,b \"c\""), Commit: commit, Applied: true},
		{ID: "c2", Schema: "public", Table: "accounts", Op: missing.Update, Class: missing.BothUpdated, Key: row("7"), Base: row("7", "1000"), Theirs: row("7", "950"), Active: row("7", "980"),
			Commit: commit, Why: "accounts id=7 was changed on both sides."},
		{ID: "c3", Schema: "public", Table: "accounts", Op: missing.Update, Class: missing.Same, Key: row("8"), Base: row("8", "1"), Theirs: row("8", "2"), Active: row("8", "2"), Commit: commit},
	}
}

// summaryOf counts what is in a report.
func summaryOf(changes []missing.Change) missing.Summary {
	t := missing.TableSummary{Schema: "public", Table: "accounts", How: missing.ByWAL, Classes: map[missing.Class]int64{}}
	s := missing.Summary{Database: "app", Classes: map[missing.Class]int64{}, Transactions: 1, Blind: []missing.Blind{{Object: "table public.cache", Reason: "unlogged: its changes are not in WAL"}}}
	for _, c := range changes {
		t.Classes[c.Class]++
		s.Classes[c.Class]++
		if c.Class.Conflict() {
			s.Conflicts++
		}
		switch {
		case c.Class == missing.Same:
		case c.Op == missing.Insert:
			t.Inserts++
		default:
			t.Updates++
		}
	}
	s.Tables = []missing.TableSummary{t}
	return s
}

// canned is a comparison that knows its outcome: a row is missing and another one conflicts. A merge brings the first, and with decisions
// or --on-conflict theirs both.
func canned(_ workflow.Context, in workflows.MissingRowsInput) (workflows.MissingRowsResult, error) {
	d := workflows.MissingDatabase{Name: leftApp, Region: "west", Summary: summaryOf(found()), Report: place(in.Group).ReportKey("compared")}
	settles := in.Decisions != "" || in.OnConflict == missing.Theirs
	d.Summary.Applied = 1
	if settles {
		d.Summary.Applied, d.Summary.Conflicts = 2, 0
	}
	if in.Apply {
		d.Undo, d.Summary.XID = place(in.Group).UndoKey("merged", 4711), 4711
	}
	return workflows.MissingRowsResult{Databases: []workflows.MissingDatabase{d}, Notes: []string{"A note of the comparison."}}, nil
}

// startCanned runs a worker with the canned comparison, in a namespace of its own.
func startCanned(t *testing.T, address string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), devtest.Patience)
	defer cancel()
	spaces, err := client.NewNamespaceClient(client.Options{HostPort: address})
	if err != nil {
		t.Fatal(err)
	}
	defer spaces.Close()
	if err := spaces.Register(ctx, &workflowservice.RegisterNamespaceRequest{Namespace: missingNamespace, WorkflowExecutionRetentionPeriod: durationpb.New(24 * time.Hour)}); err != nil {
		t.Fatal(err)
	}
	c := dialCanned(t, ctx, address)
	t.Cleanup(c.Close)
	w := worker.New(c, workflows.TaskQueue, worker.Options{})
	w.RegisterWorkflowWithOptions(canned, workflow.RegisterOptions{Name: workflows.MissingRowsType})
	if err := w.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Stop)
}

// dialCanned connects once the new namespace is known everywhere in Temporal, which takes a moment.
func dialCanned(t *testing.T, ctx context.Context, address string) client.Client {
	for {
		c, err := client.DialContext(ctx, client.Options{HostPort: address, Namespace: missingNamespace})
		if err == nil {
			if _, err = c.WorkflowService().DescribeNamespace(ctx, &workflowservice.DescribeNamespaceRequest{Namespace: missingNamespace}); err == nil {
				_, err = c.CountWorkflow(ctx, &workflowservice.CountWorkflowExecutionsRequest{Namespace: missingNamespace})
			}
			if err == nil {
				return c
			}
			c.Close()
		}
		select {
		case <-ctx.Done():
			t.Fatal(err)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// inMissing is a configuration whose Temporal is asked in the namespace of the canned comparison.
func inMissing(config string) string {
	return strings.Replace(config, "\nregions:", "\n  namespace: "+missingNamespace+"\nregions:", 1)
}
