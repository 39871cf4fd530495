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

// halfMoved is a group whose last move claimed epoch 2 and brought up main alone, and that move.
func halfMoved(kind string) (topology.Group, topology.Operation) {
	last := lastFailover()
	last.Kind, last.Fences = kind, []topology.Fence{{Workspace: "main", State: topology.FenceCommitted}}
	last.ClaimedAt, last.Gap = last.StartedAt, &topology.Gap{From: last.StartedAt}
	g := moving()
	g.Claimed = &topology.Claimed{Epoch: 2, Operation: last.ID, Region: "west"}
	old := topology.Site{Kind: topology.Managed, Host: "e1", Instance: "/data/e1"}
	fork := &topology.Fork{Lineage: "0001-00000001"}
	g.Workspaces[0].Sites = map[string]topology.Site{"east": old, "west": {Kind: topology.Managed}}
	g.Workspaces[0].Lineages = append(g.Workspaces[0].Lineages, topology.Lineage{ID: "0002-abcdef01", Epoch: 2, Region: "west", Parent: fork})
	g.Active, g.Epoch = "west", 2
	side := topology.Workspace{Name: "side", Lineage: "0001-00000002", Sites: map[string]topology.Site{"east": old}}
	side.Lineages = []topology.Lineage{{ID: "0001-00000002", Epoch: 1, Region: "east"}}
	g.Workspaces = append(g.Workspaces, side)
	if kind == FailbackType {
		g.Primary, g.Secondary = g.Secondary, g.Primary
	}
	return g, last
}

// A move that failed after its claim goes on by the same command and by the failover's: what does not serve is brought up, nobody is
// fenced or claims again, and what it has left is ended as a move ends it.
func TestAMoveThatFailedAfterItsClaimGoesOn(t *testing.T) {
	any := mock.Anything
	for name, c := range map[string]struct {
		kind   string
		wf, in interface{}
	}{
		"switchover":             {SwitchoverType, Switchover, SwitchoverInput{Group: "prod"}},
		"switchover to a region": {SwitchoverType, Switchover, SwitchoverInput{Group: "prod", To: "west"}},
		"failback":               {FailbackType, Failback, FailbackInput{Group: "prod"}},
		"by the failover's":      {SwitchoverType, Failover, FailoverInput{Group: "prod", Resume: true}},
		"of a failback":          {FailbackType, Failover, FailoverInput{Group: "prod", Resume: true}},
	} {
		t.Run(name, func(t *testing.T) {
			env := newEnv(t)
			g, last := halfMoved(c.kind)
			env.OnActivity(control.FindOperation, any, activities.FindOperationInput{Group: "prod", Operation: "old"}).Return(last, nil).Maybe()
			env.OnActivity(control.FindFailover, any, any).Return(last, nil).Maybe()
			plan := twoPlan()
			plan.Workspaces[0].Serving = &topology.Endpoint{Hosts: []topology.HostPort{{Host: "a", Port: 1}}}
			env.OnActivity(target.PlanFailover, any, any).Return(func(_ context.Context, in activities.PlanFailoverInput) (activities.FailoverPlan, error) {
				if in.Operation != "old" || in.Planned || in.To != "west" {
					return plan, fails(fault.Invalid, "it is planned as a new one")
				}
				return plan, nil
			})
			env.OnActivity(target.FixRecoveryPoint, any, any).Return(plan, nil)
			var retired []activities.RetireInput
			retire := func(_ context.Context, in activities.RetireInput) (activities.PhaseResult, error) {
				retired = append(retired, in)
				return activities.PhaseResult{}, nil
			}
			if c.kind == FailbackType {
				env.OnActivity(target.RemoveRetired, any, any).Return(retire)
			} else {
				env.OnActivity(target.RetireServer, any, any).Return(retire)
			}
			ended, did := moves(env, g)
			env.ExecuteWorkflow(c.wf, c.in)
			if err := env.GetWorkflowError(); err != nil {
				t.Fatal(err)
			}
			serves(t, *ended, map[string]bool{"main": true, "side": true})
			if ended.ID != "old" || ended.Kind != c.kind || ended.State != topology.OperationCompleted || len(ended.Fences) != 1 || ended.Gap.To.IsZero() {
				t.Errorf("ended as %+v", ended)
			}
			if diff := cmp.Diff([]string{"claim"}, *did); diff != "" {
				t.Error(diff)
			}
			if len(retired) != 2 || retired[0].Epoch != 1 || retired[1].Epoch != 1 {
				t.Errorf("ended %+v", retired)
			}
		})
	}
}

// Whatever stops it after its claim, the account names a command that goes on.
func TestAMoveThatFailsAfterItsClaimSaysHowItGoesOn(t *testing.T) {
	any := mock.Anything
	for name, spoil := range map[string]func(*testsuite.TestWorkflowEnvironment){
		"its point": func(e *testsuite.TestWorkflowEnvironment) {
			e.OnActivity(target.FixRecoveryPoint, any, any).Return(activities.FailoverPlan{}, fails(fault.Missing, "nothing is there"))
		},
		"a workspace": func(e *testsuite.TestWorkflowEnvironment) {
			e.OnActivity(target.PublishEndpoint, any, any).Return(topology.Group{}, fails(fault.Fenced, "brought up elsewhere"))
		},
	} {
		t.Run(name, func(t *testing.T) {
			env := newEnv(t)
			spoil(env)
			ended, _ := moves(env, moving())
			env.ExecuteWorkflow(Switchover, SwitchoverInput{Group: "prod"})
			if ended.State != topology.OperationFailed || ended.Epoch != 2 || strings.Count(ended.Hint, "smartdr failover --group prod --resume") != 1 {
				t.Errorf("ended as %+v", ended)
			}
		})
	}
}

// Nothing else begins while a move has claimed the epoch and has not brought up everything.
func TestWhatAnUnfinishedMoveKeepsFromBeginning(t *testing.T) {
	for name, c := range map[string]struct {
		kind string
		in   SwitchoverInput
		says string
	}{
		"another kind": {FailbackType, SwitchoverInput{Group: "prod"}, "the last failback"},
		"the way back": {SwitchoverType, SwitchoverInput{Group: "prod", To: "east"}, `led to "west"`},
	} {
		t.Run(name, func(t *testing.T) {
			env := newEnv(t)
			g, last := halfMoved(c.kind)
			env.OnActivity(control.ReadGroup, mock.Anything, mock.Anything).Return(g, nil)
			env.OnActivity(control.FindOperation, mock.Anything, mock.Anything).Return(last, nil)
			env.ExecuteWorkflow(Switchover, c.in)
			if f := failureOf(t, env); f.Type != string(fault.Invalid) || !strings.Contains(f.Message, c.says) {
				t.Errorf("refused with %+v", f)
			}
		})
	}
}
