package workflows

import (
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/workflow"

	"github.com/smartdr/smartdr/activities"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
)

// ExpireType is the workflow type that goes on with retention of a group that is terminated: ExpireInput; started by its Replication.
const ExpireType = "Expire"

// ExpireID is its workflow id.
func ExpireID(group string) string { return id(group, "expire") }

// ExpireInput names the group.
type ExpireInput struct {
	Group string `json:"group"`
}

// Expire looks through the buckets of a terminated group once an hour, as its Replication did before, until there is nothing left in them but its
// documents. What branches and system-managed databases need stays until those are dropped.
func Expire(ctx workflow.Context, in ExpireInput) error {
	if in.Group == "" {
		return invalid(`give one, as in {"group":"prod"}`, "it is not said which group")
	}
	if err := label(ctx, groupKey.ValueSet(in.Group)); err != nil {
		return err
	}
	for !workflow.GetInfo(ctx).GetContinueAsNewSuggested() {
		if over, err := expire(ctx, in.Group); over || err != nil {
			return refuse(err)
		}
		if err := workflow.Sleep(ctx, sweepEvery); err != nil {
			return err
		}
	}
	return workflow.NewContinueAsNewError(ctx, Expire, in)
}

// expire makes one round, and reports whether it was the last one.
func expire(ctx workflow.Context, name string) (over bool, err error) {
	var group topology.Group
	err = workflow.ExecuteActivity(asked(ctx, TaskQueue, "read the group"), control.ReadGroup, activities.ReadGroupInput{Group: name}).Get(ctx, &group)
	if err != nil {
		return false, untilNextRound(ctx, name, err)
	}
	if group.State != topology.GroupTerminated {
		return false, invalid("Its own Replication sees to it.", "group %s is not terminated", name)
	}
	over = true
	for _, region := range []string{group.Primary, group.Secondary} {
		if region == "" {
			continue
		}
		var swept topology.Swept
		failed := workflow.ExecuteChildWorkflow(retaining(ctx, name, region), RetentionType, RetentionInput{Group: name, Region: region}).Get(ctx, &swept)
		if err := untilNextRound(ctx, name, failed); err != nil {
			return false, err
		}
		over = over && failed == nil && swept.Nothing()
	}
	return over, nil
}

// untilNextRound passes over what may be different in an hour. What another control plane acts for is its affair, and what was removed nobody's.
func untilNextRound(ctx workflow.Context, group string, err error) error {
	if err == nil {
		return nil
	}
	switch FailureOf(err).Type {
	case string(fault.Fenced), string(fault.Missing):
		return err
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	workflow.GetLogger(ctx).Warn("a terminated group's buckets are looked through an hour later", "group", group, "error", err)
	return nil
}

// startExpire returns as soon as it runs. One that runs already is as good.
func startExpire(ctx workflow.Context, group string) {
	options := workflow.WithChildOptions(ctx, workflow.ChildWorkflowOptions{
		WorkflowID:            ExpireID(group),
		TaskQueue:             TaskQueue,
		WorkflowIDReusePolicy: enumspb.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE,
		ParentClosePolicy:     enumspb.PARENT_CLOSE_POLICY_ABANDON,
		StaticSummary:         "removes what terminated group " + group + " left in the buckets, as its retention ends",
	})
	if err := workflow.ExecuteChildWorkflow(options, ExpireType, ExpireInput{Group: group}).GetChildWorkflowExecution().Get(ctx, nil); err != nil {
		workflow.GetLogger(ctx).Debug("it runs already", "workflow", ExpireID(group), "error", err)
	}
}
