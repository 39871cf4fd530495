package workflows

import (
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/smartdr/smartdr/internal/topology"
)

// fencedWithin is how long after its claim a failover waits to hear from the side that it left: long enough for a server that
// answers. One that does not is fenced by its own region's worker once that is back.
const fencedWithin = 3 * time.Second

// fenceLeft has the servers of the side that was left fenced, beside what goes on: they may be alive, and clients still write to
// them. The returned function puts into the account how far that went.
func (f *failover) fenceLeft(ctx workflow.Context) (account func()) {
	all := fencings(f.left, f.op.ID, false)
	said := make([]topology.Fence, len(all))
	open := len(all)
	latest := workflow.Now(ctx).Add(fencedWithin)
	for i, server := range all {
		workflow.Go(ctx, func(ctx workflow.Context) {
			done, err := fenceAll(ctx, []fencing{server})
			if err != nil || len(done) == 0 {
				said[i] = unfenced(server, f.left.Epoch, err)
			} else {
				said[i] = done[0]
				f.tell(ctx, Event{Type: EventFenced, Workspace: server.Workspace, Region: server.region,
					Message: "the server of workspace " + server.Workspace + " in " + server.region + " takes no more writes: " + string(done[0].Worth)})
			}
			open--
		})
	}
	return func() {
		if left := latest.Sub(workflow.Now(ctx)); left > 0 {
			_, _ = workflow.AwaitWithTimeout(ctx, left, func() bool { return open == 0 }) // what is not known then is not waited for
		}
		for i, server := range all {
			if said[i].Lineage == "" {
				said[i] = unfenced(server, f.left.Epoch, nil)
			}
		}
		if len(all) > 0 { // else the account keeps what was said of them before
			f.op.Fences = said
		}
	}
}

// unfenced is what is to be said of a server that could not be reached.
func unfenced(server fencing, epoch topology.Epoch, err error) topology.Fence {
	why := "it did not answer in time"
	if err != nil {
		why = FailureOf(err).Message
	}
	return topology.Fence{
		Group: server.Group, Workspace: server.Workspace, Lineage: server.Lineage, Region: server.region, Epoch: epoch,
		State: topology.FenceCommitted, Worth: topology.FenceNone, Operation: server.Operation,
		Reason: why + "; it is fenced when its region's worker is back",
	}
}
