package api

import (
	"encoding/json"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/workflows"
)

// asked is what reached a workflow.
type asked struct {
	ID, Type string
	Input    map[string]any
}

// recorder stands in for the workflows that change a group, and keeps what they are asked.
type recorder struct {
	mu  sync.Mutex
	all []asked
}

func (r *recorder) register(w worker.Worker) {
	group := []string{workflows.ChangeGroupType, workflows.ChangeDatabasesType, workflows.SuspendType, workflows.ResumeType, workflows.TerminateType}
	for _, name := range group {
		w.RegisterWorkflowWithOptions(func(ctx workflow.Context, in map[string]any) (workflows.GroupResult, error) {
			return workflows.GroupResult{Group: topology.Group{Name: "prod"}, Warnings: []string{"a warning"}}, r.note(ctx, in)
		}, named(name))
	}
	for _, name := range []string{workflows.CreateWorkspaceType, workflows.ChangeWorkspaceType} {
		w.RegisterWorkflowWithOptions(func(ctx workflow.Context, in map[string]any) (workflows.WorkspaceResult, error) {
			return workflows.WorkspaceResult{Workspace: topology.Workspace{Name: "ledger"}, Notes: []string{"a note"}}, r.note(ctx, in)
		}, named(name))
	}
}

func (r *recorder) note(ctx workflow.Context, in map[string]any) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	info := workflow.GetInfo(ctx)
	r.all = append(r.all, asked{info.WorkflowExecution.ID, info.WorkflowType.Name, in})
	if in["workspace"] == "refused" {
		return temporal.NewNonRetryableApplicationError("somebody was faster", string(fault.Taken), nil, "a hint")
	}
	return nil
}

// last returns the newest request, as JSON would say it.
func (r *recorder) last(t *testing.T) asked {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.all) == 0 {
		t.Fatal("nothing was asked")
	}
	return r.all[len(r.all)-1]
}

