package workflows

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/mock"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/workflow"

	"github.com/smartdr/smartdr/activities"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/hook"
	"github.com/smartdr/smartdr/internal/topology"
)

func TestTheEventsAreThoseThatHooksKnow(t *testing.T) {
	ours := []string{
		string(EventStarted), string(EventCompleted), string(EventFailed), string(EventCanceled), string(EventFenced), string(EventServing),
		string(EventProtected), string(EventUnprotected),
	}
	if diff := cmp.Diff(hook.Events, ours); diff != "" || string(EventTest) != hook.Test {
		t.Error(diff)
	}
}

// told runs Notify and returns what became of the event.
func told(t *testing.T, env *testsuite.TestWorkflowEnvironment, e Event) NotifyResult {
	t.Helper()
	env.SetTestTimeout(time.Minute)
	env.ExecuteWorkflow(Notify, NotifyInput{Event: e})
	var out NotifyResult
	if err := env.GetWorkflowResult(&out); err != nil {
		t.Fatal(err)
	}
	return out
}

func hooksAre(env *testsuite.TestWorkflowEnvironment, hooks ...activities.Hook) {
	env.OnActivity(control.Hooks, mock.Anything, mock.Anything).Return(hooks, nil)
}

var itServes = Event{Type: EventServing, Group: "prod", Region: "west", ID: "7", Workspace: "main", Message: "it serves"}

