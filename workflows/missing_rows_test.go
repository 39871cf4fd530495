package workflows

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/mock"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"

	"github.com/smartdr/smartdr/activities"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/missing"
	"github.com/smartdr/smartdr/internal/topology"
)

// missingSteps lets the activities of a comparison say what they are asked for, in order. The server that was left had two databases.
func missingSteps(env *testsuite.TestWorkflowEnvironment, host string) *[]string {
	steps := &[]string{}
	say := func(parts ...string) { *steps = append(*steps, strings.Join(parts, " ")) }
	job := activities.MissingJob{Group: "prod", Workspace: "main", Serves: "west", On: "w1", Region: "west", Host: host, Lineage: "0001-0a0b0c0d",
		Databases: []activities.MissingOf{{Name: "app_1", Database: "app"}, {Name: "crm_1", Database: "crm"}}}
	env.OnActivity(control.ReadGroup, mock.Anything, mock.Anything).Return(topology.Group{Name: "prod", Active: "west"}, nil)
	env.OnActivity(target.PlaceMissing, mock.Anything, mock.Anything).Return(func(_ context.Context, in activities.PlaceMissingInput) (activities.PlaceMissingResult, error) {
		say("place", in.Of)
		return activities.PlaceMissingResult{Jobs: []activities.MissingJob{job}, Notes: []string{"more may come"}}, nil
	}).Maybe()
	env.OnActivity(target.RemoveMissing, mock.Anything, mock.Anything).Return(func(context.Context, activities.MissingJob) error { say("remove"); return nil }).Maybe()
	env.OnActivity(control.RecordMerged, mock.Anything, mock.Anything).Return(func(_ context.Context, in activities.RecordMergedInput) error {
		say("record", in.Name)
		return nil
	}).Maybe()
	return steps
}

func onRead(env *testsuite.TestWorkflowEnvironment, steps *[]string, err error) {
	env.OnActivity(target.ReadMissing, mock.Anything, mock.Anything).Return(func(_ context.Context, in activities.MissingJob) (activities.ReadMissingResult, error) {
		*steps = append(*steps, "read on "+in.Host)
		return activities.ReadMissingResult{Notes: []string{"crm was dropped"}}, err
	}).Maybe()
}

// onMerge lets databases be merged, but for one.
func onMerge(env *testsuite.TestWorkflowEnvironment, steps *[]string, not string) {
	env.OnActivity(source.MergeMissing, mock.Anything, mock.Anything).Return(func(_ context.Context, in activities.MergeMissingInput) (r activities.MergeMissingResult, err error) {
		if *steps = append(*steps, "merge "+in.Of.Database); in.Of.Database == not || not == "all" {
			return r, fails(fault.Invalid, "database "+in.Of.Database+" is not there")
		}
		if in.Policy != missing.Keep || in.Run == "" {
			return r, fails(fault.Invalid, "asked wrongly")
		}
		r = activities.MergeMissingResult{Summary: missing.Summary{Database: in.Of.Database, Applied: 3}, Report: "report of " + in.Of.Database}
		if in.Apply {
			r.Merged, r.Undo = &topology.Merged{Applied: 3}, "undo of "+in.Of.Database
		}
		return r, nil
	}).Maybe()
}

// A comparison reads the old server once, and then compares each of its databases; a merge is recorded.
func TestMissingRows(t *testing.T) {
	for apply, want := range map[bool][]string{
		false: {"place app", "read on h1", "merge app", "merge crm"},
		true:  {"place app", "read on h1", "merge app", "record app_1", "merge crm", "record crm_1"},
	} {
		env := newEnv(t)
		steps := missingSteps(env, "h1")
		onRead(env, steps, nil)
		onMerge(env, steps, "")
		env.ExecuteWorkflow(MissingRows, MissingRowsInput{Group: "prod", Of: "app", Apply: apply})
		var result MissingRowsResult
		if err := env.GetWorkflowResult(&result); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, *steps); diff != "" {
			t.Error(diff)
		}
		d := result.Databases
		if len(d) != 2 || d[0].Name != "app_1" || d[0].Report != "report of app" || d[0].Region != "west" || (d[1].Undo != "") != apply {
			t.Errorf("result %+v", d)
		}
		if !slices.Equal(result.Notes, []string{"more may come", "crm was dropped"}) {
			t.Errorf("notes %q", result.Notes)
		}
		value, err := env.QueryWorkflow(ProgressQuery)
		var progress MissingRowsProgress
		if err != nil || value.Get(&progress) != nil || len(progress.Steps) != 4 || progress.Steps[3].EndedAt.IsZero() {
			t.Errorf("progress %+v %v", progress, err)
		}
	}
}

