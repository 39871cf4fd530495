package workflows

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/mock"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"

	"github.com/smartdr/smartdr/activities"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
)

var onePlan = activities.FailoverPlan{From: "east", To: "west", Epoch: 1, Workspaces: []activities.WorkspacePlan{{
	Workspace: "main", Snapshot: "s1", Point: topology.RecoveryPoint{RecordEnd: 0x3000100}, Lineage: "0002-abcdef01",
}}}

// answers lets every activity of a failover succeed, except those that the test answers first.
func answers(env *testsuite.TestWorkflowEnvironment) (ended *topology.Operation) {
	ended = new(topology.Operation)
	any := mock.Anything
	env.OnActivity(control.ReadGroup, any, any).Return(configured(), nil).Maybe()
	env.OnActivity(target.PlanFailover, any, any).Return(onePlan, nil).Maybe()
	env.OnActivity(target.CheckHost, any, any).Return(activities.PhaseResult{}, nil).Maybe()
	env.OnActivity(target.HostThere, any, any).Return(activities.HostThereResult{}, nil).Maybe()
	env.OnActivity(target.BeginOperation, any, any).Return(activities.BeginOperationResult{}, nil).Maybe()
	env.OnActivity(target.RecordOperation, any, any).Return(nil).Maybe()
	env.OnActivity(target.ClaimEpoch, any, any).Return(activities.ClaimEpochResult{Epoch: 2}, nil).Maybe()
	env.OnActivity(target.FixRecoveryPoint, any, any).Return(onePlan, nil).Maybe()
	place := activities.Place{Instance: "/data/main", Endpoint: topology.Endpoint{Hosts: []topology.HostPort{{Host: "w", Port: 5555}}}}
	env.OnActivity(target.ProvisionTopology, any, any).Return(place, nil).Maybe()
	env.OnActivity(target.RestoreSnapshot, any, any).Return(activities.PhaseResult{Note: "1 GB"}, nil).Maybe()
	env.OnActivity(target.FetchWAL, any, any).Return(activities.PhaseResult{Note: "3 files"}, nil).Maybe()
	attached := activities.AttachBranchResult{Lineage: topology.Lineage{ID: "0002-abcdef01"}}
	env.OnActivity(target.AttachBranch, any, any).Return(attached, nil).Maybe()
	env.OnActivity(target.RestoreMetadata, any, any).Return(activities.PhaseResult{Notes: []string{"port differs"}}, nil).Maybe()
	env.OnActivity(target.PublishEndpoint, any, any).Return(configured(), nil).Maybe()
	env.OnActivity(control.EnsureReplication, any, any).Return(nil).Maybe()
	env.OnActivity(target.EndOperation, any, any).Return(func(_ context.Context, in activities.RecordOperationInput) error {
		*ended = in.Operation
		return nil
	}).Maybe()
	return ended
}

func TestFailoverPhases(t *testing.T) {
	env := newEnv(t)
	ended := answers(env)
	env.ExecuteWorkflow(Failover, FailoverInput{Group: "prod"})
	var got FailoverResult
	if err := env.GetWorkflowResult(&got); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, p := range got.Operation.Phases {
		names = append(names, p.Name)
		if p.EndedAt.IsZero() {
			t.Errorf("phase %s was left open", p.Name)
		}
	}
	want := []string{"Plan", "Claim", "Fix recovery point", "Provision", "Restore snapshot", "Fetch WAL", "Attach", "Restore metadata", "Publish", "Replicate"}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Error(diff)
	}
	if ended.State != topology.OperationCompleted || ended.Epoch != 2 || ended.To != "west" || ended.From != "east" {
		t.Errorf("ended as %+v", ended)
	}
	if w := got.Operation.Workspaces[0]; w.Endpoint.Hosts[0].Port != 5555 || len(w.Notes) != 1 {
		t.Errorf("recovered %+v", w)
	}
}

func TestFailoverRefusesBeforeChangingAnything(t *testing.T) {
	busy := configured()
	for want, c := range map[string]struct {
		in FailoverInput
		g  topology.Group
	}{
		"needs a group":        {FailoverInput{}, busy},
		"never configured":     {FailoverInput{Group: "prod"}, group()},
		"served from \"east\"": {FailoverInput{Group: "prod", To: "east"}, busy},
		"not replicated to":    {FailoverInput{Group: "prod", To: "north"}, busy},
	} {
		t.Run(want, func(t *testing.T) {
			env := newEnv(t)
			env.OnActivity(control.ReadGroup, mock.Anything, mock.Anything).Return(c.g, nil)
			env.ExecuteWorkflow(Failover, c.in)
			if f := failureOf(t, env); f.Type != string(fault.Invalid) || !strings.Contains(f.Message, want) {
				t.Errorf("refused with %+v, want %q", f, want)
			}
		})
	}
}

func TestFailoverPlanRefusalTakesNoLock(t *testing.T) {
	env := newEnv(t)
	env.OnActivity(target.PlanFailover, mock.Anything, mock.Anything).Return(
		activities.FailoverPlan{}, fails(fault.Missing, "WAL from 0/3000000 to 0/4000000 is missing")).Once()
	env.OnActivity(control.ReadGroup, mock.Anything, mock.Anything).Return(configured(), nil)
	env.ExecuteWorkflow(Failover, FailoverInput{Group: "prod"}) // BeginOperation is not mocked: calling it would fail otherwise
	if f := failureOf(t, env); f.Type != string(fault.Missing) || !strings.Contains(f.Message, "0/3000000") {
		t.Errorf("failed with %+v", f)
	}
}

