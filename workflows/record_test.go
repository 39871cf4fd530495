package workflows_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/smartdr/smartdr/internal/devenv"
	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
	"github.com/smartdr/smartdr/workflows"
)

// path is the way from a server to its copy in another region, on two real regions, asked for by Temporal's own CLI.
type path struct {
	t   *testing.T
	env *devenv.Env
	c   client.Client
}

// TestRecordHistories runs the whole path and records the histories that TestReplay replays.
func TestRecordHistories(t *testing.T) {
	if os.Getenv("SMARTDR_RECORD_HISTORIES") == "" {
		t.Skip("set SMARTDR_RECORD_HISTORIES=1, or run make record-histories")
	}
	p := startPath(t)
	group := devenv.GroupName
	p.run(workflows.CreateGroupType, workflows.CreateGroupID(group), p.createInput())
	p.must(p.env.Server.Exec(t.Context(), "postgres", "create database app", "create database later", "create database spare"))
	p.run(workflows.ConfigureType, workflows.ConfigureID(group), `{"group":"demo","secondary":"east","databases":["app"]}`)
	p.awaitActive("app")
	p.record("create_group", workflows.CreateGroupID(group))
	p.record("configure", workflows.ConfigureID(group))
	p.run(workflows.ChangeDatabasesType, workflows.ManageGroupID(group), `{"group":"demo","add":["later"]}`)
	p.awaitActive("app", "later")
	p.record("change_databases", workflows.ManageGroupID(group))
	p.must(p.env.Server.Exec(t.Context(), "postgres", "create table kept (n int)", "insert into kept select generate_series(1, 1000)"))
	p.awaitShipped()
	p.must(p.env.KillRegion(t.Context(), devenv.Primary))
	p.run(workflows.FailoverType, workflows.FailoverID(group), `{"group":"demo"}`)
	p.checkKept()
	p.awaitNewLineage()
	p.record("failover", workflows.FailoverID(group))
	p.record("replication", workflows.ReplicationID(group))
	if err := p.c.GetWorkflow(t.Context(), workflows.WorkspaceReplicationID(group, "main", 1), "").Get(t.Context(), nil); !temporal.IsCanceledError(err) {
		t.Errorf("replication under the old epoch ended with %v, want that it was cancelled", err)
	}
	p.record("workspace_replication_e1", workflows.WorkspaceReplicationID(group, "main", 1))
	p.record("workspace_replication_e2", workflows.WorkspaceReplicationID(group, "main", 2))
}

