package workflows

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/mock"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/workflow"

	"github.com/smartdr/smartdr/activities"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
)

// observed lets ObserveStatus say what g is.
func observed(env *testsuite.TestWorkflowEnvironment, g *topology.Group) {
	env.OnActivity(control.ObserveStatus, mock.Anything, mock.Anything).Return(
		func(context.Context, activities.ReadGroupInput) (topology.GroupStatus, error) {
			return topology.GroupStatus{Group: *g}, nil
		})
}

// childEnv is a test environment in which WorkspaceReplication is replaced.
func childEnv(t *testing.T, child func(workflow.Context, WorkspaceReplicationInput) error) *testsuite.TestWorkflowEnvironment {
	t.Helper()
	env := bareEnv()
	env.RegisterWorkflow(Replication)
	env.RegisterWorkflowWithOptions(child, workflow.RegisterOptions{Name: WorkspaceReplicationType})
	env.RegisterActivity(&activities.Control{})
	env.OnActivity(control.MeasureStored, mock.Anything, mock.Anything).Return(activities.MeasureStoredResult{}, nil).Maybe()
	env.OnActivity(control.CheckReadiness, mock.Anything, mock.Anything).Return(activities.CheckReadinessResult{State: topology.ReadinessOK}, nil).Maybe()
	env.OnActivity(control.PlanReservations, mock.Anything, mock.Anything).Return(activities.PlanReservationsResult{}, nil).Maybe()
	return env
}

// forever is a child that runs until it is cancelled.
func forever(ctx workflow.Context) error { return workflow.Sleep(ctx, 1000*time.Hour) }

// counting counts the starts of children by epoch.
func counting(started map[topology.Epoch]int) func(workflow.Context, WorkspaceReplicationInput) error {
	return func(ctx workflow.Context, in WorkspaceReplicationInput) error {
		started[in.Epoch]++
		return forever(ctx)
	}
}

// nextInput returns what the workflow hands to its next run.
func nextInput(t *testing.T, env *testsuite.TestWorkflowEnvironment) (in ReplicationInput) {
	t.Helper()
	var next *workflow.ContinueAsNewError
	if err := env.GetWorkflowError(); !errors.As(err, &next) {
		t.Fatalf("the workflow did not continue as new: %v", err)
	}
	if err := converter.GetDefaultDataConverter().FromPayloads(next.Input, &in); err != nil {
		t.Fatal(err)
	}
	return in
}

func TestReplicationStartsChildrenAndContinues(t *testing.T) {
	started := map[topology.Epoch]int{}
	env := childEnv(t, counting(started))
	g := configured()
	observed(env, &g)
	env.ExecuteWorkflow(Replication, ReplicationInput{Group: "prod"})
	in := nextInput(t, env)
	if started[1] != 1 {
		t.Errorf("started %d children", started[1])
	}
	if in.State.Epoch != 1 || len(in.State.Children) != 1 || in.State.Status == nil {
		t.Errorf("carries %+v", in.State)
	}
}

func TestReplicationWaitsForConfiguration(t *testing.T) {
	started := map[topology.Epoch]int{}
	env := childEnv(t, counting(started))
	g := group()
	observed(env, &g)
	env.ExecuteWorkflow(Replication, ReplicationInput{Group: "prod"})
	if nextInput(t, env); len(started) != 0 {
		t.Errorf("started %v", started)
	}
}

// The second run knows its children by name only, and must still be able to stop them.
func TestReplicationSecondRunFollowsTheEpoch(t *testing.T) {
	started := map[topology.Epoch]int{}
	env := childEnv(t, counting(started))
	g := configured()
	observed(env, &g)
	old := WorkspaceReplicationID("prod", "main", 1)
	env.OnRequestCancelExternalWorkflow(mock.Anything, old, "").Return(nil).Once()
	env.RegisterDelayedCallback(func() {
		g.Epoch, g.Active = 2, "west"
		g.Workspaces[0].Sites = map[string]topology.Site{"west": {Kind: topology.Managed, Host: "w1"}}
		env.SignalWorkflow(EpochChangedSignal, EpochChanged{Epoch: 2})
	}, 10*time.Second)
	in := ReplicationInput{Group: "prod", State: &ReplicationState{Epoch: 1, Children: []Child{{Workspace: "main", Epoch: 1}}}}
	env.ExecuteWorkflow(Replication, in)
	next := nextInput(t, env)
	if started[2] != 1 || next.State.Epoch != 2 || len(next.State.Children) != 1 || next.State.Children[0].Epoch != 2 {
		t.Errorf("started %v, carries %+v", started, next.State)
	}
}

