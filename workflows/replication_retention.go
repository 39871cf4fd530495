package workflows

import (
	"hash/fnv"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/workflow"

	"github.com/smartdr/smartdr/internal/topology"
)

// sweeps is what one run of Replication remembers of Retention, by region: when it is due.
type sweeps struct{ due map[string]time.Time }

// keepRetention lets each region's bucket be looked through once an hour, at a minute of its own, so that not all groups of an installation do it
// at once.
func (e *entity) keepRetention(ctx workflow.Context, g topology.Group) {
	if g.State == topology.GroupTerminated || g.Operation != nil {
		return
	}
	if e.sweeps.due == nil {
		e.sweeps.due = map[string]time.Time{}
	}
	for _, region := range []string{g.Primary, g.Secondary} {
		if region == "" {
			continue
		}
		now := workflow.Now(ctx)
		due, known := e.sweeps.due[region]
		if !known {
			e.sweeps.due[region] = nextSweep(now, g.Name, region)
			continue
		}
		if now.Before(due) {
			continue
		}
		e.sweeps.due[region] = nextSweep(now.Add(time.Minute), g.Name, region)
		if err := startRetention(ctx, g.Name, region); err != nil { // it runs, or the next hour does it
			workflow.GetLogger(ctx).Debug("retention was not started", "region", region, "error", err)
		}
	}
}

// nextSweep returns the first moment of a group and region after another one. A run of Replication that begins anew comes to the same one.
func nextSweep(after time.Time, group, region string) time.Time {
	h := fnv.New32a()
	h.Write([]byte(group + "/" + region))
	at := after.Truncate(sweepEvery).Add(time.Duration(h.Sum32()) % sweepEvery)
	if at.Before(after) {
		at = at.Add(sweepEvery)
	}
	return at
}

// startRetention returns as soon as it runs.
func startRetention(ctx workflow.Context, group, region string) error {
	return workflow.ExecuteChildWorkflow(retaining(ctx, group, region), RetentionType, RetentionInput{Group: group, Region: region}).GetChildWorkflowExecution().Get(ctx, nil)
}

// retaining is for a round of Retention.
func retaining(ctx workflow.Context, group, region string) workflow.Context {
	return workflow.WithChildOptions(ctx, workflow.ChildWorkflowOptions{
		WorkflowID:            RetentionID(group, region),
		TaskQueue:             TaskQueue,
		WorkflowIDReusePolicy: enumspb.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE,
		ParentClosePolicy:     enumspb.PARENT_CLOSE_POLICY_ABANDON, // it may take longer than any run of ours
		StaticSummary:         "removes from the bucket of " + region + " what nothing needs of " + group,
	})
}
