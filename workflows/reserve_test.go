package workflows

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/mock"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/workflow"

	"github.com/smartdr/smartdr/activities"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
)

func reserveNow(ctx workflow.Context, group string) (bool, error) { return reserve(ctx, group), nil }

// What one host does not keep holds up no other.
func TestReserveRecordsWhatHostsKeep(t *testing.T) {
	env := newEnv(t)
	env.RegisterWorkflow(reserveNow)
	var recorded activities.RecordReservationsInput
	any := mock.Anything
	env.OnActivity(control.PlanReservations, any, any).Return(activities.PlanReservationsResult{Wanted: []topology.Wanted{
		{Workspace: "main", Region: "west", Host: "w1"}, {Workspace: "main", Region: "east", Host: "e1", Port: 6001},
	}}, nil)
	env.OnActivity(target.ReservePlace, any, activities.ReservePlaceInput{Group: "prod", Workspace: "main"}).Return(topology.Reservation{Host: "w1"}, nil)
	env.OnActivity(target.ReservePlace, any, activities.ReservePlaceInput{Group: "prod", Workspace: "main", Port: 6001}).Return(topology.Reservation{}, fails(fault.Invalid, "no port"))
	env.OnActivity(control.RecordReservations, any, any).Return(func(_ context.Context, in activities.RecordReservationsInput) error {
		recorded = in
		return nil
	})
	env.ExecuteWorkflow(reserveNow, "prod")
	var new bool
	if err := env.GetWorkflowResult(&new); err != nil || !new {
		t.Error(new, err)
	}
	want := activities.RecordReservationsInput{Group: "prod", Kept: []activities.Reserved{{Workspace: "main", Region: "west", Reservation: topology.Reservation{Host: "w1"}}}}
	if diff := cmp.Diff(want, recorded); diff != "" {
		t.Error(diff)
	}
}

// The entity looks at once when something has changed, and seldom else.
func TestReplicationKeepsReservations(t *testing.T) {
	var l log
	env := childEnv(t, l.child)
	g := configured()
	observed(env, &g)
	looks := 0
	env.SetOnActivityStartedListener(countStarts("PlanReservations", &looks))
	changing(env, time.Minute, func() { g.Revision++ })
	changing(env, 2*time.Minute, func() {
		g.Workspaces = append(g.Workspaces, topology.Workspace{Name: "new", Sites: map[string]topology.Site{"east": {}}})
	})
	env.RegisterDelayedCallback(func() {
		if looks != 2 {
			t.Errorf("looked %d times within three minutes", looks)
		}
	}, 3*time.Minute)
	env.ExecuteWorkflow(Replication, ReplicationInput{Group: "prod"})
	if nextInput(t, env); looks < 6 || looks > 9 {
		t.Errorf("looked %d times within half an hour", looks)
	}
}

func countStarts(name string, n *int) func(*activity.Info, context.Context, converter.EncodedValues) {
	return func(info *activity.Info, _ context.Context, _ converter.EncodedValues) {
		if info.ActivityType.Name == name {
			*n++
		}
	}
}
