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
	env.OnActivity(target.CompareRestored, any, any).Return(activities.PhaseResult{Notes: []string{"a grant differs"}}, nil).Maybe()
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

// canceledWhile runs a failover that is canceled while one of its activities is slow, and returns its account as it was
// written last; the zero account when none was.
func canceledWhile(t *testing.T, slow any, result any, cancel func(*testsuite.TestWorkflowEnvironment)) (ended topology.Operation, claimed bool, err error) {
	t.Helper()
	env := newEnv(t)
	any := mock.Anything
	env.OnActivity(slow, any, any).After(10*time.Second).Return(result, nil)
	env.OnActivity(target.ClaimEpoch, any, any).Return(func(context.Context, activities.ClaimEpochInput) (activities.ClaimEpochResult, error) {
		claimed = true
		return activities.ClaimEpochResult{Epoch: 2}, nil
	})
	op := answers(env)
	env.RegisterDelayedCallback(func() { cancel(env) }, time.Second)
	env.ExecuteWorkflow(Failover, FailoverInput{Group: "prod"})
	return *op, claimed, env.GetWorkflowError()
}

// answer is what CancelUpdate was answered.
type answer struct{ refused, failed error }

func (a *answer) Accept()                 {}
func (a *answer) Reject(err error)        { a.refused = err }
func (a *answer) Complete(_ any, e error) { a.failed = e }

// A cancellation before the claim is ordered ends the failover and lets go of the lock; one after it comes too late.
func TestFailoverCancellation(t *testing.T) {
	const nothing topology.OperationState = "" // no account was written
	for name, c := range map[string]struct {
		slow, result any
		want         topology.OperationState
	}{
		"while it plans":          {target.PlanFailover, onePlan, nothing},
		"while a host is asked":   {target.CheckHost, activities.PhaseResult{}, nothing},
		"while it gets the lock":  {target.BeginOperation, activities.BeginOperationResult{}, topology.OperationCanceled},
		"while it claims":         {target.ClaimEpoch, activities.ClaimEpochResult{Epoch: 2}, topology.OperationCompleted},
		"after the claim":         {target.ProvisionTopology, activities.Place{}, topology.OperationCompleted},
		"while it fixes the plan": {target.FixRecoveryPoint, onePlan, topology.OperationCompleted},
	} {
		t.Run(name, func(t *testing.T) {
			var said answer
			for how, cancel := range map[string]func(*testsuite.TestWorkflowEnvironment){
				"Temporal": func(env *testsuite.TestWorkflowEnvironment) { env.CancelWorkflow() },
				"update": func(env *testsuite.TestWorkflowEnvironment) {
					env.UpdateWorkflow(CancelUpdate, "", &said, CancelInput{By: "eve"})
				},
			} {
				ended, claimed, err := canceledWhile(t, c.slow, c.result, cancel)
				completes := c.want == topology.OperationCompleted
				if ended.State != c.want || (err == nil) != completes || claimed && !completes {
					t.Errorf("%s: ended as %+v, claimed %v, %v", how, ended, claimed, err)
				}
				if how == "update" && (said.refused != nil) != completes {
					t.Errorf("the update was answered %+v", said)
				}
			}
			if said.refused != nil && !strings.Contains(said.refused.Error(), "passed its point of no return at 20") {
				t.Errorf("refused with %q", said.refused)
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
