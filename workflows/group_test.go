package workflows

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/mock"
	"go.temporal.io/sdk/interceptor"
	sdklog "go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/worker"

	"github.com/smartdr/smartdr/activities"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
)

// newEnv is a test environment that knows all workflows and activities; tests say what the activities answer.
func newEnv(t *testing.T) *testsuite.TestWorkflowEnvironment {
	t.Helper()
	env := bareEnv()
	for _, w := range []any{CreateGroup, ChangeGroup, CreateWorkspace, ChangeWorkspace, Suspend, Resume, Terminate, Configure, Replication, WorkspaceReplication, Failover, Notify} {
		env.RegisterWorkflow(w)
	}
	for _, a := range []any{&activities.Control{}, &activities.Source{}, &activities.Target{}} {
		env.RegisterActivity(a)
	}
	return env
}

// bareEnv is a test environment without retention that knows no workflow and no activity. What it logs is seen with -v.
func bareEnv() *testsuite.TestWorkflowEnvironment {
	suite := new(testsuite.WorkflowTestSuite)
	if !testing.Verbose() {
		suite.SetLogger(sdklog.NewStructuredLogger(slog.New(slog.DiscardHandler)))
	}
	env := suite.NewTestWorkflowEnvironment()
	env.SetWorkerOptions(worker.Options{Interceptors: []interceptor.WorkerInterceptor{&oneAtATime{}}})
	noRetention(env)
	return env
}

// oneAtATime runs the activities of a test one after the other, so that the functions that stand for them may share what they keep.
// One that waits for its cancellation holds up the others until then.
type oneAtATime struct {
	interceptor.WorkerInterceptorBase
	mu sync.Mutex
}

func (o *oneAtATime) InterceptActivity(_ context.Context, next interceptor.ActivityInboundInterceptor) interceptor.ActivityInboundInterceptor {
	return &inTurn{interceptor.ActivityInboundInterceptorBase{Next: next}, &o.mu}
}

type inTurn struct {
	interceptor.ActivityInboundInterceptorBase
	mu *sync.Mutex
}

func (i *inTurn) ExecuteActivity(ctx context.Context, in *interceptor.ExecuteActivityInput) (any, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.Next.ExecuteActivity(ctx, in)
}

func fails(kind fault.Kind, message string) error {
	return temporal.NewNonRetryableApplicationError(message, string(kind), nil, "a hint")
}

func failureOf(t *testing.T, env *testsuite.TestWorkflowEnvironment) Failure {
	t.Helper()
	if !env.IsWorkflowCompleted() {
		t.Fatal("the workflow has not ended")
	}
	err := env.GetWorkflowError()
	if err == nil {
		t.Fatal("the workflow did not fail")
	}
	return FailureOf(err)
}

func adopt(name string) WorkspaceInput {
	return WorkspaceInput{Name: name, Source: topology.Source{ConnString: "postgres://smartdr@db/postgres", PasswordFile: "/run/pw"}}
}

func TestCreateGroupRecords(t *testing.T) {
	env := newEnv(t)
	endpoint := topology.Endpoint{Hosts: []topology.HostPort{{Host: "db", Port: 5432}}}
	env.OnActivity(source.CheckRegions, mock.Anything, activities.CheckRegionsInput{Regions: []string{"east"}}).Return(nil)
	env.OnActivity(source.PreflightSource, mock.Anything, mock.Anything).Return(
		activities.PreflightSourceResult{Endpoint: endpoint, Warnings: []string{"max_slot_wal_keep_size is -1"}}, nil)
	env.OnActivity(control.RecordGroup, mock.Anything, mock.Anything).Return(
		func(_ context.Context, in activities.RecordGroupInput) (topology.Group, error) { return in.Group, nil })
	env.ExecuteWorkflow(CreateGroup, CreateGroupInput{Name: "prod", Primary: "east", Workspaces: []WorkspaceInput{adopt("main")}})

	var got CreateGroupResult
	if err := env.GetWorkflowResult(&got); err != nil {
		t.Fatal(err)
	}
	if got.Group.ID == "" || got.Group.Epoch != 1 || got.Group.Authority != "east" || got.Group.Active != "east" {
		t.Errorf("group %+v", got.Group)
	}
	want := map[string]topology.Site{"east": {Kind: topology.Adopted, Source: adopt("main").Source, Endpoint: endpoint}}
	if diff := cmp.Diff(want, got.Group.Workspace("main").Sites); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"main: max_slot_wal_keep_size is -1"}, got.Warnings); diff != "" {
		t.Error(diff)
	}
}