func TestReplicationStartsAgainWhatEnded(t *testing.T) {
	starts := 0
	env := childEnv(t, func(ctx workflow.Context, _ WorkspaceReplicationInput) error {
		if starts++; starts == 1 {
			return errors.New("it fell over")
		}
		return forever(ctx)
	})
	g := configured()
	observed(env, &g)
	env.ExecuteWorkflow(Replication, ReplicationInput{Group: "prod"})
	if nextInput(t, env); starts != 2 {
		t.Errorf("started %d times", starts)
	}
}

func TestReplicationLeavesAFencedEpochAlone(t *testing.T) {
	starts := 0
	env := childEnv(t, func(workflow.Context, WorkspaceReplicationInput) error {
		starts++
		return fails(fault.Fenced, "epoch 2 is claimed")
	})
	g := configured()
	observed(env, &g)
	env.ExecuteWorkflow(Replication, ReplicationInput{Group: "prod"})
	if nextInput(t, env); starts != 1 {
		t.Errorf("started %d times", starts)
	}
}

func TestReplicationRefreshAndStatus(t *testing.T) {
	env := childEnv(t, counting(map[topology.Epoch]int{}))
	g := configured()
	observed(env, &g)
	var answer topology.GroupStatus
	env.RegisterDelayedCallback(func() {
		g.Revision = 7
		env.UpdateWorkflow(RefreshUpdate, "u", &testsuite.TestUpdateCallback{
			OnAccept: func() {}, OnReject: func(err error) { t.Error(err) },
			OnComplete: func(v any, err error) {
				if err != nil {
					t.Error(err)
					return
				}
				answer = v.(topology.GroupStatus)
			},
		})
	}, 3*time.Second)
	env.ExecuteWorkflow(Replication, ReplicationInput{Group: "prod"})
	nextInput(t, env)
	if answer.Group.Revision != 7 {
		t.Errorf("refresh answered %+v", answer)
	}
	v, err := env.QueryWorkflow(StatusQuery)
	if err != nil {
		t.Fatal(err)
	}
	var status topology.GroupStatus
	if err := v.Get(&status); err != nil || status.Group.Revision != 7 {
		t.Errorf("status %+v, %v", status, err)
	}
}

var inEast = WorkspaceReplicationInput{Group: "prod", Workspace: "main", Epoch: 1, Region: "east"}

// source lets everything beside the server go on, except what the test answers first. Shipping ends its turns at once.
func sourceAnswers(env *testsuite.TestWorkflowEnvironment) {
	any := mock.Anything
	env.OnActivity(source.PrepareSource, any, any).Return(activities.PrepareSourceResult{Lineage: "l1"}, nil).Maybe()
	env.OnActivity(source.ShipSegments, any, any).After(turn).Return(activities.ShipSegmentsResult{Lineage: "l1"}, nil).Maybe()
	env.OnActivity(source.TakeSnapshot, any, any).Return(func(_ context.Context, in activities.TakeSnapshotInput) (activities.TakeSnapshotResult, error) {
		return activities.TakeSnapshotResult{ID: "s1", Complete: []string{"east", "west"}, StartedAt: env.Now(), Due: env.Now().Add(24 * time.Hour)}, nil
	}).Maybe()
	env.OnActivity(source.WatchSnapshot, any, any).After(turn).Return(activities.WatchSnapshotResult{}, nil).Maybe()
	env.OnActivity(source.CaptureMetadata, any, any).After(turn).Return(nil).Maybe()
	env.OnActivity(source.MergeSegments, any, any).After(turn).Return(nil).Maybe()
}