func TestNotifyTellsEachHookByItself(t *testing.T) {
	env := newEnv(t)
	hooksAre(env, activities.Hook{Name: "dns"}, activities.Hook{Name: "gone"}, activities.Hook{Name: "slow", Region: "east", Host: "e1"})
	attempts, queues := map[string]int{}, map[string]string{}
	var mu sync.Mutex
	env.SetOnActivityStartedListener(func(info *activity.Info, _ context.Context, args converter.EncodedValues) {
		var in activities.DeliverEventInput
		if info.ActivityType.Name == "DeliverEvent" && args.Get(&in) == nil {
			mu.Lock()
			defer mu.Unlock()
			queues[in.Hook] = info.TaskQueue
		}
	})
	env.OnActivity(control.DeliverEvent, mock.Anything, mock.Anything).Return(func(_ context.Context, in activities.DeliverEventInput) (activities.DeliverEventResult, error) {
		mu.Lock()
		defer mu.Unlock()
		attempts[in.Hook]++
		var e Event
		if err := json.Unmarshal(in.Body, &e); err != nil || e.Message != itServes.Message || in.ID != "7" || in.Type != "workspace.serving" {
			t.Errorf("%+v, %v", in, err)
		}
		switch {
		case in.Hook == "gone":
			return activities.DeliverEventResult{}, fails(fault.Invalid, "the answer is 410 Gone")
		case in.Hook == "slow" && attempts["slow"] < 5:
			return activities.DeliverEventResult{}, temporal.NewApplicationError("the answer is 503", string(fault.Transient))
		}
		return activities.DeliverEventResult{Answer: "204", Attempt: int32(attempts[in.Hook])}, nil
	})
	got := told(t, env, itServes)
	want := NotifyResult{Deliveries: []Delivery{
		{Hook: "dns", Delivered: true, Answer: "204", Attempts: 1}, {Hook: "gone", Error: "the answer is 410 Gone", Hint: "a hint"},
		{Hook: "slow", Delivered: true, Answer: "204", Attempts: 5},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[string]string{"dns": "smartdr-west", "gone": "smartdr-west", "slow": "smartdr-east/e1"}, queues); diff != "" {
		t.Error(diff)
	}
}

// An event of a lost region is told from anywhere else.
func TestNotifyGoesElsewhereWhereNobodyIs(t *testing.T) {
	env := newEnv(t)
	var queues []string
	nobody := temporal.NewTimeoutError(scheduleToStart, nil)
	env.OnActivity(control.Hooks, mock.Anything, mock.Anything).Return(nil, nobody).Once()
	env.OnActivity(control.Hooks, mock.Anything, mock.Anything).Return([]activities.Hook{{Name: "dns"}}, nil)
	env.SetOnActivityStartedListener(func(info *activity.Info, _ context.Context, _ converter.EncodedValues) {
		queues = append(queues, info.ActivityType.Name+" "+info.TaskQueue)
	})
	env.OnActivity(control.DeliverEvent, mock.Anything, mock.Anything).Return(activities.DeliverEventResult{}, nobody).Once()
	env.OnActivity(control.DeliverEvent, mock.Anything, mock.Anything).Return(activities.DeliverEventResult{Answer: "exit code 0"}, nil)
	got := told(t, env, itServes)
	want := []string{"Hooks smartdr-west", "Hooks smartdr", "DeliverEvent smartdr-west", "DeliverEvent smartdr"}
	if diff := cmp.Diff(want, slices.Compact(queues)); diff != "" || len(got.Deliveries) != 1 || !got.Deliveries[0].Delivered {
		t.Errorf("%+v %s", got, diff)
	}
}

func TestNotifyGivesUpAfterADayInWhichNobodyIsThere(t *testing.T) {
	env := newEnv(t)
	hooksAre(env, activities.Hook{Name: "dns"})
	tries := 0
	env.OnActivity(control.DeliverEvent, mock.Anything, mock.Anything).After(5 * time.Minute).Return(func(context.Context, activities.DeliverEventInput) (activities.DeliverEventResult, error) {
		tries++
		return activities.DeliverEventResult{}, temporal.NewTimeoutError(scheduleToStart, nil)
	})
	began := env.Now()
	got := told(t, env, itServes)
	if d := got.Deliveries[0]; d.Delivered || !strings.Contains(d.Error, "smartdr") || d.Hint == "" || tries < 200 {
		t.Errorf("%d tries, %+v", tries, d)
	}
	if took := env.Now().Sub(began); took < 24*time.Hour || took > 25*time.Hour {
		t.Errorf("it took %s", took)
	}
}

func TestATestIsTriedOnceAtEveryHook(t *testing.T) {
	env := newEnv(t)
	tries := 0
	env.OnActivity(control.Hooks, mock.Anything, activities.HooksInput{Event: "hook.test", Group: "prod", All: true}).Return([]activities.Hook{{Name: "dns"}}, nil)
	env.OnActivity(control.DeliverEvent, mock.Anything, mock.Anything).Return(func(context.Context, activities.DeliverEventInput) (activities.DeliverEventResult, error) {
		tries++
		return activities.DeliverEventResult{}, temporal.NewApplicationError("connection refused", string(fault.Transient))
	})
	got := told(t, env, Event{Type: EventTest, Group: "prod", Region: "west"})
	if tries != 1 || got.Deliveries[0].Error != "connection refused" {
		t.Errorf("%d tries, %+v", tries, got)
	}
}

func TestNotifyRefusesWhatIsNoEvent(t *testing.T) {
	for _, e := range []Event{{}, {Group: "prod"}, {Type: EventServing}, {Type: EventServing, Group: "Not A Name"}} {
		env := newEnv(t)
		env.ExecuteWorkflow(Notify, NotifyInput{Event: e})
		if f := failureOf(t, env); f.Type != string(fault.Invalid) || f.Hint == "" {
			t.Errorf("%+v: %+v", e, f)
		}
	}
}

// telling tells of an event and ends.
func telling(ctx workflow.Context, e Event) error {
	began := workflow.Now(ctx)
	notify(ctx, e)
	if took := workflow.Now(ctx).Sub(began); took > notifyStart {
		return fails(fault.Invalid, took.String())
	}
	return workflow.Sleep(ctx, 48*time.Hour)
}

// Whoever tells of an event waits for no delivery, and fails with none.
func TestNotifyHoldsUpNobody(t *testing.T) {
	for _, typ := range []EventType{EventStarted, EventCompleted} {
		env := newEnv(t)
		env.RegisterWorkflow(telling)
		var sent Event
		var ended error
		env.OnWorkflow(Notify, mock.Anything, mock.Anything).Return(func(ctx workflow.Context, in NotifyInput) (NotifyResult, error) {
			sent = in.Event
			ended = workflow.Sleep(ctx, 24*time.Hour)
			return NotifyResult{}, ended
		})
		op := topology.Operation{ID: "7", Phases: []topology.Phase{{Name: "Plan"}}, Workspaces: []topology.Recovered{{Workspace: "main", Notes: []string{"long"}}},
			Fences: []topology.Fence{{Workspace: "main", Means: []string{"long"}, Before: map[string]*string{"a": nil}}}}
		env.ExecuteWorkflow(telling, Event{Type: typ, Group: "prod", Operation: &op})
		if err := env.GetWorkflowError(); err != nil || ended != nil {
			t.Fatal(typ, err, ended)
		}
		if sent.ID == "" || sent.At.IsZero() || sent.Operation == nil {
			t.Fatalf("%s: sent %+v", typ, sent)
		}
		b, err := json.Marshal(sent)
		if err != nil || strings.Contains(string(b), "long") || len(op.Phases) != 1 || op.Workspaces[0].Notes == nil || op.Fences[0].Means == nil {
			t.Errorf("%s: sent %s of %+v, %v", typ, b, op, err)
		}
	}
}