func TestCreateGroupRefuses(t *testing.T) {
	both, chosen, strange := adopt("main"), adopt("main"), adopt("main")
	both.Kind = topology.Managed
	chosen.Settings = map[string]string{"work_mem": "64MB"}
	strange.Kind = "borrowed"
	made := func(change func(*WorkspaceInput)) CreateGroupInput {
		w := WorkspaceInput{Name: "main"}
		change(&w)
		return CreateGroupInput{Name: "prod", Primary: "east", Workspaces: []WorkspaceInput{w}}
	}
	firewall := CreateGroupInput{Name: "prod", Primary: "east", Firewall: &topology.Firewall{Ranges: []string{"10.0.0.1/8"}}}
	for want, in := range map[string]CreateGroupInput{
		"needs a name":                           {Primary: "east", Workspaces: []WorkspaceInput{adopt("main")}},
		"needs a primary region":                 {Name: "prod", Workspaces: []WorkspaceInput{adopt("main")}},
		"no name for a workspace":                made(func(w *WorkspaceInput) { w.Name = "Main" }),
		"named twice":                            {Name: "prod", Primary: "east", Workspaces: []WorkspaceInput{adopt("main"), adopt("main")}},
		"no connection string":                   {Name: "prod", Primary: "east", Workspaces: []WorkspaceInput{{Name: "main", Kind: topology.Adopted}}},
		"to be made and has a connection string": {Name: "prod", Primary: "east", Workspaces: []WorkspaceInput{both}},
		"is adopted":                             {Name: "prod", Primary: "east", Workspaces: []WorkspaceInput{chosen}},
		"no kind of workspace":                   {Name: "prod", Primary: "east", Workspaces: []WorkspaceInput{strange}},
		"bits set after":                         firewall,
		"no size of a workspace":                 made(func(w *WorkspaceInput) { w.Size = "huge" }),
		"port cannot be chosen":                  made(func(w *WorkspaceInput) { w.Settings = map[string]string{"port": "5432"} }),
		"of 24 MB":                               made(func(w *WorkspaceInput) { w.Init.SegmentSizeMB = 24 }),
		"PostgreSQL 14":                          made(func(w *WorkspaceInput) { w.Postgres = 14 }),
	} {
		t.Run(want, func(t *testing.T) {
			env := newEnv(t)
			env.ExecuteWorkflow(CreateGroup, in)
			if f := failureOf(t, env); f.Type != string(fault.Invalid) || !strings.Contains(f.Message, want) || f.Hint == "" {
				t.Errorf("refused with %+v, want %q", f, want)
			}
		})
	}
}

func TestCreateGroupSaysWhatThePreflightFound(t *testing.T) {
	env := newEnv(t)
	env.OnActivity(source.CheckRegions, mock.Anything, mock.Anything).Return(nil)
	env.OnActivity(source.PreflightSource, mock.Anything, mock.Anything).Return(
		activities.PreflightSourceResult{}, fails(fault.Invalid, "wal_level is minimal")).Once()
	env.ExecuteWorkflow(CreateGroup, CreateGroupInput{Name: "prod", Primary: "east", Workspaces: []WorkspaceInput{adopt("main")}})
	want := Failure{Type: "Invalid", Message: "wal_level is minimal", Hint: "a hint"}
	if diff := cmp.Diff(want, failureOf(t, env)); diff != "" {
		t.Error(diff)
	}
}

func group() topology.Group {
	sites := map[string]topology.Site{"east": {Kind: topology.Adopted, Source: adopt("main").Source}}
	return topology.Group{
		Name: "prod", Primary: "east", Active: "east", Authority: "east", Epoch: 1, SmartDR: true,
		Workspaces: []topology.Workspace{{Name: "main", Sites: sites}},
	}
}

func configured() topology.Group {
	g := group()
	g.Secondary, g.Authority, g.Replication = "west", "west", &topology.Replication{}
	return g
}