func startPath(t *testing.T) *path {
	t.Helper()
	env, err := devenv.StartEnv(t.Context(), devenv.EnvOptions{Dir: devtest.Dir(t), NoUI: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), devtest.Patience)
		defer cancel()
		if err := env.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	c, err := env.Temporal.Dial(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return &path{t: t, env: env, c: c}
}

func (p *path) must(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

func (p *path) createInput() string {
	password := filepath.Join(p.env.Dir, "regions", devenv.Primary, "replication.password")
	in := workflows.CreateGroupInput{Name: devenv.GroupName, Primary: devenv.Primary, Workspaces: []workflows.WorkspaceInput{{
		Name: "main", Source: topology.Source{ConnString: p.env.Server.URL(devenv.ReplicationRole, "postgres"), PasswordFile: password},
	}}}
	b, err := json.Marshal(in)
	p.must(err)
	return string(b)
}

// run starts a workflow by Temporal's own CLI and waits for its end.
func (p *path) run(workflowType, id, input string) {
	p.t.Helper()
	tool, err := devenv.Tool("temporal")
	p.must(err)
	began := time.Now()
	out, err := exec.CommandContext(p.t.Context(), tool, "workflow", "execute", "--address", p.env.Temporal.Addr(),
		"--task-queue", "smartdr", "--type", workflowType, "--workflow-id", id, "--input", input).CombinedOutput()
	p.t.Logf("%s took %s\n%s", workflowType, time.Since(began).Round(time.Millisecond), p.phases(id))
	if err != nil {
		p.t.Fatalf("%s: %v\n%s", workflowType, err, out)
	}
}

// phases is the account that a failover gives of itself.
func (p *path) phases(id string) string {
	var op topology.Operation
	v, err := p.c.QueryWorkflow(p.t.Context(), id, "", workflows.ProgressQuery)
	if err != nil || v.Get(&op) != nil {
		return "" // another workflow
	}
	var b strings.Builder
	for _, ph := range op.Phases {
		fmt.Fprintf(&b, "%s %8s  %s %s%s\n", ph.StartedAt.Format("15:04:05.000"), ph.EndedAt.Sub(ph.StartedAt).Round(time.Millisecond), ph.Name, ph.Note, ph.Error)
	}
	return b.String()
}

// status asks the group's Replication to look now.
func (p *path) status() (s topology.GroupStatus, err error) {
	h, err := p.c.UpdateWorkflow(p.t.Context(), client.UpdateWorkflowOptions{
		WorkflowID: workflows.ReplicationID(devenv.GroupName), UpdateName: workflows.RefreshUpdate, WaitForStage: client.WorkflowUpdateStageCompleted,
	})
	if err != nil {
		return s, err
	}
	return s, h.Get(p.t.Context(), &s)
}

// await asks for the status until it is what the test waits for.
func (p *path) await(what string, is func(topology.GroupStatus) bool) {
	p.t.Helper()
	deadline := time.Now().Add(devtest.Patience)
	tick := time.NewTicker(500 * time.Millisecond)
	defer tick.Stop()
	for {
		s, err := p.status()
		if err == nil && is(s) {
			return
		}
		if time.Now().After(deadline) {
			b, _ := json.MarshalIndent(s, "", " ")
			p.t.Fatalf("%s: not within %s; %v\n%s", what, devtest.Patience, err, b)
		}
		<-tick.C
	}
}

// awaitActive waits until exactly these databases are replicated, and all of them are Active.
func (p *path) awaitActive(databases ...string) {
	p.t.Helper()
	began := time.Now()
	p.await("Active: "+strings.Join(databases, ", "), func(s topology.GroupStatus) bool {
		var active []string
		for _, w := range s.Workspaces {
			for _, d := range w.Databases {
				if d.State != topology.Active {
					return false
				}
				active = append(active, d.Database)
			}
		}
		return slices.Equal(active, databases)
	})
	p.t.Logf("Active after %s", time.Since(began).Round(time.Millisecond))
}

// awaitNewLineage waits until what the restored server writes is in its region's bucket, with a snapshot. The other
// bucket is gone.
func (p *path) awaitNewLineage() {
	p.t.Helper()
	p.await("the new lineage in the secondary bucket", func(s topology.GroupStatus) bool {
		w := s.Workspaces[0]
		return w.WAL != nil && w.WAL.Epoch == 2 && w.Snapshot != nil && w.Snapshot.Lineage == w.WAL.Lineage && slices.Contains(w.Snapshot.Complete, devenv.Secondary)
	})
}

// awaitShipped waits until what the server has flushed now is in the secondary's bucket.
func (p *path) awaitShipped() {
	p.t.Helper()
	password, err := os.ReadFile(p.env.Server.PasswordFile)
	p.must(err)
	conn, err := devenv.Connect(p.t.Context(), p.env.Server.URL(p.env.Server.Superuser, "postgres"), strings.TrimSpace(string(password)))
	p.must(err)
	defer func() { _ = conn.Close(context.Background()) }() // only read from
	var text string
	p.must(conn.QueryRow(p.t.Context(), "select pg_current_wal_flush_lsn()").Scan(&text))
	flushed, err := wal.ParseLSN(text)
	p.must(err)
	p.await("WAL up to "+text+" in the secondary bucket", func(s topology.GroupStatus) bool {
		w := s.Workspaces[0].WAL
		return w != nil && slices.ContainsFunc(w.Cursors, func(c topology.Cursor) bool {
			return c.Region == devenv.Secondary && c.Point.At.LSN >= flushed
		})
	})
}

// checkKept asks the restored server for what the primary had.
func (p *path) checkKept() {
	p.t.Helper()
	servers, err := p.env.Regions[devenv.Secondary].Servers()
	p.must(err)
	if len(servers) != 1 {
		p.t.Fatalf("%d servers in the secondary region", len(servers))
	}
	password, err := os.ReadFile(p.env.Server.PasswordFile)
	p.must(err)
	url := fmt.Sprintf("postgres://%s@127.0.0.1:%d/postgres", p.env.Server.Superuser, servers[0].Port)
	conn, err := devenv.Connect(p.t.Context(), url, strings.TrimSpace(string(password)))
	p.must(err)
	defer func() { _ = conn.Close(context.Background()) }() // only read from
	var n int
	p.must(conn.QueryRow(p.t.Context(), "select count(*) from kept").Scan(&n))
	if n != 1000 {
		p.t.Errorf("%d rows of 1000 are there", n)
	}
	var databases string
	p.must(conn.QueryRow(p.t.Context(), "select string_agg(datname, ' ' order by datname) from pg_database where not datistemplate").Scan(&databases))
	if databases != "app later postgres" {
		p.t.Errorf("the restored server has %s", databases)
	}
}

// record writes a workflow's newest run into testdata.
func (p *path) record(name, id string) {
	p.t.Helper()
	history := &historypb.History{}
	events := p.c.GetWorkflowHistory(p.t.Context(), id, "", false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for events.HasNext() {
		e, err := events.Next()
		p.must(err)
		history.Events = append(history.Events, e)
	}
	history.Events = history.Events[:decided(history.Events)]
	b, err := protojson.MarshalOptions{Indent: " "}.Marshal(history)
	p.must(err)
	p.must(os.WriteFile(filepath.Join("testdata", name+".json"), b, 0o644))
}

// decided returns how many events a workflow has answered: what came after its last completed task is not its doing yet, and
// a replay would answer it.
func decided(events []*historypb.HistoryEvent) int {
	last := 0
	for i, e := range events {
		if e.GetWorkflowTaskCompletedEventAttributes() != nil {
			last = i + 1
		}
	}
	for last < len(events) && answers(events[last]) {
		last++
	}
	return last
}

// answers reports whether an event is a command of a workflow task.
func answers(e *historypb.HistoryEvent) bool {
	switch e.GetEventType() {
	case enumspb.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED, enumspb.EVENT_TYPE_ACTIVITY_TASK_CANCEL_REQUESTED, enumspb.EVENT_TYPE_TIMER_STARTED,
		enumspb.EVENT_TYPE_TIMER_CANCELED, enumspb.EVENT_TYPE_MARKER_RECORDED, enumspb.EVENT_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES,
		enumspb.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_INITIATED, enumspb.EVENT_TYPE_REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION_INITIATED,
		enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_ACCEPTED, enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_UPDATE_COMPLETED,
		enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED, enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED,
		enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED, enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW:
		return true
	}
	return false
}
