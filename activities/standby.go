package activities

import (
	"context"

	"github.com/smartdr/smartdr/internal/fault"
)

var errNotThere = fault.Newf(fault.Invalid, "keep standby", "not there yet")

// PlanStandby says how a workspace's standby is made: the group's document names it from then on. One that is there already
// and can go on with the current lineage is gone on with.
func (t *Target) PlanStandby(ctx context.Context, in StandbyInput) (PlanStandbyResult, error) {
	return PlanStandbyResult{}, judge(ctx, errNotThere)
}

// RemoveStandby takes a standby away: its server is stopped and its folder removed, unless it was promoted.
func (t *Target) RemoveStandby(ctx context.Context, in StandbyInput) error {
	return judge(ctx, errNotThere)
}

// AdoptStandby makes a standby's folder an operation's, after which it is attached as a restored one is.
func (t *Target) AdoptStandby(ctx context.Context, in RestoreInput) (PhaseResult, error) {
	return PhaseResult{}, judge(ctx, errNotThere)
}
