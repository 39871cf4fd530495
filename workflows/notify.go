package workflows

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/workflow"

	"github.com/smartdr/smartdr/activities"
	"github.com/smartdr/smartdr/internal/topology"
)

// EventTest tries a hook: it goes to every hook of the group, once, whatever events they want.
const EventTest EventType = "hook.test"

// notify has an event delivered to the hooks, by a workflow of its own that outlives the caller. It fills in the event's id
// and time. It never fails, and does not wait for a delivery: what a hook does not take is that workflow's affair. Only where
// the caller may end right after it, it waits until that workflow is there, since Temporal starts none for a workflow that
// has closed.
func notify(ctx workflow.Context, e Event) {
	ctx, _ = workflow.NewDisconnectedContext(ctx) // never cancelled: that would end the delivery
	e.At = workflow.Now(ctx).UTC()
	e.ID = eventID(ctx, e)
	e.Operation = brief(e.Operation)
	started := workflow.ExecuteChildWorkflow(notifying(ctx, e), NotifyType, NotifyInput{Event: e}).GetChildWorkflowExecution()
	if !e.Type.last() {
		return
	}
	_, _ = workflow.AwaitWithTimeout(ctx, notifyStart, started.IsReady) // the end of an operation is no less true without a hook
}

// brief leaves out of an operation what is long: the specification wants bodies below 20 kB, and `smartdr operations` tells the
// rest.
func brief(op *topology.Operation) *topology.Operation {
	if op == nil {
		return nil
	}
	short := *op
	short.Phases = []topology.Phase{}
	short.Workspaces = slices.Clone(op.Workspaces)
	for i := range short.Workspaces {
		short.Workspaces[i].Notes, short.Workspaces[i].Databases = nil, []string{}
	}
	short.Fences = slices.Clone(op.Fences)
	for i := range short.Fences {
		short.Fences[i].Means, short.Fences[i].Before = nil, nil
	}
	return &short
}

// last reports whether what the event tells of may be the last thing that a workflow does.
func (t EventType) last() bool {
	return t != EventStarted && t != EventFenced && t != EventServing
}

// eventID is a UUID that is the same whenever the workflow is replayed.
func eventID(ctx workflow.Context, e Event) string {
	run := workflow.GetInfo(ctx).WorkflowExecution.RunID
	of := fmt.Sprintf("%s %s %s %s", run, e.Type, e.Workspace, e.At.Format("20060102T150405.000000000"))
	return uuid.NewSHA1(uuid.NameSpaceURL, []byte(of)).String()
}

func notifying(ctx workflow.Context, e Event) workflow.Context {
	return workflow.WithChildOptions(ctx, workflow.ChildWorkflowOptions{
		WorkflowID:            NotifyID(e.Group, e.ID),
		TaskQueue:             TaskQueue,
		WorkflowIDReusePolicy: enumspb.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE,
		ParentClosePolicy:     enumspb.PARENT_CLOSE_POLICY_ABANDON,
		StaticSummary:         strings.TrimSpace(fmt.Sprintf("tells hooks: %s %s %s", e.Group, e.Workspace, e.Type)),
		StaticDetails:         e.Message,
	})
}

// NotifyResult says what became of an event.
type NotifyResult struct {
	Deliveries []Delivery `json:"deliveries"`
}

// Delivery is what became of an event at one hook.
type Delivery struct {
	Hook      string  `json:"hook"`
	Delivered bool    `json:"delivered"`
	Answer    string  `json:"answer,omitempty"`
	Seconds   float64 `json:"seconds,omitempty"` // that the last attempt took
	Attempts  int32   `json:"attempts,omitempty"`
	Host      string  `json:"host,omitempty"` // whose worker delivered it
	Error     string  `json:"error,omitempty"`
	Hint      string  `json:"hint,omitempty"`
}