func TestWorkspaceReplicationContinuesAsNewAfterTwoDays(t *testing.T) {
	env := newEnv(t)
	sourceAnswers(env)
	env.SetTestTimeout(time.Minute)
	begin := env.Now()
	env.ExecuteWorkflow(WorkspaceReplication, inEast)
	var next *workflow.ContinueAsNewError
	if err := env.GetWorkflowError(); !errors.As(err, &next) {
		t.Fatal(err)
	}
	if took := env.Now().Sub(begin); took < workspaceRun*turn {
		t.Errorf("continued after %s", took)
	}
}

func TestWorkspaceReplicationStartsALineageAfterAHole(t *testing.T) {
	env := newEnv(t)
	hole := temporal.NewNonRetryableApplicationError("WAL from 0/3000000 is gone", HoleType, nil, "")
	env.OnActivity(source.ShipSegments, mock.Anything, mock.Anything).Return(activities.ShipSegmentsResult{}, hole).Once()
	want := activities.StartLineageInput{
		SourceInput: activities.SourceInput{Group: "prod", Workspace: "main", Epoch: 1, TurnSeconds: 1800},
		After:       "l1", Reason: "WAL from 0/3000000 is gone",
	}
	env.OnActivity(source.StartLineage, mock.Anything, want).Return(activities.PrepareSourceResult{Lineage: "l2"}, nil).Once()
	sourceAnswers(env)
	env.RegisterDelayedCallback(env.CancelWorkflow, 2*time.Hour)
	env.ExecuteWorkflow(WorkspaceReplication, inEast)
	env.AssertExpectations(t)
	if err := env.GetWorkflowError(); !temporal.IsCanceledError(err) {
		t.Error(err)
	}
}

func TestWorkspaceReplicationEndsWhenFenced(t *testing.T) {
	env := newEnv(t)
	env.OnActivity(source.ShipSegments, mock.Anything, mock.Anything).Return(activities.ShipSegmentsResult{}, fails(fault.Fenced, "epoch 2 is claimed")).Once()
	sourceAnswers(env)
	env.ExecuteWorkflow(WorkspaceReplication, inEast)
	if f := failureOf(t, env); f.Type != string(fault.Fenced) {
		t.Errorf("ended with %+v", f)
	}
}

// What needs somebody is tried again every minute, and goes on by itself once it is put right.
func TestWorkspaceReplicationWaitsForSomebody(t *testing.T) {
	env := newEnv(t)
	env.OnActivity(source.PrepareSource, mock.Anything, mock.Anything).Return(activities.PrepareSourceResult{}, fails(fault.Invalid, "wrong password")).Times(3)
	shipped := false
	env.OnActivity(source.ShipSegments, mock.Anything, mock.Anything).After(turn).Return(func(context.Context, activities.SourceInput) (activities.ShipSegmentsResult, error) {
		shipped = true
		return activities.ShipSegmentsResult{}, nil
	})
	sourceAnswers(env)
	env.RegisterDelayedCallback(env.CancelWorkflow, time.Hour)
	env.ExecuteWorkflow(WorkspaceReplication, inEast)
	if !shipped {
		t.Error("it never shipped")
	}
}

func TestWorkspaceReplicationMirrorsWhatABucketLacks(t *testing.T) {
	env := newEnv(t)
	lacking := activities.TakeSnapshotResult{ID: "s1", Complete: []string{"east"}, Lacking: []string{"west"}, Due: env.Now().Add(24 * time.Hour)}
	env.OnActivity(source.TakeSnapshot, mock.Anything, mock.Anything).Return(lacking, nil).Once()
	env.OnActivity(source.MirrorSnapshot, mock.Anything, mock.MatchedBy(func(in activities.MirrorSnapshotInput) bool { return in.ID == "s1" })).Return(nil).Once()
	sourceAnswers(env)
	env.RegisterDelayedCallback(env.CancelWorkflow, time.Minute)
	env.ExecuteWorkflow(WorkspaceReplication, inEast)
	env.AssertExpectations(t)
}
