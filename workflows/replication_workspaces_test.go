package workflows

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/mock"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/workflow"

	"github.com/smartdr/smartdr/activities"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
)

// log is what children did, in order.
type log struct{ lines []string }

// child starts, hears signals, and ends when it is cancelled; it says so in the log.
func (l *log) child(ctx workflow.Context, in WorkspaceReplicationInput) error {
	l.lines = append(l.lines, strings.TrimSpace("start "+in.Workspace+" "+in.Host))
	never := workflow.NewTimer(ctx, 1000*time.Hour) // the test's clock stands still without one
	for {
		s := workflow.NewSelector(ctx)
		s.AddFuture(never, func(workflow.Future) {})
		s.AddReceive(workflow.GetSignalChannel(ctx, LookSignal), func(c workflow.ReceiveChannel, _ bool) {
			c.Receive(ctx, nil)
			l.lines = append(l.lines, "look "+in.Workspace)
		})
		s.AddReceive(ctx.Done(), func(workflow.ReceiveChannel, bool) {})
		if s.Select(ctx); ctx.Err() != nil {
			l.lines = append(l.lines, "end "+in.Workspace)
			return ctx.Err()
		}
	}
}

// changing changes the group a while after the entity began, and pokes it.
func changing(env *testsuite.TestWorkflowEnvironment, after time.Duration, change func()) {
	env.RegisterDelayedCallback(func() {
		change()
		env.SignalWorkflow(EpochChangedSignal, EpochChanged{Epoch: 1})
	}, after)
}

// Workspaces come and go; nobody else's replication is touched by it.
func TestReplicationOfWorkspacesThatComeAndGo(t *testing.T) {
	var l log
	env := childEnv(t, l.child)
	g := three()
	observed(env, &g)
	orders := &g.Workspaces[1]
	changing(env, 10*time.Second, func() { orders.State = topology.WorkspaceSuspending })
	changing(env, 20*time.Second, func() { orders.State = topology.WorkspaceSuspended })
	changing(env, 30*time.Second, func() { orders.State = topology.WorkspaceActive })
	changing(env, 40*time.Second, func() { delete(orders.Sites, "east") })
	changing(env, 50*time.Second, func() {
		g.Workspaces = append(g.Workspaces, topology.Workspace{Name: "new", Sites: map[string]topology.Site{"east": {}}})
	})
	changing(env, 60*time.Second, func() { g.Workspaces[0].State = topology.WorkspaceTerminated })
	env.ExecuteWorkflow(Replication, ReplicationInput{Group: "prod"})
	next := nextInput(t, env)
	want := []string{"start main", "start orders h1", "end orders", "start orders h1", "end orders", "start new", "end main"}
	if diff := cmp.Diff(want, l.lines); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]Child{{"new", 1}}, next.State.Children); diff != "" {
		t.Errorf("carries %s", diff)
	}
}

// A child that was told to end may take its time; the workspace is replicated again as soon as it has.
func TestReplicationStartsAgainWhatWasStoppedAMomentAgo(t *testing.T) {
	starts := 0
	var last time.Time
	env := childEnv(t, func(ctx workflow.Context, in WorkspaceReplicationInput) error {
		last = workflow.Now(ctx)
		if starts++; starts == 1 {
			_ = forever(ctx)
			slow, cancel := workflow.NewDisconnectedContext(ctx)
			defer cancel()
			_ = workflow.Sleep(slow, 15*time.Second)
			return ctx.Err()
		}
		return forever(ctx)
	})
	g := configured()
	observed(env, &g)
	changing(env, 10*time.Second, func() { g.Workspaces[0].State = topology.WorkspaceSuspended })
	changing(env, 12*time.Second, func() { g.Workspaces[0].State = topology.WorkspaceActive })
	begin := env.Now()
	env.ExecuteWorkflow(Replication, ReplicationInput{Group: "prod"})
	next := nextInput(t, env)
	if after := last.Sub(begin); starts != 2 || after > time.Minute || len(next.State.Children) != 1 {
		t.Errorf("started %d times, the last one after %s, carries %+v", starts, after, next.State.Children)
	}
}

func TestReplicationOfATerminatedGroupEnds(t *testing.T) {
	var l log
	env := childEnv(t, l.child)
	g := configured()
	observed(env, &g)
	env.OnRequestCancelExternalWorkflow(mock.Anything, mock.Anything, mock.Anything).Return(nil).Maybe()
	expiring := 0
	noExpire(env, &expiring)
	changing(env, 10*time.Second, func() { g.State, g.Workspaces[0].State = topology.GroupTerminated, topology.WorkspaceTerminated })
	asked := false
	env.RegisterDelayedCallback(func() {
		env.UpdateWorkflow(RefreshUpdate, "u", &testsuite.TestUpdateCallback{
			OnAccept: func() {}, OnReject: func(err error) { t.Error(err) },
			OnComplete: func(_ any, err error) { asked = err == nil },
		})
	}, 10*time.Second)
	env.ExecuteWorkflow(Replication, ReplicationInput{Group: "prod"})
	if err := env.GetWorkflowError(); !env.IsWorkflowCompleted() || err != nil {
		t.Errorf("ended %t with %v", env.IsWorkflowCompleted(), err)
	}
	if diff := cmp.Diff([]string{"start main", "end main"}, l.lines); diff != "" || !asked {
		t.Error(asked, diff)
	}
	if expiring != 1 {
		t.Errorf("its buckets are looked through by %d", expiring)
	}
}