func fromJSON(t *testing.T, s string) map[string]any {
	t.Helper()
	var v map[string]any
	if err := json.Unmarshal([]byte(s), &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// TestChangesAskForTheRightWorkflow: each method starts the workflow of the contract, under its id, with a small input.
func TestChangesAskForTheRightWorkflow(t *testing.T) {
	p, r := newPlace(t), &recorder{}
	p.work(t, r.register)
	p.write(t, func(g *topology.Group) {
		g.Firewall = topology.Firewall{Ranges: []string{"10.0.0.0/8", "192.0.2.7/32"}}
		suspended := mixed().Workspaces[2]
		suspended.State = topology.WorkspaceSuspended
		refused := mixed().Workspaces[1]
		refused.Name = "refused"
		g.Workspaces = append(g.Workspaces, mixed().Workspaces[1], suspended, refused)
	})
	ctx, on := t.Context(), true
	hba := []string{}
	for name, c := range map[string]struct {
		do   func() error
		want asked
	}{
		"add a range": {func() error {
			_, err := p.ChangeGroup(ctx, GroupChange{Group: "prod", Add: []string{"10.9.0.1"}, Remove: []string{"192.0.2.7"}})
			return err
		}, asked{"smartdr/prod/manage", "ChangeGroup", fromJSON(t, `{"group":"prod","firewall":{"ranges":["10.0.0.0/8","10.9.0.1/32"]}}`)}},
		"the option": {func() error {
			_, err := p.ChangeGroup(ctx, GroupChange{Group: "prod", SmartDR: &on})
			return err
		}, asked{"smartdr/prod/manage", "ChangeGroup", fromJSON(t, `{"group":"prod","smartDR":true}`)}},
		"databases": {func() error {
			_, err := p.ChangeDatabases(ctx, DatabasesChange{Group: "prod", Add: []string{"main/x"}})
			return err
		}, asked{"smartdr/prod/manage", "ChangeDatabases", fromJSON(t, `{"group":"prod","add":["main/x"]}`)}},
		"create": {func() error {
			_, err := p.CreateWorkspace(ctx, "prod", WorkspaceSpec{Name: "new", Size: "S-1", Settings: map[string]string{"jit": "off"}})
			return err
		}, asked{"smartdr/prod/new/manage", "CreateWorkspace", fromJSON(t, `{"group":"prod","name":"new","kind":"managed","size":"S-1","settings":{"jit":"off"}}`)}},
		"change": {func() error {
			done, err := p.ChangeWorkspace(ctx, WorkspaceChange{Group: "prod", Workspace: "ledger", Set: map[string]string{"jit": "on"}, HBA: &hba, Restart: true})
			if err == nil && (done.Notes[0] != "a note" || done.Workspace.Name != "ledger") {
				t.Errorf("the answer: %+v", done)
			}
			return err
		}, asked{"smartdr/prod/ledger/manage", "ChangeWorkspace", fromJSON(t, `{"group":"prod","workspace":"ledger","set":{"jit":"on"},"hba":[],"restart":true}`)}},
		"suspend": {func() error {
			done, err := p.Suspend(ctx, Lifecycle{Group: "prod", Workspace: "reports"})
			if err == nil && done.Warnings[0] != "a warning" {
				t.Errorf("the answer: %+v", done)
			}
			return err
		}, asked{"smartdr/prod/reports/manage", "Suspend", fromJSON(t, `{"group":"prod","workspace":"reports"}`)}},
		"resume all": {func() error {
			_, err := p.Resume(ctx, Lifecycle{Group: "prod"})
			return err
		}, asked{"smartdr/prod/manage", "Resume", fromJSON(t, `{"group":"prod"}`)}},
		"terminate": {func() error {
			_, err := p.Terminate(ctx, Lifecycle{Group: "prod", Force: true})
			return err
		}, asked{"smartdr/prod/manage", "Terminate", fromJSON(t, `{"group":"prod","force":true}`)}},
	} {
		if err := c.do(); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if diff := cmp.Diff(c.want, r.last(t)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	if _, err := p.Suspend(ctx, Lifecycle{Group: "prod", Workspace: "refused"}); ClassOf(err) != Conflict || fault.HintOf(err) != "a hint" {
		t.Errorf("a race that was lost is of class %s: %v", ClassOf(err), err)
	}
}

// write records a group prod that is replicated, as change leaves it.
func (p *place) write(t *testing.T, change func(*topology.Group)) {
	t.Helper()
	p.replicated(t, "prod")
	if _, err := p.catalog.Update(t.Context(), "prod", func(g *topology.Group) error { change(g); return nil }); err != nil {
		t.Fatal(err)
	}
}

func TestHosts(t *testing.T) {
	p := newPlace(t)
	c, err := p.openCatalog(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	now := p.opts.Now().UTC()
	size, err := topology.ParseSize("S-0")
	if err != nil {
		t.Fatal(err)
	}
	host := topology.Host{
		Name: "west-1", Region: "west", AnnouncedAt: now, MemoryBytes: 16 << 30, CPUs: 4, DiskBytes: 1 << 40, Advertise: "db.west",
		Placed:   []topology.Placed{{Group: "prod", Workspace: "a", Epoch: 1, Size: size}, {Group: "prod", Workspace: "b", Epoch: 1, Size: size}},
		Programs: []topology.Program{{Version: 180001}, {Version: 150010}},
	}
	if err := c.PutHost(t.Context(), host); err != nil {
		t.Fatal(err)
	}
	if err := p.gateways["east"].Kill(); err != nil {
		t.Fatal(err)
	}
	got, err := p.Hosts(t.Context(), "")
	if err != nil || len(got.Hosts) != 1 || got.Silent["east"] == "" {
		t.Fatalf("%+v, %v", got, err)
	}
	want := Host{
		Name: "west-1", Region: "west", Fresh: true, AnnouncedAt: now, MemoryBytes: 16 << 30, MemoryUsed: 8 << 30, CPUs: 4, CPUsUsed: 2,
		DiskBytes: 1 << 40, Advertise: "db.west", Postgres: []int{150010, 180001}, Placed: host.Placed,
	}
	if diff := cmp.Diff(want, got.Hosts[0]); diff != "" {
		t.Error(diff)
	}
	if _, err := p.Hosts(t.Context(), "mars"); ClassOf(err) != Invalid {
		t.Errorf("an unknown region: %v", err)
	}
}
