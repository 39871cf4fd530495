package workflows

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/mock"
	"go.temporal.io/sdk/testsuite"

	"github.com/smartdr/smartdr/activities"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

// moving is the group of these tests: one workspace that has a lineage.
func moving() topology.Group {
	g := configured()
	g.Epoch = 1
	w := &g.Workspaces[0]
	w.Lineage, w.Lineages = "0001-00000001", []topology.Lineage{{ID: "0001-00000001", Epoch: 1, Region: g.Active}}
	w.Standbys = nil
	return g
}

var madeStandby = topology.Standby{ID: "aaaa", Host: "w1", Instance: "/data/main/s-aaaa", Lineage: "0001-00000001"}

// moves lets every activity of a switchover succeed, except those that the test answers first. What it returns is filled with the
// account, and with what became of fences and standbys.
func moves(env *testsuite.TestWorkflowEnvironment, g topology.Group) (ended *topology.Operation, did *[]string) {
	any, did := mock.Anything, new([]string)
	env.OnActivity(control.ReadGroup, any, any).Return(g, nil).Maybe()
	planned := activities.PlanStandbyResult{Standby: madeStandby, Restore: activities.RestoreInput{Group: "prod", To: "west", Standby: "aaaa", Plan: onePlan.Workspaces[0]}}
	env.OnActivity(target.PlanStandby, any, any).Return(planned, nil).Maybe()
	env.OnActivity(target.FollowWAL, any, any).Return(activities.FollowResult{Reached: true}, nil).Maybe()
	fence := topology.Fence{Workspace: "main", Lineage: "0001-00000001", Worth: topology.FenceProven, End: wal.Position{Timeline: 1, LSN: 0x3000100}}
	does := func(what string, state topology.FenceState) func(context.Context, activities.FenceInput) (topology.Fence, error) {
		return func(context.Context, activities.FenceInput) (topology.Fence, error) {
			*did = append(*did, what)
			f := fence
			f.State = state
			return f, nil
		}
	}
	env.OnActivity(source.Fence, any, any).Return(does("fence", topology.FenceHolding)).Maybe()
	env.OnActivity(source.CommitFence, any, any).Return(does("commit", topology.FenceCommitted)).Maybe()
	env.OnActivity(source.LiftFence, any, any).Return(does("lift", topology.FenceLifted)).Maybe()
	env.OnActivity(target.ClaimEpoch, any, any).Return(func(context.Context, activities.ClaimEpochInput) (activities.ClaimEpochResult, error) {
		*did = append(*did, "claim")
		return activities.ClaimEpochResult{Epoch: 2}, nil
	}).Maybe()
	env.OnActivity(target.HoldStandby, any, any).Return(nil).Maybe()
	env.OnActivity(target.AdoptStandby, any, any).Return(activities.AdoptStandbyResult{Plan: onePlan.Workspaces[0]}, nil).Maybe()
	env.OnActivity(target.RemoveStandby, any, any).Return(func(context.Context, activities.StandbyInput) error {
		*did = append(*did, "remove")
		return nil
	}).Maybe()
	onHost := onePlan
	onHost.Workspaces = slices.Clone(onePlan.Workspaces)
	onHost.Workspaces[0].Host = madeStandby.Host
	env.OnActivity(target.FixRecoveryPoint, any, any).Return(onHost, nil).Maybe()
	return answers(env), did
}

func TestASwitchoverFencesThenClaims(t *testing.T) {
	env := newEnv(t)
	ended, did := moves(env, moving())
	env.ExecuteWorkflow(Switchover, SwitchoverInput{Group: "prod"})
	if err := env.GetWorkflowError(); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"fence", "commit", "claim"}, *did); diff != "" {
		t.Error(diff)
	}
	if g := ended.Gap; ended.State != topology.OperationCompleted || g == nil || g.To.IsZero() || g.Most != 30*time.Second {
		t.Errorf("ended as %+v", ended)
	}
	var names []string
	for _, p := range ended.Phases {
		names = append(names, p.Name)
	}
	want := []string{"Plan", "Provision", "Restore snapshot", "Replay WAL", "Catch up", "Fence", "Ship the rest", "Commit", "Claim", "Fix recovery point",
		"Adopt", "Attach", "Restore metadata", "Publish", "Replicate", "Compare"}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Error(diff)
	}
}

