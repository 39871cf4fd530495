package workflows

import (
	"strings"
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/smartdr/smartdr/activities"
	"github.com/smartdr/smartdr/internal/topology"
)

// resume goes on with the group's last failover, under its own id and epoch, or with the switchover or failback that claimed the
// epoch since. What it has to do is what does not serve: the plan that stands says what was to be restored, and to which point.
func (f *failover) resume(ctx workflow.Context) error {
	var last topology.Operation
	find := asked(ctx, TaskQueue, "the failover to go on with")
	in := activities.FindFailoverInput{Group: f.in.Group, Kind: FailoverType, Moves: []string{SwitchoverType, FailbackType}}
	if err := workflow.ExecuteActivity(find, control.FindFailover, in).Get(ctx, &last); err != nil {
		return refuse(err)
	}
	return f.takeUp(ctx, last)
}

// takeUp makes an operation that has ended, and has brought up less than it should, this run's.
func (f *failover) takeUp(ctx workflow.Context, last topology.Operation) error {
	if f.in.To != "" && f.in.To != last.To {
		return invalid("leave the region out, or start a new failover", "the last %s of group %q led to %q", strings.ToLower(last.Kind), f.in.Group, last.To)
	}
	f.in.Resume = true
	f.op = reopened(last, workflow.Now(ctx))
	return f.labels.set(ctx, groupKey.ValueSet(f.op.Group), regionKey.ValueSet(f.op.To))
}

func reopened(op topology.Operation, now time.Time) topology.Operation {
	op.State, op.Error, op.Hint = topology.OperationActive, "", ""
	op.Phases, op.EndedAt = endOpen(op.Phases, now), time.Time{}
	return op
}

// retireLeft ends the servers that a switchover or failback has left, where it was gone on with.
func (f *failover) retireLeft(ctx workflow.Context) error {
	if f.op.Kind == FailoverType {
		return nil
	}
	g, err := f.readGroup(ctx)
	if err != nil {
		return err
	}
	s := &switchover{failover: f, home: f.op.Kind == FailbackType, group: g}
	return s.retire(ctx)
}

// unfinished returns the switchover or failback that has claimed the group's epoch and has not brought up everything: it is gone
// on with by the command that began it, and keeps any other one from beginning.
func (s *switchover) unfinished(ctx workflow.Context, g topology.Group) (op topology.Operation, is bool, err error) {
	if c := g.Claimed; g.Operation != nil || c == nil || c.Epoch <= g.Epoch && len(notBack(g)) == 0 {
		return op, false, nil
	}
	find := asked(ctx, TaskQueue, "who has claimed the epoch")
	in := activities.FindOperationInput{Group: g.Name, Operation: g.Claimed.Operation}
	if err := refuse(workflow.ExecuteActivity(find, control.FindOperation, in).Get(ctx, &op)); err != nil {
		return op, false, err
	}
	switch {
	case op.Kind == "" || op.State == topology.OperationCompleted:
		return op, false, nil
	case op.Kind != s.op.Kind:
		return op, false, invalid("resume it first: smartdr failover --group "+g.Name+" --resume",
			"the last %s of group %q (%s) has claimed epoch %d and has not brought everything back", strings.ToLower(op.Kind), g.Name, op.ID, g.Claimed.Epoch)
	}
	op.Epoch = g.Claimed.Epoch
	return op, true, nil
}
