package workflows

import (
	"context"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/mock"
	"go.temporal.io/sdk/testsuite"

	"github.com/smartdr/smartdr/activities"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

// fenceBook is what the buckets know of two fences and of the claim, with the rules of the catalog.
type fenceBook struct {
	states  map[string]topology.FenceState
	goes    bool // back
	claimed bool
	did     []string
}

// keep lets the book answer all that a move asks about fences and claims. Of the workspaces that are spoilt the commit is refused.
func (b *fenceBook) keep(env *testsuite.TestWorkflowEnvironment, spoilt string) {
	any := mock.Anything
	b.states = map[string]topology.FenceState{}
	answer := func(workspace string) topology.Fence {
		return topology.Fence{Workspace: workspace, Lineage: workspace, State: b.states[workspace], End: wal.Position{Timeline: 1, LSN: 0x3000100}}
	}
	env.OnActivity(source.Fence, any, any).Return(func(_ context.Context, in activities.FenceInput) (topology.Fence, error) {
		b.states[in.Workspace] = topology.FenceHolding
		return answer(in.Workspace), nil
	})
	env.OnActivity(source.CommitFence, any, any).Return(func(_ context.Context, in activities.FenceInput) (topology.Fence, error) {
		if in.Workspace == spoilt {
			return topology.Fence{}, fails(fault.Conflict, "the fence is not in force any more")
		}
		b.states[in.Workspace] = topology.FenceCommitted
		return answer(in.Workspace), nil
	})
	env.OnActivity(source.LiftFence, any, any).Return(func(_ context.Context, in activities.FenceInput) (topology.Fence, error) {
		if b.states[in.Workspace] == topology.FenceCommitted {
			return topology.Fence{}, fails(fault.Conflict, "the fence is committed")
		}
		b.states[in.Workspace] = topology.FenceLifted
		return answer(in.Workspace), nil
	})
	env.OnActivity(control.GoBack, any, any).Return(func(context.Context, activities.GoBackInput) (activities.GoBackResult, error) {
		b.did = append(b.did, "go back")
		if b.claimed {
			return activities.GoBackResult{Claimed: 2}, nil
		}
		b.goes = true
		return activities.GoBackResult{}, nil
	}).Maybe()
	env.OnActivity(source.LiftCommitted, any, any).Return(func(_ context.Context, in activities.FenceInput) (topology.Fence, error) {
		if !b.goes {
			return topology.Fence{}, fails(fault.Conflict, "it has not gone back")
		}
		b.states[in.Workspace] = topology.FenceLifted
		return answer(in.Workspace), nil
	}).Maybe()
}

// movingTwo is a group of two workspaces, and the plan of its move.
func movingTwo() (topology.Group, activities.FailoverPlan) {
	g := moving()
	side := g.Workspaces[0]
	side.Name, side.Lineage = "side", "0001-00000002"
	side.Lineages = []topology.Lineage{{ID: "0001-00000002", Epoch: 1, Region: g.Active}}
	g.Workspaces = append(g.Workspaces, side)
	plan := twoPlan()
	for i := range plan.Workspaces {
		plan.Workspaces[i].Host = madeStandby.Host
	}
	return g, plan
}

// When one fence cannot be kept and another one is committed already, none stays: no server may be left that nobody can write to.
func TestNoFenceIsLeftOfAMoveThatGoesBack(t *testing.T) {
	any := mock.Anything
	for name, c := range map[string]struct {
		spoilt string
		claim  error
	}{
		"the first is not kept":  {"main", nil},
		"the second is not kept": {"side", nil},
		"all kept, not claimed":  {"", fails(fault.Fenced, "another bucket decides")},
	} {
		t.Run(name, func(t *testing.T) {
			env := newEnv(t)
			var book fenceBook
			book.keep(env, c.spoilt)
			if c.claim != nil {
				env.OnActivity(target.ClaimEpoch, any, any).Return(activities.ClaimEpochResult{}, c.claim)
			}
			g, plan := movingTwo()
			env.OnActivity(target.PlanFailover, any, any).Return(plan, nil)
			ended, did := moves(env, g)
			env.ExecuteWorkflow(Switchover, SwitchoverInput{Group: "prod"})
			want := map[string]topology.FenceState{"main": topology.FenceLifted, "side": topology.FenceLifted}
			if diff := cmp.Diff(want, book.states); diff != "" {
				t.Error(diff)
			}
			if ended.State != topology.OperationReverted || !ended.ClaimedAt.IsZero() || slices.Contains(*did, "claim") {
				t.Errorf("ended as %+v after %v", ended, *did)
			}
		})
	}
}

// A claim whose answer was an error, and which was made all the same, leaves but the way forward.
func TestAClaimThatWasMadeAllTheSameGoesForward(t *testing.T) {
	any := mock.Anything
	env := newEnv(t)
	var book fenceBook
	book.keep(env, "")
	env.OnActivity(target.ClaimEpoch, any, any).Return(func(context.Context, activities.ClaimEpochInput) (activities.ClaimEpochResult, error) {
		book.claimed = true
		return activities.ClaimEpochResult{}, fails(fault.Corrupt, "the document of the epoch is damaged")
	})
	g, plan := movingTwo()
	env.OnActivity(target.PlanFailover, any, any).Return(plan, nil)
	env.OnActivity(target.FixRecoveryPoint, any, any).Return(plan, nil)
	ended, _ := moves(env, g)
	env.ExecuteWorkflow(Switchover, SwitchoverInput{Group: "prod"})
	want := map[string]topology.FenceState{"main": topology.FenceCommitted, "side": topology.FenceCommitted}
	if diff := cmp.Diff(want, book.states); diff != "" {
		t.Error(diff)
	}
	if ended.State != topology.OperationCompleted || ended.Epoch != 2 || ended.ClaimedAt.IsZero() || len(book.did) != 1 {
		t.Errorf("ended as %+v", ended)
	}
}
