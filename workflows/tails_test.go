package workflows

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/mock"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/workflow"

	"github.com/smartdr/smartdr/activities"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

// leftBehind is one server that was cut off, and what of its tail is in the buckets.
type leftBehind struct {
	tail         topology.Tail
	ships, looks atomic.Int32 // a look may still go on when the workflow has ended
}

// tailsEnv lets ship bring the tail, and bucket what CopyTail finds.
func tailsEnv(t *testing.T, l *leftBehind, ship func(n int) error) *testsuite.TestWorkflowEnvironment {
	t.Helper()
	env := newEnv(t)
	env.RegisterWorkflow(Tails)
	any := mock.Anything
	env.OnActivity(control.ListTails, any, any).Return(func(context.Context, activities.ListTailsInput) (r activities.ListTailsResult, err error) {
		if !l.tail.Complete {
			r.Tails = []activities.OpenTail{{Tail: l.tail, Region: "east", Host: "h1"}}
		}
		return r, nil
	}).Maybe()
	env.OnActivity(control.CopyTail, any, any).Return(func(context.Context, activities.TailInput) (topology.Tail, error) {
		l.looks.Add(1)
		return l.tail, nil
	}).Maybe()
	env.OnActivity(source.ShipTail, any, any).After(time.Minute).Return(func(_ context.Context, in activities.TailInput) (topology.Tail, error) {
		n := int(l.ships.Add(1))
		if in.Lineage != l.tail.Lineage || in.Workspace != "main" || in.Group != "prod" || in.TurnSeconds == 0 {
			t.Errorf("asked for %+v", in)
		}
		return l.tail, ship(n)
	}).Maybe()
	return env
}

func newLeftBehind() *leftBehind {
	return &leftBehind{tail: topology.Tail{Workspace: "main", Lineage: "0001-0a0b0c0d", At: wal.Position{Timeline: 1, LSN: 100}}}
}

// Whatever keeps a tail from coming home is tried again, and the workflow ends by itself once it is there.
func TestTailsEndWhenAllIsHome(t *testing.T) {
	l := newLeftBehind()
	env := tailsEnv(t, l, func(n int) error {
		switch n {
		case 1:
			return fails(fault.Diverged, "another server answers")
		case 2:
			return nil // its turn is over
		}
		l.tail.Complete = true
		return nil
	})
	env.ExecuteWorkflow(Tails, TailsInput{Group: "prod"})
	if err := env.GetWorkflowError(); !env.IsWorkflowCompleted() || err != nil {
		t.Errorf("ended with %v", err)
	}
	if l.ships.Load() != 3 || l.looks.Load() < 3 {
		t.Errorf("%d attempts to ship, %d looks into the buckets", l.ships.Load(), l.looks.Load())
	}
}

// A region that never comes back is waited for from run to run.
func TestTailsWaitForALostRegion(t *testing.T) {
	l := newLeftBehind()
	env := tailsEnv(t, l, func(int) error { return nil })
	env.SetTestTimeout(time.Minute)
	env.ExecuteWorkflow(Tails, TailsInput{Group: "prod"})
	var next *workflow.ContinueAsNewError
	if err := env.GetWorkflowError(); !errors.As(err, &next) {
		t.Fatal(err)
	}
	if l.ships.Load() < tailRounds/4 {
		t.Errorf("tried %d times", l.ships.Load())
	}
}

func TestTailsEndForAnotherControlPlane(t *testing.T) {
	env := newEnv(t)
	env.RegisterWorkflow(Tails)
	env.OnActivity(control.ListTails, mock.Anything, mock.Anything).Return(activities.ListTailsResult{}, fails(fault.Fenced, "another control plane acts"))
	env.ExecuteWorkflow(Tails, TailsInput{Group: "prod"})
	if f := failureOf(t, env); f.Type != string(fault.Fenced) {
		t.Errorf("ended with %+v", f)
	}
}

// The entity starts Tails while something is missing, once, and not for what is complete.
func TestReplicationBringsTailsHome(t *testing.T) {
	for name, c := range map[string]struct {
		tails []topology.Tail
		want  int
	}{
		"nothing was left": {nil, 0},
		"all is home":      {[]topology.Tail{{Complete: true}}, 0},
		"one is missing":   {[]topology.Tail{{Complete: true}, {}}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			env := childEnv(t, func(ctx workflow.Context, _ WorkspaceReplicationInput) error { return forever(ctx) })
			started := 0
			env.RegisterWorkflowWithOptions(func(ctx workflow.Context, in TailsInput) error {
				if started++; in.Group != "prod" {
					t.Errorf("started with %+v", in)
				}
				return forever(ctx)
			}, workflow.RegisterOptions{Name: TailsType})
			g := configured()
			env.OnActivity(control.ObserveStatus, mock.Anything, mock.Anything).Return(func(context.Context, activities.ReadGroupInput) (topology.GroupStatus, error) {
				return topology.GroupStatus{Group: g, Workspaces: []topology.WorkspaceStatus{{Workspace: "main", Tails: c.tails}}}, nil
			})
			env.ExecuteWorkflow(Replication, ReplicationInput{Group: "prod"})
			if nextInput(t, env); started != c.want {
				t.Errorf("started %d times", started)
			}
		})
	}
}