func TestReplicationTellsChildrenOfTheChoice(t *testing.T) {
	var l log
	env := childEnv(t, l.child)
	g := three()
	observed(env, &g)
	changing(env, 10*time.Second, func() { g.Replication = &topology.Replication{Databases: []string{"app"}, ChangedAt: time.Unix(5, 0)} })
	changing(env, 20*time.Second, func() { g.Revision++ })
	env.ExecuteWorkflow(Replication, ReplicationInput{Group: "prod"})
	next := nextInput(t, env)
	want := []string{"start main", "start orders h1", "look main", "look orders"}
	if diff := cmp.Diff(want, l.lines); diff != "" {
		t.Error(diff)
	}
	if !next.State.ChangedAt.Equal(time.Unix(5, 0)) {
		t.Errorf("carries %s", next.State.ChangedAt)
	}
}

// A workspace whose child falls over again and again does not disturb another's.
func TestReplicationOfOneWorkspaceInTrouble(t *testing.T) {
	starts := map[string]int{}
	env := childEnv(t, func(ctx workflow.Context, in WorkspaceReplicationInput) error {
		if starts[in.Workspace]++; in.Workspace == "orders" {
			return fails(fault.Missing, "it fell over")
		}
		return forever(ctx)
	})
	g := three()
	observed(env, &g)
	env.ExecuteWorkflow(Replication, ReplicationInput{Group: "prod"})
	if nextInput(t, env); starts["main"] != 1 || starts["orders"] < 2 {
		t.Errorf("started %v", starts)
	}
}

// A choice that changes gives a new snapshot at once, also while one is being taken, and shipping goes on.
func TestWorkspaceReplicationLooksWhenTold(t *testing.T) {
	env := newEnv(t)
	snapshots, ships := 0, 0
	any := mock.Anything
	env.OnActivity(source.TakeSnapshot, any, any).After(20 * time.Second).Return(func(context.Context, activities.TakeSnapshotInput) (activities.TakeSnapshotResult, error) {
		snapshots++
		return activities.TakeSnapshotResult{ID: "s1", Complete: []string{"east", "west"}, StartedAt: env.Now(), Due: env.Now().Add(24 * time.Hour)}, nil
	})
	env.OnActivity(source.ShipSegments, any, any).After(turn).Return(func(context.Context, activities.SourceInput) (activities.ShipSegmentsResult, error) {
		ships++
		return activities.ShipSegmentsResult{}, nil
	})
	sourceAnswers(env)
	tell := func(after time.Duration) {
		env.RegisterDelayedCallback(func() { env.SignalWorkflow(LookSignal, nil) }, after)
	}
	tell(5 * time.Second) // while the first is under way
	tell(5 * time.Minute)
	env.RegisterDelayedCallback(env.CancelWorkflow, turn+time.Minute)
	env.ExecuteWorkflow(WorkspaceReplication, inEast)
	if snapshots != 3 || ships != 1 {
		t.Errorf("%d snapshots were taken, %d turns of shipping ended", snapshots, ships)
	}
}

func TestWorkspaceReplicationTakesTheSnapshotThatIsMissed(t *testing.T) {
	env := newEnv(t)
	snapshots := 0
	env.OnActivity(source.TakeSnapshot, mock.Anything, mock.Anything).Return(func(context.Context, activities.TakeSnapshotInput) (activities.TakeSnapshotResult, error) {
		snapshots++
		return activities.TakeSnapshotResult{ID: "s1", Complete: []string{"east", "west"}, StartedAt: env.Now(), Due: env.Now().Add(24 * time.Hour)}, nil
	})
	env.OnActivity(source.WatchSnapshot, mock.Anything, mock.Anything).After(time.Minute).Return(activities.WatchSnapshotResult{Reason: "database app is not in it"}, nil).Once()
	sourceAnswers(env)
	env.RegisterDelayedCallback(env.CancelWorkflow, time.Hour)
	env.ExecuteWorkflow(WorkspaceReplication, inEast)
	if snapshots != 2 {
		t.Errorf("%d snapshots", snapshots)
	}
}

// What happens beside a managed server happens on its host.
func TestWorkspaceReplicationRunsOnTheHost(t *testing.T) {
	env := newEnv(t)
	var queues []string
	env.SetOnActivityStartedListener(func(info *activity.Info, _ context.Context, _ converter.EncodedValues) {
		queues = append(queues, info.TaskQueue)
	})
	sourceAnswers(env)
	env.RegisterDelayedCallback(env.CancelWorkflow, time.Minute)
	in := inEast
	in.Host = "h1"
	env.ExecuteWorkflow(WorkspaceReplication, in)
	slices.Sort(queues)
	if queues = slices.Compact(queues); !slices.Equal(queues, []string{"smartdr-east/h1"}) {
		t.Errorf("activities ran on %q", queues)
	}
}