// What was read of the old server before is not read again.
func TestMissingRowsThatWereReadBefore(t *testing.T) {
	env := newEnv(t)
	steps := missingSteps(env, "")
	onMerge(env, steps, "")
	env.ExecuteWorkflow(MissingRows, MissingRowsInput{Group: "prod"})
	if err := env.GetWorkflowError(); err != nil {
		t.Fatal(err)
	}
	if want := []string{"place ", "merge app", "merge crm"}; !slices.Equal(*steps, want) {
		t.Errorf("went %q", *steps)
	}
}

// A database that cannot be merged does not hold up the others, and is told.
func TestOneDatabaseThatCannotBeMerged(t *testing.T) {
	env := newEnv(t)
	steps := missingSteps(env, "")
	onMerge(env, steps, "app")
	env.ExecuteWorkflow(MissingRows, MissingRowsInput{Group: "prod", Apply: true})
	var result MissingRowsResult
	if err := env.GetWorkflowResult(&result); err != nil {
		t.Fatal(err)
	}
	if want := []string{"place ", "merge app", "merge crm", "record crm_1"}; !slices.Equal(*steps, want) {
		t.Errorf("went %q", *steps)
	}
	if d := result.Databases; len(d) != 2 || !strings.Contains(d[0].Error, "not there") || d[0].Hint != "a hint" || d[1].Error != "" || d[1].Summary.Applied != 3 {
		t.Errorf("result %+v", d)
	}
}

func TestMissingRowsFails(t *testing.T) {
	env := newEnv(t)
	steps := missingSteps(env, "h1")
	onRead(env, steps, fails(fault.Corrupt, "a segment is damaged"))
	env.ExecuteWorkflow(MissingRows, MissingRowsInput{Group: "prod"})
	if f := failureOf(t, env); f.Type != string(fault.Corrupt) || !slices.Equal(*steps, []string{"place ", "read on h1", "remove"}) {
		t.Errorf("%+v after %q", f, *steps)
	}
	env = newEnv(t)
	steps = missingSteps(env, "")
	onMerge(env, steps, "all")
	env.ExecuteWorkflow(MissingRows, MissingRowsInput{Group: "prod"})
	if f := failureOf(t, env); f.Type != string(fault.Invalid) || !strings.Contains(f.Message, "app is not there; database crm") {
		t.Errorf("%+v", f)
	}
	for _, in := range []MissingRowsInput{{}, {Group: "prod", OnConflict: "mine"}} {
		env := newEnv(t)
		env.ExecuteWorkflow(MissingRows, in)
		if f := failureOf(t, env); f.Type != string(fault.Invalid) || f.Hint == "" {
			t.Errorf("%+v: %+v", in, f)
		}
	}
}

// Who cancels gets the copy removed, and a merge that has committed by then is recorded.
func TestMissingRowsCanceled(t *testing.T) {
	env := newEnv(t)
	steps := missingSteps(env, "h1")
	canceled := make(chan struct{})
	env.OnActivity(target.ReadMissing, mock.Anything, mock.Anything).Return(func(_ context.Context, in activities.MissingJob) (activities.ReadMissingResult, error) {
		*steps = append(*steps, "read on "+in.Host)
		<-canceled
		return activities.ReadMissingResult{}, temporal.NewCanceledError()
	})
	env.RegisterDelayedCallback(func() { env.CancelWorkflow(); close(canceled) }, 50*time.Millisecond)
	env.ExecuteWorkflow(MissingRows, MissingRowsInput{Group: "prod", Apply: true})
	if err := env.GetWorkflowError(); err == nil || !slices.Contains(*steps, "remove") || slices.ContainsFunc(*steps, func(s string) bool { return strings.HasPrefix(s, "merge") }) {
		t.Errorf("%v after %q", err, *steps)
	}
}
