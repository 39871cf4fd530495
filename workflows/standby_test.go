package workflows

import (
	"context"
	"testing"

	"github.com/stretchr/testify/mock"

	"github.com/smartdr/smartdr/activities"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
)

// A standby that an operation has taken, or may take, stays in the group's document: a switchover that was ordered right after the end of
// preprovisioning planned with one that was being taken away.
func TestAStandbyThatIsTakenAwayIsForgottenUnlessAnOperationMayHaveIt(t *testing.T) {
	for kind, forgotten := range map[fault.Kind]int{fault.Fenced: 0, fault.Invalid: 1} {
		env, forgot := newEnv(t), 0
		env.OnActivity(target.RemoveStandby, mock.Anything, mock.Anything).Return(func(context.Context, activities.StandbyInput) error { return fails(kind, "no") })
		env.OnActivity(target.ForgetStandby, mock.Anything, mock.Anything).Return(func(context.Context, activities.StandbyInput) error { forgot++; return nil }).Maybe()
		env.ExecuteWorkflow(Standby, StandbyInput{Group: "prod", Workspace: "main", Region: "west", Epoch: 1, Remove: &topology.Standby{ID: "064f6b2f", Host: "a"}})
		if err := env.GetWorkflowError(); err != nil || forgot != forgotten {
			t.Errorf("%s: forgotten %d times, %v", kind, forgot, err)
		}
	}
}
