package workflows

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/mock"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/temporal"

	"github.com/smartdr/smartdr/activities"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
)

// twoPlan places main on host a and side on host b.
func twoPlan() activities.FailoverPlan {
	p := activities.FailoverPlan{From: "east", To: "west", Epoch: 1}
	for name, host := range map[string]string{"main": "a", "side": "b"} {
		w := activities.WorkspacePlan{Workspace: name, Snapshot: "s-" + name, Lineage: "0002-abcdef01", Host: host}
		if name == "main" {
			p.Workspaces = append([]activities.WorkspacePlan{w}, p.Workspaces...)
		} else {
			p.Workspaces = append(p.Workspaces, w)
		}
	}
	return p
}

func of(workspace string) any {
	return mock.MatchedBy(func(in activities.RestoreInput) bool { return in.Plan.Workspace == workspace })
}

// serves checks which workspaces of an operation serve.
func serves(t *testing.T, op topology.Operation, want map[string]bool) {
	t.Helper()
	got := map[string]bool{}
	for _, w := range op.Workspaces {
		got[w.Workspace] = w.Serves
		if w.Serves == (w.Error != "") {
			t.Errorf("%s serves: %v, error %q", w.Workspace, w.Serves, w.Error)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestOneWorkspaceThatFailsKeepsNoneDown(t *testing.T) {
	env := newEnv(t)
	any := mock.Anything
	env.OnActivity(target.PlanFailover, any, any).Return(twoPlan(), nil)
	env.OnActivity(target.FixRecoveryPoint, any, any).Return(twoPlan(), nil)
	env.OnActivity(target.RestoreSnapshot, any, of("side")).Return(activities.PhaseResult{}, fails(fault.Corrupt, "chunk 7 differs"))
	var published []string
	env.OnActivity(target.PublishEndpoint, any, any).Return(func(_ context.Context, in activities.PublishEndpointInput) (topology.Group, error) {
		for _, a := range in.Workspaces {
			published = append(published, a.Workspace+" on "+a.Host)
		}
		return configured(), nil
	})
	ended := answers(env)
	env.ExecuteWorkflow(Failover, FailoverInput{Group: "prod"})
	f := failureOf(t, env)
	if f.Type != string(fault.Corrupt) || f.Message != "workspace side does not serve: chunk 7 differs; main serves clients of region west" || !strings.Contains(f.Hint, "--resume") {
		t.Errorf("failed with %+v", f)
	}
	if diff := cmp.Diff([]string{"main on a"}, published); diff != "" {
		t.Error(diff)
	}
	serves(t, *ended, map[string]bool{"main": true, "side": false})
	if ended.State != topology.OperationFailed || ended.Error != f.Message {
		t.Errorf("ended as %+v", ended)
	}
}

// A workspace is published while another one is being restored, not after.
func TestAWorkspaceServesAsSoonAsItIsReady(t *testing.T) {
	env := newEnv(t)
	any := mock.Anything
	env.OnActivity(target.PlanFailover, any, any).Return(twoPlan(), nil)
	env.OnActivity(target.FixRecoveryPoint, any, any).Return(twoPlan(), nil)
	env.OnActivity(target.RestoreSnapshot, any, of("side")).After(24*time.Hour).Return(activities.PhaseResult{}, nil)
	answers(env)
	env.RegisterDelayedCallback(func() {
		v, err := env.QueryWorkflow(ProgressQuery)
		var op topology.Operation
		if err != nil || v.Get(&op) != nil || !op.Workspaces[0].Serves || op.Workspaces[1].Serves {
			t.Errorf("an hour later: %+v, %v", op.Workspaces, err)
		}
	}, time.Hour)
	env.ExecuteWorkflow(Failover, FailoverInput{Group: "prod"})
	if err := env.GetWorkflowError(); err != nil {
		t.Fatal(err)
	}
}

func nobody() error {
	return temporal.NewTimeoutError(enumspb.TIMEOUT_TYPE_SCHEDULE_TO_START, nil)
}

func TestAHostThatTakesNoWork(t *testing.T) {
	for name, c := range map[string]struct {
		there int // how often the host is said to be there
		want  bool
	}{
		"is lost":                               {0, false},
		"was only not asked, Temporal was away": {2, true},
	} {
		t.Run(name, func(t *testing.T) {
			env := newEnv(t)
			any := mock.Anything
			env.OnActivity(target.PlanFailover, any, any).Return(twoPlan(), nil)
			env.OnActivity(target.FixRecoveryPoint, any, any).Return(twoPlan(), nil)
			asked := 0
			env.OnActivity(target.FetchWAL, any, of("side")).Return(func(context.Context, activities.RestoreInput) (activities.PhaseResult, error) {
				if asked++; asked > c.there && c.want {
					return activities.PhaseResult{}, nil
				}
				return activities.PhaseResult{}, nobody()
			})
			env.OnActivity(target.HostThere, any, activities.HostInput{Host: "b"}).Return(activities.HostThereResult{There: c.want}, nil)
			ended := answers(env)
			env.ExecuteWorkflow(Failover, FailoverInput{Group: "prod"})
			serves(t, *ended, map[string]bool{"main": true, "side": c.want})
			if !c.want && !strings.Contains(ended.Error, `host "b"`) {
				t.Errorf("said %q", ended.Error)
			}
		})
	}
}

// A host that does not answer, or cannot run what it was chosen for, is left out before anything is changed.
func TestAnotherHostIsChosenBeforeTheClaim(t *testing.T) {
	for name, refusal := range map[string]error{
		"silent":  nobody(),
		"refuses": fails(fault.Invalid, "workspace side cannot run on this host: no postgis"),
	} {
		t.Run(name, func(t *testing.T) {
			env := newEnv(t)
			any := mock.Anything
			var asked []activities.PlanFailoverInput
			env.OnActivity(target.PlanFailover, any, any).Return(func(_ context.Context, in activities.PlanFailoverInput) (activities.FailoverPlan, error) {
				asked = append(asked, in)
				p := twoPlan()
				if len(asked) > 1 {
					p.Workspaces[1].Host = "c"
				}
				return p, nil
			})
			env.OnActivity(target.CheckHost, any, mock.MatchedBy(func(in activities.CheckHostInput) bool { return in.Plan.Host == "b" })).
				Return(activities.PhaseResult{}, refusal)
			var fixed activities.FixRecoveryPointInput
			env.OnActivity(target.FixRecoveryPoint, any, any).Return(func(_ context.Context, in activities.FixRecoveryPointInput) (activities.FailoverPlan, error) {
				fixed = in
				return twoPlan(), nil
			})
			answers(env)
			env.ExecuteWorkflow(Failover, FailoverInput{Group: "prod"})
			if err := env.GetWorkflowError(); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(map[string]string{"main": "a", "side": "c"}, fixed.Hosts); diff != "" {
				t.Error(diff)
			}
			if len(asked) != 2 || len(asked[1].Without)+len(asked[1].Refused["side"]) != 1 {
				t.Errorf("asked for %+v", asked)
			}
		})
	}
}

func TestARefusalOfTheOnlyHostIsSaid(t *testing.T) {
	env := newEnv(t)
	any := mock.Anything
	planned := 0
	env.OnActivity(target.PlanFailover, any, any).Return(func(context.Context, activities.PlanFailoverInput) (activities.FailoverPlan, error) {
		if planned++; planned > 1 {
			return activities.FailoverPlan{}, fails(fault.Invalid, "no host is left")
		}
		return twoPlan(), nil
	})
	env.OnActivity(target.CheckHost, any, any).Return(activities.PhaseResult{}, fails(fault.Invalid, "no postgis"))
	env.OnActivity(control.ReadGroup, any, any).Return(configured(), nil)
	env.ExecuteWorkflow(Failover, FailoverInput{Group: "prod"}) // BeginOperation is not mocked
	if f := failureOf(t, env); f.Message != "no postgis" {
		t.Errorf("failed with %+v", f)
	}
}

// lastFailover is an operation that brought main up and not side.
func lastFailover() topology.Operation {
	began := time.Date(2026, 11, 22, 22, 0, 0, 0, time.UTC)
	return topology.Operation{
		ID: "old", Kind: FailoverType, Group: "prod", Epoch: 2, State: topology.OperationFailed, From: "east", To: "west", StartedAt: began, EndedAt: began,
		Error: "workspace side does not serve", Phases: []topology.Phase{{Name: "Claim", StartedAt: began, EndedAt: began}},
		Workspaces: []topology.Recovered{{Workspace: "main", Serves: true, Notes: []string{"port differs"}}, {Workspace: "side", Error: "chunk 7 differs"}},
	}
}

func TestResumeBringsUpWhatDoesNotServe(t *testing.T) {
	env := newEnv(t)
	any := mock.Anything
	env.OnActivity(control.FindFailover, any, activities.FindFailoverInput{Group: "prod", Kind: FailoverType, Moves: []string{SwitchoverType, FailbackType}}).Return(lastFailover(), nil)
	plan := twoPlan()
	plan.Workspaces[0].Serving = &topology.Endpoint{Hosts: []topology.HostPort{{Host: "a", Port: 1}}}
	env.OnActivity(target.PlanFailover, any, mock.MatchedBy(func(in activities.PlanFailoverInput) bool { return in.Operation == "old" && in.To == "west" })).Return(plan, nil).Once()
	env.OnActivity(target.FixRecoveryPoint, any, mock.MatchedBy(func(in activities.FixRecoveryPointInput) bool { return in.Resume && in.Hosts["side"] == "b" })).Return(plan, nil).Once()
	env.OnActivity(target.ClaimEpoch, any, mock.MatchedBy(func(in activities.ClaimEpochInput) bool { return in.Operation == "old" })).Return(activities.ClaimEpochResult{Epoch: 2}, nil).Once()
	var restored []string
	env.OnActivity(target.RestoreSnapshot, any, any).Return(func(_ context.Context, in activities.RestoreInput) (activities.PhaseResult, error) {
		restored = append(restored, in.Plan.Workspace)
		return activities.PhaseResult{}, nil
	})
	ended := answers(env)
	env.ExecuteWorkflow(Failover, FailoverInput{Group: "prod", Resume: true})
	if err := env.GetWorkflowError(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"side"}, restored); diff != "" {
		t.Error(diff)
	}
	serves(t, *ended, map[string]bool{"main": true, "side": true})
	if ended.ID != "old" || ended.State != topology.OperationCompleted || ended.Error != "" || ended.Phases[0].Name != "Claim" {
		t.Errorf("ended as %+v", ended)
	}
	if w := ended.Workspaces[0]; len(w.Notes) != 1 || w.Notes[0] != "port differs" {
		t.Errorf("what was said of main is lost: %+v", w)
	}
	env.AssertExpectations(t)
}

func TestResumeIsRefused(t *testing.T) {
	for name, c := range map[string]struct {
		in   FailoverInput
		last topology.Operation
		err  error
		says string
	}{
		"nothing to resume": {FailoverInput{Group: "prod", Resume: true}, topology.Operation{}, fails(fault.Invalid, "nothing to resume"), "nothing to resume"},
		"another region":    {FailoverInput{Group: "prod", Resume: true, To: "east"}, lastFailover(), nil, `led to "west"`},
	} {
		t.Run(name, func(t *testing.T) {
			env := newEnv(t)
			env.OnActivity(control.FindFailover, mock.Anything, mock.Anything).Return(c.last, c.err)
			env.ExecuteWorkflow(Failover, c.in)
			if f := failureOf(t, env); f.Type != string(fault.Invalid) || !strings.Contains(f.Message, c.says) {
				t.Errorf("refused with %+v", f)
			}
		})
	}
}

func TestAFailoverOnTopOfAnotherThatIsNotOver(t *testing.T) {
	g := configured()
	g.Active, g.Epoch = "west", 2
	g.Workspaces = append(g.Workspaces, topology.Workspace{Name: "side"})
	g.Workspaces[0].Sites["west"] = topology.Site{Kind: topology.Managed}
	env := newEnv(t)
	env.OnActivity(control.ReadGroup, mock.Anything, mock.Anything).Return(g, nil)
	env.ExecuteWorkflow(Failover, FailoverInput{Group: "prod"})
	if f := failureOf(t, env); !strings.Contains(f.Message, "has not brought back side") || !strings.Contains(f.Hint, "--resume") {
		t.Errorf("refused with %+v", f)
	}
}

// What could not be planned is left behind, said, and does not stop the others.
func TestAWorkspaceThatIsLeftBehind(t *testing.T) {
	env := newEnv(t)
	any := mock.Anything
	plan := twoPlan()
	plan.Workspaces[1] = activities.WorkspacePlan{Workspace: "side", Error: "it was never in sync", Hint: "wait"}
	env.OnActivity(target.PlanFailover, any, any).Return(plan, nil)
	env.OnActivity(target.FixRecoveryPoint, any, any).Return(plan, nil)
	ended := answers(env)
	env.ExecuteWorkflow(Failover, FailoverInput{Group: "prod", Force: true})
	serves(t, *ended, map[string]bool{"main": true, "side": false})
	if !strings.Contains(ended.Error, "it was never in sync") {
		t.Errorf("said %q", ended.Error)
	}
}
