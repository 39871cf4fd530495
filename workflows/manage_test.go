package workflows

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/mock"

	"github.com/smartdr/smartdr/activities"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
)

// mixed is a replicated group with an adopted workspace, and managed ones in every state.
func mixed() topology.Group {
	g := configured()
	g.SmartDR = true
	for _, state := range []topology.WorkspaceState{topology.WorkspaceActive, topology.WorkspacePending, topology.WorkspaceSuspended, topology.WorkspaceTerminated} {
		name := "m-" + string(state)
		site := topology.Site{Kind: topology.Managed, Host: "east-1", Instance: "/srv/prod/" + name + "/e1"}
		g.Workspaces = append(g.Workspaces, topology.Workspace{Name: name, State: state, Sites: map[string]topology.Site{"east": site}, Settings: map[string]string{"work_mem": "6MB"}})
	}
	return g
}

func TestManagingRefuses(t *testing.T) {
	busy, over := mixed(), mixed()
	busy.Operation = &topology.OperationRef{ID: "op", Kind: "Failover"}
	over.State = topology.GroupTerminated
	settings := map[string]string{"work_mem": "7MB"}
	for want, c := range map[string]struct {
		workflow, in any
		g            topology.Group
	}{
		"is under way":                         {Suspend, SuspendInput{Group: "prod"}, busy},
		"is terminated":                        {Resume, ResumeInput{Group: "prod"}, over},
		"is adopted: its server is not":        {Suspend, SuspendInput{Group: "prod", Workspace: "main"}, mixed()},
		"was not made yet":                     {Suspend, SuspendInput{Group: "prod", Workspace: "m-pending"}, mixed()},
		"was terminated and cannot be resumed": {Resume, ResumeInput{Group: "prod", Workspace: "m-terminated"}, mixed()},
		"no workspace nope":                    {Suspend, SuspendInput{Group: "prod", Workspace: "nope"}, mixed()},
		"not said which workspace":             {ChangeWorkspace, ChangeWorkspaceInput{Group: "prod"}, mixed()},
		"changes neither settings":             {ChangeWorkspace, ChangeWorkspaceInput{Group: "prod", Workspace: "main", Set: settings}, mixed()},
		"cannot be changed":                    {ChangeWorkspace, ChangeWorkspaceInput{Group: "prod", Workspace: "m-terminated", Set: settings}, mixed()},
		"to be set and to be reset":            {ChangeWorkspace, ChangeWorkspaceInput{Group: "prod", Workspace: "m-", Set: settings, Reset: []string{"work_mem"}}, mixed()},
		"port cannot be chosen":                {ChangeWorkspace, ChangeWorkspaceInput{Group: "prod", Workspace: "m-", Reset: []string{"port"}}, mixed()},
		"is managed: SmartDR knows":            {ChangeWorkspace, ChangeWorkspaceInput{Group: "prod", Workspace: "m-", Source: &topology.Source{ConnString: "host=x"}}, mixed()},
		"what to change of group":              {ChangeGroup, ChangeGroupInput{Group: "prod"}, mixed()},
		"bits set":                             {ChangeGroup, ChangeGroupInput{Group: "prod", Firewall: &topology.Firewall{Ranges: []string{"10.0.0.1/8"}}}, mixed()},
		" already":                             {CreateWorkspace, CreateWorkspaceInput{Group: "prod", WorkspaceInput: WorkspaceInput{Name: "m-"}}, mixed()},
		"which was terminated":                 {CreateWorkspace, CreateWorkspaceInput{Group: "prod", WorkspaceInput: WorkspaceInput{Name: "m-terminated"}}, mixed()},
		"not said which group":                 {Terminate, TerminateInput{}, mixed()},
	} {
		t.Run(want, func(t *testing.T) {
			env := newEnv(t)
			env.OnActivity(control.ReadGroup, mock.Anything, mock.Anything).Return(c.g, nil)
			env.ExecuteWorkflow(c.workflow, c.in)
			if f := failureOf(t, env); !strings.Contains(f.Message, want) || f.Hint == "" {
				t.Errorf("refused with %+v, want %q", f, want)
			}
		})
	}
}

// TestSuspendChangesNothingThatIsNotShipped: a workspace whose WAL does not get to the buckets goes on as it was.
func TestSuspendChangesNothingThatIsNotShipped(t *testing.T) {
	env := newEnv(t)
	env.OnActivity(control.ReadGroup, mock.Anything, mock.Anything).Return(mixed(), nil)
	env.OnActivity(control.EnsureReplication, mock.Anything, mock.Anything).Return(nil)
	env.OnActivity(target.DrainServer, mock.Anything, mock.Anything).Return(fails(fault.Invalid, "not in both buckets")).Once()
	env.ExecuteWorkflow(Suspend, SuspendInput{Group: "prod", Workspace: "m-"}) // RecordState and StopServer would panic
	if f := failureOf(t, env); f.Message != "not in both buckets" {
		t.Errorf("%+v", f)
	}
}

// TestForceTerminatesWhatDoesNotAnswer, and says what is left.
func TestForceTerminatesWhatDoesNotAnswer(t *testing.T) {
	for _, force := range []bool{false, true} {
		g := mixed()
		env := newEnv(t)
		env.OnActivity(control.ReadGroup, mock.Anything, mock.Anything).Return(g, nil)
		env.OnActivity(control.EnsureReplication, mock.Anything, mock.Anything).Return(nil)
		env.OnActivity(source.DrainSource, mock.Anything, mock.Anything).Return(fails(fault.Invalid, "nobody listens"))
		env.OnActivity(source.DropSlot, mock.Anything, mock.Anything).Return(fails(fault.Invalid, "nobody listens"))
		var states []topology.WorkspaceState
		env.OnActivity(control.RecordState, mock.Anything, mock.Anything).Return(func(_ context.Context, in activities.RecordStateInput) (topology.Group, error) {
			states = append(states, in.To)
			return g, nil
		})
		env.ExecuteWorkflow(Terminate, TerminateInput{Group: "prod", Workspace: "main", Force: force})
		var result GroupResult
		err := env.GetWorkflowResult(&result)
		switch {
		case force && (err != nil || len(result.Warnings) != 1 || !strings.Contains(result.Warnings[0], "pg_drop_replication_slot('smartdr_prod_main')")):
			t.Errorf("by force: %v, %q", err, result.Warnings)
		case !force && (err == nil || !strings.Contains(err.Error(), "nobody listens") || len(states) > 0):
			t.Errorf("%v, and it went on to %v", err, states)
		}
	}
}
