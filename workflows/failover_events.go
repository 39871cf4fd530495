package workflows

import (
	"fmt"

	"go.temporal.io/sdk/workflow"

	"github.com/smartdr/smartdr/internal/topology"
)

// tell has the hooks told of the operation as it stands. What e leaves out is filled in: who it is about, and the account.
func (f *failover) tell(ctx workflow.Context, e Event) {
	e.Group, e.Epoch = f.op.Group, f.op.Epoch
	if e.Region == "" {
		e.Region = f.op.To
	}
	op := f.op
	e.Operation = &op
	notify(ctx, e)
}

// tellStart says that the operation holds the group.
func (f *failover) tellStart(ctx workflow.Context) {
	f.tell(ctx, Event{Type: EventStarted, Message: fmt.Sprintf("%s of group %s from %s to %s has begun", f.op.Kind, f.op.Group, f.op.From, f.op.To)})
}

// tellFenced says that servers take no more writes, and that this stays so.
func (f *failover) tellFenced(ctx workflow.Context, fences []topology.Fence) {
	for _, fence := range fences {
		f.tell(ctx, Event{Type: EventFenced, Workspace: fence.Workspace, Region: fence.Region,
			Message: fmt.Sprintf("the server of workspace %s in %s takes no more writes: %s", fence.Workspace, fence.Region, fence.Worth)})
	}
}

// tellServing says that clients can use a workspace's endpoint.
func (f *failover) tellServing(ctx workflow.Context, workspace string, at topology.Endpoint) {
	f.tell(ctx, Event{Type: EventServing, Workspace: workspace, Endpoint: &at,
		Message: fmt.Sprintf("workspace %s of group %s serves in %s", workspace, f.op.Group, f.op.To)})
}

// tellEnd says how the operation ended.
func (f *failover) tellEnd(ctx workflow.Context) {
	e := Event{Type: EventFailed, Message: fmt.Sprintf("%s of group %s to %s: %s", f.op.Kind, f.op.Group, f.op.To, f.op.State)}
	switch f.op.State {
	case topology.OperationCompleted:
		e.Type = EventCompleted
	case topology.OperationCanceled, topology.OperationReverted:
		e.Type = EventCanceled
	}
	if f.op.Error != "" {
		e.Message += ": " + f.op.Error
	}
	f.tell(ctx, e)
}
