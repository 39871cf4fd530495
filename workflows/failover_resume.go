package workflows

import (
	"go.temporal.io/sdk/workflow"

	"github.com/smartdr/smartdr/activities"
	"github.com/smartdr/smartdr/internal/topology"
)

// resume goes on with the group's last failover, under its own id and epoch. What it has to do is what does not serve: the
// plan that stands says what was to be restored, and to which point.
func (f *failover) resume(ctx workflow.Context) error {
	var last topology.Operation
	find := asked(ctx, TaskQueue, "the failover to go on with")
	in := activities.FindFailoverInput{Group: f.in.Group, Kind: FailoverType}
	if err := workflow.ExecuteActivity(find, control.FindFailover, in).Get(ctx, &last); err != nil {
		return refuse(err)
	}
	if f.in.To != "" && f.in.To != last.To {
		return invalid("leave the region out, or start a new failover", "the last failover of group %q led to %q", f.in.Group, last.To)
	}
	last.State, last.Error, last.Hint = topology.OperationActive, "", ""
	last.Phases, last.EndedAt = endOpen(last.Phases, workflow.Now(ctx)), f.op.EndedAt
	f.op = last
	return f.labels.set(ctx, groupKey.ValueSet(f.op.Group), regionKey.ValueSet(f.op.To))
}
