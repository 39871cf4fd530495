package workflows

import (
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/mock"
	"go.temporal.io/sdk/testsuite"

	"github.com/smartdr/smartdr/activities"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
)

func TestConfigureStartsReplication(t *testing.T) {
	env := newEnv(t)
	env.OnActivity(control.ReadGroup, mock.Anything, mock.Anything).Return(group(), nil)
	env.OnActivity(source.CheckRegions, mock.Anything, activities.CheckRegionsInput{Regions: []string{"east", "west"}}).Return(nil)
	env.OnActivity(source.InspectDatabases, mock.Anything, mock.Anything).Return(activities.InspectDatabasesResult{Databases: []string{"app"}}, nil)
	record := activities.RecordReplicationInput{Group: "prod", Secondary: "west", Databases: []string{"app"}}
	env.OnActivity(source.RecordReplication, mock.Anything, record).Return(configured(), nil)
	start := activities.EnsureReplicationInput{
		Group: "prod", Epoch: 1, WorkflowType: "Replication", WorkflowID: "smartdr/prod/replication", Signal: "epoch-changed",
	}
	env.OnActivity(control.EnsureReplication, mock.Anything, start).Return(nil).Once()
	env.ExecuteWorkflow(Configure, ConfigureInput{Group: "prod", Secondary: "west", Databases: []string{"app"}})
	var got ConfigureResult
	if err := env.GetWorkflowResult(&got); err != nil {
		t.Fatal(err)
	}
	if got.Replication != "smartdr/prod/replication" {
		t.Errorf("replication runs as %q", got.Replication)
	}
	env.AssertExpectations(t)
}

func TestConfigureRefuses(t *testing.T) {
	elsewhere, busy, over, without := configured(), configured(), configured(), group()
	over.State, without.SmartDR = topology.GroupTerminated, false
	busy.Operation = &topology.OperationRef{Kind: "Failover"}
	for want, c := range map[string]struct {
		in ConfigureInput
		g  topology.Group
	}{
		"is terminated":                  {ConfigureInput{Group: "prod", Secondary: "west"}, over},
		"SmartDR and database branching": {ConfigureInput{Group: "prod", Secondary: "west"}, without},
		`no workspace "orders"`:          {ConfigureInput{Group: "prod", Secondary: "west", Databases: []string{"orders/app"}}, group()},
		"needs a group":                  {ConfigureInput{Secondary: "west"}, group()},
		"primary region already":         {ConfigureInput{Group: "prod", Secondary: "east"}, group()},
		"replicates to \"west\" already": {ConfigureInput{Group: "prod", Secondary: "north"}, elsewhere},
		"is under way":                   {ConfigureInput{Group: "prod", Secondary: "west"}, busy},
	} {
		t.Run(want, func(t *testing.T) {
			env := newEnv(t)
			env.OnActivity(control.ReadGroup, mock.Anything, mock.Anything).Return(c.g, nil)
			env.ExecuteWorkflow(Configure, c.in)
			if f := failureOf(t, env); f.Type == "" || !strings.Contains(f.Message, want) || f.Hint == "" {
				t.Errorf("refused with %+v, want %q", f, want)
			}
		})
	}
}

// three is group prod with an adopted workspace, a managed one on a host, and one that is suspended.
func three() topology.Group {
	g := configured()
	g.Workspaces = append(g.Workspaces,
		topology.Workspace{Name: "orders", Sites: map[string]topology.Site{"east": {Kind: topology.Managed, Host: "h1"}}},
		topology.Workspace{Name: "old", State: topology.WorkspaceSuspended, Sites: map[string]topology.Site{"east": {Kind: topology.Managed, Host: "h1"}}})
	return g
}

// servers answers for the servers of three, and notes which choices they were asked to judge.
func servers(env *testsuite.TestWorkflowEnvironment, judged map[string][]string) {
	env.OnActivity(source.CheckRegions, mock.Anything, mock.Anything).Return(nil).Maybe()
	env.OnActivity(control.EnsureReplication, mock.Anything, mock.Anything).Return(nil).Maybe()
	env.OnActivity(source.InspectDatabases, mock.Anything, mock.Anything).Return(
		func(_ context.Context, in activities.InspectDatabasesInput) (activities.InspectDatabasesResult, error) {
			if in.Choice != nil {
				judged[in.Workspace] = in.Choice.Databases
			}
			return activities.InspectDatabasesResult{Databases: map[string][]string{"main": {"app"}, "orders": {"shop"}}[in.Workspace], Warnings: []string{"no limit"}}, nil
		}).Maybe()
}

// A chosen database must be on one of the servers, not on each.
func TestConfigureSeveralWorkspaces(t *testing.T) {
	for _, c := range []struct {
		databases []string
		fails     string
	}{
		{[]string{"app", "shop"}, ""}, {[]string{"orders/shop"}, ""}, {nil, ""},
		{[]string{"app", "main/shop"}, `there is no database "main/shop": workspace main has app; workspace orders has shop; workspace old does not run`},
	} {
		env, judged := newEnv(t), map[string][]string{}
		env.OnActivity(control.ReadGroup, mock.Anything, mock.Anything).Return(three(), nil)
		servers(env, judged)
		env.OnActivity(source.RecordReplication, mock.Anything, mock.Anything).Return(three(), nil).Maybe()
		env.ExecuteWorkflow(Configure, ConfigureInput{Group: "prod", Secondary: "west", Databases: c.databases})
		if c.fails != "" {
			if f := failureOf(t, env); !strings.Contains(f.Message, c.fails) {
				t.Errorf("%q: %+v", c.databases, f)
			}
			continue
		}
		if err := env.GetWorkflowError(); err != nil {
			t.Errorf("%q: %v", c.databases, err)
		}
		if diff := cmp.Diff(map[string][]string{"main": c.databases, "orders": c.databases}, judged); diff != "" {
			t.Error(diff)
		}
	}
}

