package workflows

import (
	"fmt"
	"strings"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/smartdr/smartdr/activities"
	"github.com/smartdr/smartdr/internal/topology"
)

// watchReadiness has it checked whether a failover would work, regularly and soon after another region began to serve. It
// runs beside the entity's loop, which must not wait for a bucket that is away.
func (e *entity) watchReadiness(ctx workflow.Context) {
	for ctx.Err() == nil {
		if err := workflow.Await(ctx, func() bool { return e.replicated() != nil }); err != nil {
			return
		}
		g := *e.replicated()
		found, every := checkReadiness(ctx, g.Name, g.Other(g.Active)), readinessEvery
		if found.State == topology.ReadinessBlocking {
			every = readinessAgain
		}
		e.readiness = found.text
		measureStored(ctx, g.Name)
		changed := func() bool { now := e.replicated(); return now == nil || now.Epoch != g.Epoch }
		if _, err := workflow.AwaitWithTimeout(ctx, every, changed); err != nil {
			return
		}
	}
}

// replicated returns the group as last observed, if there is something to fail over to.
func (e *entity) replicated() *topology.Group {
	s := e.state.Status
	if s == nil || s.Group.Replication == nil || s.Group.Secondary == "" || s.Group.State == topology.GroupTerminated {
		return nil
	}
	return &s.Group
}

// checked is what a check found, and how it is shown.
type checked struct {
	activities.CheckReadinessResult
	text string
}

// checkReadiness asks a worker of the region that a failover would go to, since what counts is what works from there: its
// keys, its clock, its way to the buckets. If there is none any other worker says so.
func checkReadiness(ctx workflow.Context, group, to string) checked {
	var r activities.CheckReadinessResult
	in := activities.ReadGroupInput{Group: group}
	err := workflow.ExecuteActivity(checking(ctx, RegionQueue(to)), control.CheckReadiness, in).Get(ctx, &r)
	if err != nil && !temporal.IsCanceledError(err) {
		err = workflow.ExecuteActivity(checking(ctx, TaskQueue), control.CheckReadiness, in).Get(ctx, &r)
	}
	if err != nil {
		return checked{text: "**Readiness could not be checked:** " + FailureOf(err).Message}
	}
	return checked{r, readinessDetails(r)}
}

// measureStored keeps it known what the buckets hold, which is what they mostly cost. The activity lists no more than once an
// hour. What fails is tried again the next time.
func measureStored(ctx workflow.Context, group string) {
	_ = workflow.ExecuteActivity(measuring(ctx), control.MeasureStored, activities.ReadGroupInput{Group: group}).Get(ctx, nil)
}

// readinessDetails is a check's result in markdown, for the Temporal UI.
func readinessDetails(r activities.CheckReadinessResult) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Readiness: **%s**, checked %s\n", r.State, r.CheckedAt.UTC().Format("15:04:05 MST"))
	for _, i := range r.Items {
		fmt.Fprintf(&b, "- %s %s: %s", i.State, strings.TrimSpace(i.Workspace+" "+i.Check), i.Text)
		b.WriteString(" " + i.Todo + "\n")
	}
	if r.More > 0 {
		fmt.Fprintf(&b, "- and %d more: smartdr readiness\n", r.More)
	}
	return b.String()
}
