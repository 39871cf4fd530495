package workflows

import (
	"slices"

	"go.temporal.io/sdk/workflow"

	"github.com/smartdr/smartdr/activities"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
)

// fencing is a server that is fenced: the input of its activities, and where they run.
type fencing struct {
	activities.FenceInput
	region, host string
}

// fencings are the servers that write the current lineages of a group's workspaces.
func fencings(g topology.Group, operation string, before bool) (all []fencing) {
	for i := range g.Workspaces {
		w := &g.Workspaces[i]
		l := w.CurrentLineage()
		if l == nil || !w.Recoverable() {
			continue
		}
		in := activities.FenceInput{Group: g.Name, Workspace: w.Name, Lineage: l.ID, Operation: operation, Before: before}
		all = append(all, fencing{in, l.Region, w.Sites[l.Region].Host})
	}
	return all
}

// fenceAll fences servers side by side, before an epoch is claimed. The fences are those that were set, also when it fails for
// others: the caller lifts them all.
func fenceAll(ctx workflow.Context, all []fencing) ([]topology.Fence, error) {
	return eachFence(ctx, all, source.Fence, "fence ")
}

// commitAll makes fences stay. A failure of type Conflict means that one was lifted: do not claim.
func commitAll(ctx workflow.Context, all []fencing) ([]topology.Fence, error) {
	return eachFence(ctx, all, source.CommitFence, "keep the fence of ")
}

// liftAll lifts fences that hold. One that was never set is fine.
func liftAll(ctx workflow.Context, all []fencing) ([]topology.Fence, error) {
	return eachFence(ctx, all, source.LiftFence, "lift the fence of ")
}

// liftCommitted lifts all fences of an operation that has decided that it claims nothing, also those that were committed.
func liftCommitted(ctx workflow.Context, all []fencing) ([]topology.Fence, error) {
	return eachFence(ctx, all, source.LiftCommitted, "lift the fence of ")
}

// eachFence does the same for all servers, side by side. When one of them fails by a Conflict, the whole does.
func eachFence(ctx workflow.Context, all []fencing, activity any, summary string) ([]topology.Fence, error) {
	fences, errs := make([]topology.Fence, len(all)), make([]error, len(all))
	open := workflow.NewWaitGroup(ctx)
	for i, f := range all {
		open.Add(1)
		workflow.Go(ctx, func(ctx workflow.Context) {
			defer open.Done()
			at := fencingNow(ctx, siteQueue(f.region, f.host), summary+f.Workspace)
			errs[i] = refuseOn(f.region, f.host, workflow.ExecuteActivity(at, activity, f.FenceInput).Get(ctx, &fences[i]))
		})
	}
	open.Wait(ctx)
	slices.SortStableFunc(errs, func(a, b error) int { return conflicts(b) - conflicts(a) })
	return set(fences), joined(errs)
}

// conflicts is 1 for an error which says that another one has decided otherwise, else 0.
func conflicts(err error) int {
	if err != nil && FailureOf(err).Type == string(fault.Conflict) {
		return 1
	}
	return 0
}

// set leaves out what was not fenced.
func set(fences []topology.Fence) (done []topology.Fence) {
	for _, f := range fences {
		if f.Lineage != "" {
			done = append(done, f)
		}
	}
	return done
}
