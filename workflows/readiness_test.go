package workflows

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/mock"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/testsuite"

	"github.com/smartdr/smartdr/activities"
	"github.com/smartdr/smartdr/internal/topology"
)

// readinessEnv runs Replication and notes on which queues readiness was checked; away are those without a worker.
func readinessEnv(g *topology.Group, away ...string) (env *testsuite.TestWorkflowEnvironment, asked *[]string) {
	env = bareEnv()
	env.RegisterWorkflow(Replication)
	env.RegisterActivity(&activities.Control{})
	observed(env, g)
	env.OnActivity(control.MeasureStored, mock.Anything, mock.Anything).Return(activities.MeasureStoredResult{}, nil).Maybe()
	asked = &[]string{}
	env.OnActivity(control.CheckReadiness, mock.Anything, mock.Anything).Return(
		func(ctx context.Context, in activities.ReadGroupInput) (activities.CheckReadinessResult, error) {
			queue := activity.GetInfo(ctx).TaskQueue
			*asked = append(*asked, queue)
			if in.Group != "prod" || slices.Contains(away, queue) {
				return activities.CheckReadinessResult{}, errors.New("nobody is there")
			}
			return activities.CheckReadinessResult{State: topology.ReadinessOK}, nil
		})
	return env, asked
}

// noChildren is a configured group without workspaces: nothing but the check goes on.
func noChildren() topology.Group {
	g := configured()
	g.Workspaces = nil
	return g
}

func TestReadinessIsCheckedFromTheOtherRegion(t *testing.T) {
	g := noChildren()
	env, asked := readinessEnv(&g)
	env.RegisterDelayedCallback(env.CancelWorkflow, 12*time.Minute)
	env.ExecuteWorkflow(Replication, ReplicationInput{Group: "prod"})
	if want := []string{"smartdr-west", "smartdr-west", "smartdr-west"}; !slices.Equal(*asked, want) {
		t.Errorf("checked on %v within 12 minutes, want %v", *asked, want)
	}
}

func TestReadinessIsCheckedAgainSoonWhileSomethingIsInTheWay(t *testing.T) {
	g := noChildren()
	env := bareEnv()
	env.RegisterWorkflow(Replication)
	env.RegisterActivity(&activities.Control{})
	observed(env, &g)
	env.OnActivity(control.MeasureStored, mock.Anything, mock.Anything).Return(activities.MeasureStoredResult{}, nil)
	checks := 0
	env.OnActivity(control.CheckReadiness, mock.Anything, mock.Anything).Return(
		func(context.Context, activities.ReadGroupInput) (activities.CheckReadinessResult, error) {
			checks++
			return activities.CheckReadinessResult{State: topology.ReadinessBlocking}, nil
		})
	env.RegisterDelayedCallback(env.CancelWorkflow, 210*time.Second)
	env.ExecuteWorkflow(Replication, ReplicationInput{Group: "prod"})
	if checks != 4 {
		t.Errorf("checked %d times in three and a half minutes", checks)
	}
}

func TestReadinessIsCheckedFromElsewhereWhenNobodyIsThere(t *testing.T) {
	g := noChildren()
	env, asked := readinessEnv(&g, "smartdr-west")
	env.RegisterDelayedCallback(env.CancelWorkflow, time.Minute)
	env.ExecuteWorkflow(Replication, ReplicationInput{Group: "prod"})
	if want := []string{"smartdr-west", "smartdr"}; !slices.Equal(*asked, want) {
		t.Errorf("checked on %v, want %v", *asked, want)
	}
}

func TestReadinessIsCheckedAnewWhenAnotherRegionServes(t *testing.T) {
	g := noChildren()
	env, asked := readinessEnv(&g)
	env.RegisterDelayedCallback(func() {
		g.Epoch, g.Active = 2, "west"
		env.SignalWorkflow(EpochChangedSignal, EpochChanged{Epoch: 2})
	}, 30*time.Second)
	env.RegisterDelayedCallback(env.CancelWorkflow, time.Minute)
	env.ExecuteWorkflow(Replication, ReplicationInput{Group: "prod"})
	if want := []string{"smartdr-west", "smartdr-east"}; !slices.Equal(*asked, want) {
		t.Errorf("checked on %v, want %v", *asked, want)
	}
}

func TestNothingIsCheckedWithoutReplication(t *testing.T) {
	g := group()
	env, asked := readinessEnv(&g)
	env.RegisterDelayedCallback(env.CancelWorkflow, 20*time.Minute)
	env.ExecuteWorkflow(Replication, ReplicationInput{Group: "prod"})
	if len(*asked) != 0 {
		t.Errorf("checked on %v", *asked)
	}
}

func TestReadinessDetails(t *testing.T) {
	r := activities.CheckReadinessResult{State: topology.ReadinessBlocking, CheckedAt: time.Unix(0, 0), More: 2, Items: []topology.ReadinessItem{
		{Check: "snapshot", Workspace: "main", State: topology.ReadinessBlocking, Text: "None.", Todo: "Wait."},
	}}
	for _, want := range []string{"**blocking**, checked 00:00:00 UTC", "- blocking main snapshot: None. Wait.\n", "and 2 more"} {
		if got := readinessDetails(r); !strings.Contains(got, want) {
			t.Errorf("no %q in %q", want, got)
		}
	}
}
