package workflows

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/mock"

	"github.com/smartdr/smartdr/activities"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
)

// What a move only says in its account is found out once clients can write again, and stops nothing.
func TestAMoveComparesOnceClientsCanWrite(t *testing.T) {
	any := mock.Anything
	for want, answer := range map[string]error{"a role differs": nil, "were not compared": fails(fault.Invalid, "no superuser")} {
		env := newEnv(t)
		var order []string
		env.OnActivity(target.RestoreMetadata, any, any).Return(func(_ context.Context, in activities.RestoreInput) (activities.PhaseResult, error) {
			if in.CompareLater {
				order = append(order, "let in")
			}
			return activities.PhaseResult{}, nil
		})
		env.OnActivity(target.PublishEndpoint, any, any).Return(func(context.Context, activities.PublishEndpointInput) (topology.Group, error) {
			order = append(order, "publish")
			return topology.Group{}, nil
		})
		env.OnActivity(target.CompareRestored, any, any).Return(func(_ context.Context, in activities.RestoreInput) (activities.PhaseResult, error) {
			order = append(order, "compare")
			return activities.PhaseResult{Notes: []string{"a role differs"}}, answer
		})
		ended, _ := moves(env, moving())
		env.ExecuteWorkflow(Switchover, SwitchoverInput{Group: "prod"})
		if !slices.Equal(order, []string{"let in", "publish", "compare"}) {
			t.Errorf("in the order %v", order)
		}
		if notes := strings.Join(ended.Workspaces[0].Notes, "; "); ended.State != topology.OperationCompleted || !strings.Contains(notes, want) {
			t.Errorf("%s, and says %q", ended.State, notes)
		}
	}
}