func TestChangeDatabases(t *testing.T) {
	env, judged := newEnv(t), map[string][]string{}
	g := three()
	g.Replication = &topology.Replication{Databases: []string{"app"}}
	env.OnActivity(control.ReadGroup, mock.Anything, mock.Anything).Return(g, nil)
	servers(env, judged)
	present := topology.Present{{Workspace: "main", Databases: []string{"app"}}, {Workspace: "orders", Databases: []string{"shop"}}, {Workspace: "old", Unknown: true}}
	record := activities.RecordDatabasesInput{Group: "prod", Change: topology.DatabaseChange{Add: []string{"shop"}}, Present: present}
	changed := g
	changed.Revision = 9
	env.OnActivity(source.RecordDatabases, mock.Anything, record).Return(activities.RecordDatabasesResult{Group: changed, Notes: []string{"know this"}}, nil).Once()
	env.ExecuteWorkflow(ChangeDatabases, ChangeDatabasesInput{Group: "prod", Add: []string{"shop"}})
	var got GroupResult
	if err := env.GetWorkflowResult(&got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"know this", "main: no limit", "orders: no limit"}, got.Warnings); diff != "" || got.Group.Revision != 9 {
		t.Error(got.Group.Revision, diff)
	}
	if diff := cmp.Diff(map[string][]string{"main": {"app", "shop"}, "orders": {"app", "shop"}}, judged); diff != "" {
		t.Error(diff)
	}
	env.AssertExpectations(t)
}

func TestChangeDatabasesRefuses(t *testing.T) {
	chosen, without, busy, over, bare := three(), three(), three(), three(), three()
	chosen.Replication = &topology.Replication{Databases: []string{"app"}}
	without.SmartDR, over.State, bare.Replication = false, topology.GroupTerminated, nil
	busy.Operation = &topology.OperationRef{Kind: "Failover"}
	for want, c := range map[string]struct {
		in ChangeDatabasesInput
		g  topology.Group
	}{
		"needs a group":                  {ChangeDatabasesInput{All: true}, chosen},
		"nothing to add":                 {ChangeDatabasesInput{Group: "prod"}, chosen},
		"at once":                        {ChangeDatabasesInput{Group: "prod", All: true, Add: []string{"x"}}, chosen},
		`no database "x"`:                {ChangeDatabasesInput{Group: "prod", Add: []string{"x"}}, chosen},
		`no workspace "nowhere"`:         {ChangeDatabasesInput{Group: "prod", Add: []string{"nowhere/x"}}, chosen},
		`"shop" is not replicated`:       {ChangeDatabasesInput{Group: "prod", Remove: []string{"shop"}}, chosen},
		"no database would be left":      {ChangeDatabasesInput{Group: "prod", Remove: []string{"app"}}, chosen},
		"already":                        {ChangeDatabasesInput{Group: "prod", Add: []string{"shop"}}, three()},
		"old does not run":               {ChangeDatabasesInput{Group: "prod", Remove: []string{"shop"}}, three()},
		"SmartDR and database branching": {ChangeDatabasesInput{Group: "prod", All: true}, without},
		"Failover":                       {ChangeDatabasesInput{Group: "prod", All: true}, busy},
		"is terminated":                  {ChangeDatabasesInput{Group: "prod", All: true}, over},
		"is not replicated":              {ChangeDatabasesInput{Group: "prod", All: true}, bare},
	} {
		t.Run(want, func(t *testing.T) {
			env := newEnv(t)
			env.OnActivity(control.ReadGroup, mock.Anything, mock.Anything).Return(c.g, nil).Maybe()
			servers(env, map[string][]string{})
			env.ExecuteWorkflow(ChangeDatabases, c.in)
			if f := failureOf(t, env); f.Type == "" || f.Type == string(fault.Transient) || !strings.Contains(f.Message, want) {
				t.Errorf("refused with %+v, want %q", f, want)
			}
		})
	}
}

// A prepared transaction in a database that would be left out stops the change before anything is recorded.
func TestChangeDatabasesJudgesWhatIsLeftOut(t *testing.T) {
	env := newEnv(t)
	g := three()
	g.Replication = &topology.Replication{Databases: []string{"app", "shop"}}
	env.OnActivity(control.ReadGroup, mock.Anything, mock.Anything).Return(g, nil)
	env.OnActivity(source.InspectDatabases, mock.Anything, mock.Anything).Return(
		func(_ context.Context, in activities.InspectDatabasesInput) (activities.InspectDatabasesResult, error) {
			if in.Choice != nil && in.Workspace == "orders" {
				return activities.InspectDatabasesResult{}, fails(fault.Invalid, `prepared transaction "p1"`)
			}
			return activities.InspectDatabasesResult{Databases: []string{"app", "shop"}}, nil
		})
	env.ExecuteWorkflow(ChangeDatabases, ChangeDatabasesInput{Group: "prod", Remove: []string{"shop"}})
	if f := failureOf(t, env); !strings.Contains(f.Message, `"p1"`) || f.Hint == "" {
		t.Errorf("refused with %+v", f)
	}
}
