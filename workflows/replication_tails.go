package workflows

import (
	"slices"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/workflow"

	"github.com/smartdr/smartdr/internal/topology"
)

// bringTails lets what lineages that were left still have be brought home: it starts Tails when there is something to bring. One
// that runs already is as good; it is asked for again now and then, since its end would not be noticed.
func (e *entity) bringTails(ctx workflow.Context, s topology.GroupStatus) {
	if s.Group.State == topology.GroupTerminated || !slices.ContainsFunc(s.Workspaces, hasOpenTail) || workflow.Now(ctx).Before(e.tailsAgain) {
		return
	}
	options := workflow.WithChildOptions(ctx, workflow.ChildWorkflowOptions{
		WorkflowID:            TailsID(e.group),
		TaskQueue:             TaskQueue,
		WorkflowIDReusePolicy: enumspb.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE,
		ParentClosePolicy:     enumspb.PARENT_CLOSE_POLICY_ABANDON, // it may take longer than any run of ours
		StaticSummary:         "brings home what servers of " + e.group + " wrote after they were left",
	})
	future := workflow.ExecuteChildWorkflow(options, TailsType, TailsInput{Group: e.group})
	if err := future.GetChildWorkflowExecution().Get(ctx, nil); err != nil { // it runs, or the next turn tries again
		workflow.GetLogger(ctx).Debug("tails are not brought anew", "error", err)
	}
	e.tailsAgain = workflow.Now(ctx).Add(recheckChildren)
	workflow.Go(ctx, func(ctx workflow.Context) {
		if future.Get(ctx, nil) == nil { // what is left from now on is for another one
			e.tailsAgain = workflow.Now(ctx)
		}
	})
}

// hasOpenTail reports whether a server of the workspace may have more than the buckets do.
func hasOpenTail(w topology.WorkspaceStatus) bool {
	return slices.ContainsFunc(w.Tails, func(t topology.Tail) bool { return !t.Complete })
}

// tails is what one run of Replication remembers of Tails.
type tails struct {
	tailsAgain time.Time // before that it is not asked for again
}