// Each phase after the lock that fails for good ends the operation as failed, with the reason, and releases the lock.
func TestFailoverEveryPhaseMayFail(t *testing.T) {
	any := mock.Anything
	bad := fails(fault.Corrupt, "bytes differ")
	for name, breakIt := range map[string]func(*testsuite.TestWorkflowEnvironment){
		"Claim": func(e *testsuite.TestWorkflowEnvironment) {
			e.OnActivity(target.ClaimEpoch, any, any).Return(activities.ClaimEpochResult{}, bad)
		},
		"Fix recovery point": func(e *testsuite.TestWorkflowEnvironment) {
			e.OnActivity(target.FixRecoveryPoint, any, any).Return(activities.FailoverPlan{}, bad)
		},
		"Provision": func(e *testsuite.TestWorkflowEnvironment) {
			e.OnActivity(target.ProvisionTopology, any, any).Return(activities.Place{}, bad)
		},
		"Restore snapshot": func(e *testsuite.TestWorkflowEnvironment) {
			e.OnActivity(target.RestoreSnapshot, any, any).Return(activities.PhaseResult{}, bad)
		},
		"Fetch WAL": func(e *testsuite.TestWorkflowEnvironment) {
			e.OnActivity(target.FetchWAL, any, any).Return(activities.PhaseResult{}, bad)
		},
		"Attach": func(e *testsuite.TestWorkflowEnvironment) {
			e.OnActivity(target.AttachBranch, any, any).Return(activities.AttachBranchResult{}, bad)
		},
		"Restore metadata": func(e *testsuite.TestWorkflowEnvironment) {
			e.OnActivity(target.RestoreMetadata, any, any).Return(activities.PhaseResult{}, bad)
		},
		"Publish": func(e *testsuite.TestWorkflowEnvironment) {
			e.OnActivity(target.PublishEndpoint, any, any).Return(topology.Group{}, bad)
		},
		"Replicate": func(e *testsuite.TestWorkflowEnvironment) {
			e.OnActivity(control.EnsureReplication, any, any).Return(bad)
		},
	} {
		t.Run(name, func(t *testing.T) {
			env := newEnv(t)
			breakIt(env)
			ended := answers(env)
			env.ExecuteWorkflow(Failover, FailoverInput{Group: "prod"})
			if f := failureOf(t, env); f.Type != string(fault.Corrupt) || f.Message != "bytes differ" || !strings.HasPrefix(f.Hint, "a hint") {
				t.Errorf("failed with %+v", f)
			}
			last := ended.Phases[len(ended.Phases)-1]
			if ended.State != topology.OperationFailed || ended.Error != "bytes differ" || last.Name != name || last.Error == "" {
				t.Errorf("recorded as %+v", ended)
			}
		})
	}
}

// The test environment gives up after ten tries where a real server goes on.
func TestFailoverWaitsOutTransientFaults(t *testing.T) {
	env := newEnv(t)
	tries := 0
	env.OnActivity(target.RestoreSnapshot, mock.Anything, mock.Anything).Return(func(context.Context, activities.RestoreInput) (activities.PhaseResult, error) {
		if tries++; tries <= 8 {
			return activities.PhaseResult{}, temporal.NewApplicationError("the bucket does not answer", string(fault.Transient))
		}
		return activities.PhaseResult{}, nil
	})
	answers(env)
	env.ExecuteWorkflow(Failover, FailoverInput{Group: "prod"})
	if err := env.GetWorkflowError(); err != nil || tries != 9 {
		t.Errorf("after %d tries: %v", tries, err)
	}
}

// A cancellation before the claim ends the failover; one after it comes too late.
func TestFailoverCancellation(t *testing.T) {
	for name, c := range map[string]struct {
		slow any
		want topology.OperationState
	}{
		"before the claim": {slow: target.ClaimEpoch, want: topology.OperationFailed},
		"after the claim":  {slow: target.ProvisionTopology, want: topology.OperationCompleted},
	} {
		t.Run(name, func(t *testing.T) {
			env := newEnv(t)
			switch name {
			case "before the claim":
				env.OnActivity(c.slow, mock.Anything, mock.Anything).After(time.Hour).Return(activities.ClaimEpochResult{Epoch: 2}, nil)
			default:
				env.OnActivity(c.slow, mock.Anything, mock.Anything).After(time.Hour).Return(activities.Place{}, nil)
			}
			ended := answers(env)
			env.RegisterDelayedCallback(env.CancelWorkflow, time.Minute)
			env.ExecuteWorkflow(Failover, FailoverInput{Group: "prod"})
			if ended.State != c.want {
				t.Errorf("ended as %+v", ended)
			}
		})
	}
}

func TestFailoverGoesOnWithAnAbandonedOperation(t *testing.T) {
	env := newEnv(t)
	began := time.Date(2026, 11, 22, 22, 0, 0, 0, time.UTC)
	old := topology.Operation{ID: "old", Epoch: 2, StartedAt: began, Phases: []topology.Phase{{Name: "Restore snapshot", StartedAt: began}}}
	env.OnActivity(target.BeginOperation, mock.Anything, mock.Anything).Return(activities.BeginOperationResult{Operation: old, Resumed: true}, nil)
	env.OnActivity(target.ClaimEpoch, mock.Anything, mock.MatchedBy(func(in activities.ClaimEpochInput) bool { return in.Operation == "old" })).
		Return(activities.ClaimEpochResult{Epoch: 2}, nil).Once()
	ended := answers(env)
	env.ExecuteWorkflow(Failover, FailoverInput{Group: "prod"})
	if err := env.GetWorkflowError(); err != nil {
		t.Fatal(err)
	}
	if ended.ID != "old" || !ended.StartedAt.Equal(began) || ended.Phases[0].Error != "abandoned" {
		t.Errorf("ended as %+v", ended)
	}
	env.AssertExpectations(t)
}