// Notify delivers one event to every hook that wants it, side by side, each with attempts for a day.
func Notify(ctx workflow.Context, in NotifyInput) (NotifyResult, error) {
	e := in.Event
	switch {
	case e.Group == "":
		return NotifyResult{}, invalid(`give one, as in {"event":{"group":"prod","type":"hook.test"}}`, "an event needs a group")
	case e.Type == "":
		return NotifyResult{}, invalid(`give one, as in {"event":{"group":"prod","type":"hook.test"}}`, "an event needs a type")
	}
	if err := topology.CheckName("group", e.Group); err != nil {
		return NotifyResult{}, refuseInvalid(err)
	}
	if e.ID == "" { // started by hand
		e.At = workflow.Now(ctx).UTC()
		e.ID = eventID(ctx, e)
	}
	body, err := json.Marshal(e)
	if err != nil {
		return NotifyResult{}, invalid("", "the event cannot be written as JSON: %s", err)
	}
	hooks, err := hooksFor(ctx, e)
	if err != nil {
		return NotifyResult{}, refuse(err)
	}
	out := NotifyResult{Deliveries: make([]Delivery, len(hooks))}
	open := workflow.NewWaitGroup(ctx)
	for i, h := range hooks {
		open.Add(1)
		workflow.Go(ctx, func(ctx workflow.Context) {
			defer open.Done()
			out.Deliveries[i] = deliver(ctx, e, h, body)
		})
	}
	open.Wait(ctx)
	return out, nil
}

// hooksFor asks a worker of the region that the event is about, and if nobody is there any other: all have the same hooks.
func hooksFor(ctx workflow.Context, e Event) (hooks []activities.Hook, err error) {
	in := activities.HooksInput{Event: string(e.Type), Group: e.Group, All: e.Type == EventTest}
	if e.Region != "" {
		err = workflow.ExecuteActivity(listingHooks(ctx, RegionQueue(e.Region)), control.Hooks, in).Get(ctx, &hooks)
		if err == nil {
			return hooks, nil
		}
	}
	err = workflow.ExecuteActivity(listingHooks(ctx, TaskQueue), control.Hooks, in).Get(ctx, &hooks)
	return hooks, err
}

// deliver delivers to one hook: from its own place, if it has one; else from the region that the event is about, and from any
// other while nobody is there.
func deliver(ctx workflow.Context, e Event, h activities.Hook, body json.RawMessage) Delivery {
	until := workflow.Now(ctx).Add(deliverFor)
	queues := []string{TaskQueue}
	switch {
	case h.Region != "":
		queues = []string{siteQueue(h.Region, h.Host)}
	case e.Region != "":
		queues = []string{RegionQueue(e.Region), TaskQueue}
	}
	d := Delivery{Hook: h.Name}
	in := activities.DeliverEventInput{Hook: h.Name, ID: e.ID, Type: string(e.Type), Body: body}
	for turn := 0; ; turn++ {
		var done activities.DeliverEventResult
		left := until.Sub(workflow.Now(ctx))
		attempt := delivering(ctx, queues[turn%len(queues)], left, e.Type == EventTest)
		if turn >= len(queues) {
			attempt = workflow.WithScheduleToStartTimeout(attempt, nobodyThere)
		}
		err := workflow.ExecuteActivity(attempt, control.DeliverEvent, in).Get(ctx, &done)
		if err == nil {
			d.Delivered, d.Answer, d.Seconds, d.Attempts, d.Host = true, done.Answer, done.Seconds, done.Attempt, done.Host
			return d
		}
		nobody := noWorker(err)
		if nobody && ctx.Err() == nil && workflow.Now(ctx).Before(until) && (e.Type != EventTest || turn < len(queues)-1) {
			continue
		}
		f := FailureOf(err)
		d.Error, d.Hint = f.Message, f.Hint
		if nobody {
			d.Error, d.Hint = "no worker on "+queues[turn%len(queues)]+" took it up", "Start smartdr-worker there."
		}
		return d
	}
}