// What fails before the claim is taken back, and nothing is claimed.
func TestASwitchoverThatFailsBeforeTheClaimPutsEverythingBack(t *testing.T) {
	any := mock.Anything
	for name, c := range map[string]struct {
		spoil func(*testsuite.TestWorkflowEnvironment)
		did   []string
		says  string
	}{
		"no standby": {func(e *testsuite.TestWorkflowEnvironment) {
			e.OnActivity(target.RestoreSnapshot, any, any).Return(activities.PhaseResult{}, fails(fault.Corrupt, "chunk 7 differs"))
		}, []string{"remove"}, "chunk 7"},
		"no fence": {func(e *testsuite.TestWorkflowEnvironment) {
			e.OnActivity(source.Fence, any, any).Return(topology.Fence{}, fails(fault.Invalid, "no superuser"))
		}, []string{"lift", "remove"}, "no superuser"},
		"the rest comes too late": {func(e *testsuite.TestWorkflowEnvironment) {
			e.OnActivity(target.FollowWAL, any, mock.MatchedBy(func(in activities.FollowInput) bool { return in.Target != nil })).After(time.Minute).
				Return(activities.FollowResult{Reached: true}, nil)
		}, []string{"fence", "lift", "remove"}, "longer than 30s"},
		"lifted by somebody": {func(e *testsuite.TestWorkflowEnvironment) {
			e.OnActivity(source.CommitFence, any, any).Return(topology.Fence{}, fails(fault.Conflict, "the fence was lifted")).Once()
		}, []string{"fence", "lift", "remove"}, "lifted"},
	} {
		t.Run(name, func(t *testing.T) {
			env := newEnv(t)
			c.spoil(env)
			ended, did := moves(env, moving())
			env.ExecuteWorkflow(Switchover, SwitchoverInput{Group: "prod"})
			if f := failureOf(t, env); !strings.Contains(f.Message, c.says) {
				t.Errorf("failed with %+v, want %q", f, c.says)
			}
			if diff := cmp.Diff(c.did, *did); diff != "" {
				t.Error(diff)
			}
			if ended.State != topology.OperationReverted || !ended.ClaimedAt.IsZero() {
				t.Errorf("ended as %+v", ended)
			}
		})
	}
}

// A run of another Temporal finds how far the first one came.
func TestAnAbandonedSwitchoverGoesBackOrForward(t *testing.T) {
	any := mock.Anything
	committed := []topology.Fence{{Workspace: "main", Lineage: "0001-00000001", State: topology.FenceCommitted}}
	holding := []topology.Fence{{Workspace: "main", Lineage: "0001-00000001", State: topology.FenceHolding}}
	for name, c := range map[string]struct {
		found activities.FindClaimResult
		did   []string
		state topology.OperationState
	}{
		"before the claim":                 {activities.FindClaimResult{Fences: holding}, []string{"lift", "remove"}, topology.OperationReverted},
		"between its fences and its claim": {activities.FindClaimResult{Fences: committed}, []string{"commit", "claim"}, topology.OperationCompleted},
		"after the claim":                  {activities.FindClaimResult{Epoch: 2}, nil, topology.OperationCompleted},
	} {
		t.Run(name, func(t *testing.T) {
			env := newEnv(t)
			was := topology.Operation{ID: "was", Kind: SwitchoverType, Group: "prod", State: topology.OperationActive, From: "east", To: "west"}
			env.OnActivity(control.FindOperation, any, any).Return(was, nil)
			env.OnActivity(target.BeginOperation, any, any).Return(activities.BeginOperationResult{Operation: was, Resumed: true}, nil)
			env.OnActivity(target.FindClaim, any, any).Return(c.found, nil)
			g := moving()
			g.Operation = &topology.OperationRef{ID: "was", Kind: SwitchoverType}
			g.Workspaces[0].Standbys = map[string]topology.Standby{"west": madeStandby}
			ended, did := moves(env, g)
			env.ExecuteWorkflow(Switchover, SwitchoverInput{Group: "prod"})
			if ended.State != c.state || ended.ID != "was" {
				t.Errorf("ended as %+v, %v", ended, env.GetWorkflowError())
			}
			if diff := cmp.Diff(c.did, *did); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestWhatASwitchoverRefuses(t *testing.T) {
	home, halfUp, never := moving(), moving(), group()
	halfUp.Workspaces[0].Sites = nil
	for want, c := range map[string]struct {
		g  topology.Group
		in SwitchoverInput
	}{
		"needs a group":             {home, SwitchoverInput{}},
		"never configured":          {never, SwitchoverInput{Group: "prod"}},
		`served from "east"`:        {home, SwitchoverInput{Group: "prod", To: "east"}},
		"is not replicated to":      {home, SwitchoverInput{Group: "prod", To: "north"}},
		"has not brought back main": {halfUp, SwitchoverInput{Group: "prod"}},
		"no time without a writer":  {home, SwitchoverInput{Group: "prod", MaxGap: "1s"}},
	} {
		env := newEnv(t)
		env.OnActivity(control.ReadGroup, mock.Anything, mock.Anything).Return(c.g, nil).Maybe()
		env.ExecuteWorkflow(Switchover, c.in)
		if f := failureOf(t, env); f.Type != string(fault.Invalid) || !strings.Contains(f.Message, want) {
			t.Errorf("refused with %+v, want %q", f, want)
		}
	}
	env := newEnv(t)
	env.OnActivity(control.ReadGroup, mock.Anything, mock.Anything).Return(home, nil)
	env.ExecuteWorkflow(Failback, FailbackInput{Group: "prod"})
	if f := failureOf(t, env); !strings.Contains(f.Message, "at home already") {
		t.Errorf("failed with %+v", f)
	}
}
