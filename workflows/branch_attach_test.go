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
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

// attachSteps lets the activities of an attach say what they are asked for, in order. The branch is idle, in east; host h2 cannot run it.
func attachSteps(env *testsuite.TestWorkflowEnvironment, steps *[]string, fail map[string]error) {
	say := func(what string) error { *steps = append(*steps, what); return fail[what] }
	result := func(what string) func(context.Context, activities.RestoreInput) (activities.PhaseResult, error) {
		return func(context.Context, activities.RestoreInput) (activities.PhaseResult, error) {
			return activities.PhaseResult{Notes: []string{what}}, say(what)
		}
	}
	var recorded *topology.Attachment
	env.OnActivity(control.ReadGroup, mock.Anything, mock.Anything).Return(branched(), nil)
	env.OnActivity(target.PlanAttach, mock.Anything, mock.Anything).Return(func(_ context.Context, in activities.PlanAttachInput) (activities.PlanAttachResult, error) {
		host := "h2"
		if slices.Contains(in.Refused, host) {
			host = "h3"
		}
		plan := activities.WorkspacePlan{Workspace: "main", Snapshot: "s", Host: host}
		return activities.PlanAttachResult{Branch: topology.Branch{Name: in.Branch, Workspace: "main", Region: "east", Attached: recorded}, Plan: plan}, nil
	})
	env.OnActivity(target.CheckHost, mock.Anything, mock.Anything).Return(func(_ context.Context, in activities.CheckHostInput) (activities.PhaseResult, error) {
		if in.Plan.Host == "h2" {
			return activities.PhaseResult{}, fails(fault.Invalid, "h2 does not have PostgreSQL 18")
		}
		return activities.PhaseResult{}, nil
	})
	env.OnActivity(control.RecordAttachment, mock.Anything, mock.Anything).Return(func(_ context.Context, in activities.RecordAttachmentInput) (topology.Branch, error) {
		a := in.Attachment
		return topology.Branch{Name: in.Branch, Workspace: "main", Region: "east", Attached: &a}, say("record on " + a.Host)
	})
	env.OnActivity(target.ProvisionBranch, mock.Anything, mock.Anything).Return(func(_ context.Context, in activities.RestoreInput) (activities.ProvisionBranchResult, error) {
		return activities.ProvisionBranchResult{Plan: in.Plan, Place: activities.Place{Instance: "/i"}}, say("provision")
	})
	env.OnActivity(target.RestoreSnapshot, mock.Anything, mock.Anything).Return(result("files"))
	env.OnActivity(target.FetchWAL, mock.Anything, mock.Anything).Return(result("WAL"))
	env.OnActivity(target.AttachBranch, mock.Anything, mock.Anything).Return(func(_ context.Context, in activities.RestoreInput) (activities.AttachBranchResult, error) {
		return activities.AttachBranchResult{Lineage: topology.Lineage{ID: in.Plan.Lineage}}, say("recover")
	})
	env.OnActivity(target.RestoreMetadata, mock.Anything, mock.Anything).Return(result("metadata"))
	env.OnActivity(target.PublishBranch, mock.Anything, mock.Anything).Return(func(_ context.Context, in activities.PublishBranchInput) (topology.Branch, error) {
		a := topology.Attachment{ID: in.Attachment, State: topology.AttachmentServes, Host: "h3", ReadOnly: in.ReadOnly, Lineage: in.Attached.Lineage.ID}
		return topology.Branch{Name: in.Branch, Attached: &a}, say("publish")
	})
	env.OnActivity(control.EnsureBranchReplication, mock.Anything, mock.Anything).Return(func(context.Context, activities.EnsureBranchReplicationInput) error { return say("ship") })
	env.OnActivity(control.RecordDetached, mock.Anything, mock.Anything).Return(func(context.Context, activities.RecordDetachedInput) (topology.Branch, error) {
		return topology.Branch{}, say("forget")
	})
	env.OnActivity(target.RemoveBranchServer, mock.Anything, mock.Anything).Return(func(context.Context, activities.RestoreInput) error { return say("remove") })
}

func TestAttachBranch(t *testing.T) {
	brought := []string{"record on h3", "provision", "files", "WAL", "recover", "metadata", "publish"}
	for name, c := range map[string]struct {
		readOnly bool
		fail     map[string]error
		want     []string
		says     string
	}{
		"read-write":                    {want: append(slices.Clone(brought), "ship")},
		"read-only":                     {readOnly: true, want: brought},
		"what fails is taken away":      {fail: map[string]error{"WAL": fails(fault.Missing, "a gap")}, want: []string{"record on h3", "provision", "files", "WAL", "forget", "remove"}, says: "a gap"},
		"a host that does not remove":   {fail: map[string]error{"recover": fails(fault.Corrupt, "damaged"), "remove": fails(fault.Missing, "away")}, want: []string{"record on h3", "provision", "files", "WAL", "recover", "forget", "remove"}, says: "damaged"},
		"somebody else was faster":      {fail: map[string]error{"record on h3": fails(fault.Taken, "somebody else attaches it")}, want: []string{"record on h3"}, says: "somebody else"},
		"shipping is its host's affair": {fail: map[string]error{"ship": fails(fault.Invalid, "no")}, want: append(slices.Clone(brought), "ship")},
	} {
		t.Run(name, func(t *testing.T) {
			env := newEnv(t)
			env.RegisterWorkflow(AttachBranch)
			var steps []string
			attachSteps(env, &steps, c.fail)
			env.ExecuteWorkflow(AttachBranch, AttachBranchInput{Group: "prod", Branch: "idle", ReadOnly: c.readOnly})
			if diff := cmp.Diff(c.want, steps); diff != "" {
				t.Error(diff)
			}
			if c.says != "" {
				if f := failureOf(t, env); !strings.Contains(f.Message, c.says) {
					t.Errorf("failed with %q", f.Message)
				}
				return
			}
			var r BranchResult
			if err := env.GetWorkflowResult(&r); err != nil || r.Branch.Attached == nil || (r.Branch.Attached.Lineage == "") != c.readOnly || !slices.Equal(r.Notes, []string{"files", "WAL", "metadata"}) {
				t.Errorf("%+v, %v", r, err)
			}
		})
	}
}

// Who cancels an attach leaves nothing behind.
func TestAnAttachThatIsCanceledIsTakenAway(t *testing.T) {
	env := newEnv(t)
	env.RegisterWorkflow(AttachBranch)
	var steps []string
	attachSteps(env, &steps, map[string]error{"WAL": errTransient})
	env.RegisterDelayedCallback(env.CancelWorkflow, 5*time.Second)
	env.ExecuteWorkflow(AttachBranch, AttachBranchInput{Group: "prod", Branch: "idle"})
	if n := len(steps); n < 2 || steps[n-2] != "forget" || steps[n-1] != "remove" || !temporal.IsCanceledError(env.GetWorkflowError()) {
		t.Errorf("%v, %v", steps, env.GetWorkflowError())
	}
}

// A branch's server may be lost with what was written to it: only who gives that up goes on without it.
func TestDetachBranch(t *testing.T) {
	lost := fails(fault.Missing, "host h1 does not have its server any more")
	for name, c := range map[string]struct {
		discard, later bool
		drain          error
		want           []string
	}{
		"shipped":          {want: []string{"ship", "drain", "forget", "remove"}},
		"lost":             {drain: lost, want: []string{"ship", "drain"}},
		"lost, and gone":   {drain: lost, discard: true, want: []string{"discard", "remove"}},
		"given up waiting": {drain: errTransient, later: true, want: []string{"ship", "drain", "discard", "remove"}},
	} {
		t.Run(name, func(t *testing.T) {
			env := newEnv(t)
			env.RegisterWorkflow(DetachBranch)
			var steps []string
			detachSteps(env, &steps, c.drain)
			if c.later {
				env.RegisterDelayedCallback(func() { env.SignalWorkflow(DiscardSignal, nil) }, 5*time.Second)
			}
			env.ExecuteWorkflow(DetachBranch, DetachBranchInput{Group: "prod", Branch: "look-here", Discard: c.discard})
			if diff := cmp.Diff(c.want, slices.Compact(steps)); diff != "" {
				t.Error(diff)
			}
			if failed := env.GetWorkflowError() != nil; failed != (c.drain != nil && !c.discard && !c.later) {
				t.Errorf("ended with %v", env.GetWorkflowError())
			}
			var r BranchResult
			if !c.discard && !c.later {
				return
			}
			if err := env.GetWorkflowResult(&r); err != nil || len(r.Notes) != 1 || !strings.Contains(r.Notes[0], "all of it was given up") {
				t.Errorf("it says %q, %v", r.Notes, err)
			}
		})
	}
}

// Where a branch ends is said as its document has it.
func TestWhereADiscardedBranchEnds(t *testing.T) {
	end := topology.LineageEnd{At: wal.Position{Timeline: 2, LSN: 0x3000100}, LastCommit: time.Unix(5, 0)}
	announced := end
	announced.Announced = true
	for name, c := range map[string]struct {
		line []topology.Lineage
		want string
	}{
		"nothing arrived": {nil, "nothing of what was written since 1970-01-01 00:00:01 UTC was known to be in the bucket of east: all of it was given up"},
		"some": {[]topology.Lineage{{ID: "0001-0000000b", End: &end}},
			"of what was written since 1970-01-01 00:00:01 UTC it has all up to 0/3000100 of lineage 0001-0000000b, whose last commit was at 1970-01-01 00:00:05 UTC; the rest was given up, also what still arrives in the bucket"},
		"announced": {[]topology.Lineage{{ID: "0001-0000000b", End: &announced}}, " (announced last: the bucket of east did not answer); the rest was given up"},
	} {
		d := detaching{a: topology.Attachment{Lineage: "0001-0000000b", Since: time.Unix(1, 0)}}
		if got := d.givenUp(topology.Branch{Region: "east", Line: c.line}); !strings.Contains(got, c.want) {
			t.Errorf("%s: %q", name, got)
		}
	}
}

func detachSteps(env *testsuite.TestWorkflowEnvironment, steps *[]string, drain error) {
	say := func(what string) { *steps = append(*steps, what) }
	g := branched()
	b := g.Branches[0]
	b.Attached.Endpoint.Hosts = []topology.HostPort{{Host: "h1", Port: 7000}}
	env.OnActivity(control.ReadGroup, mock.Anything, mock.Anything).Return(g, nil)
	env.OnActivity(control.RecordDetaching, mock.Anything, mock.Anything).Return(b, nil)
	env.OnActivity(control.EnsureBranchReplication, mock.Anything, mock.Anything).Return(func(context.Context, activities.EnsureBranchReplicationInput) error { say("ship"); return nil })
	env.OnActivity(target.DrainBranch, mock.Anything, mock.Anything).Return(func(context.Context, activities.BranchInput) (activities.DetachedResult, error) {
		say("drain")
		return activities.DetachedResult{}, drain
	})
	env.OnActivity(control.RecordDetached, mock.Anything, mock.Anything).Return(func(_ context.Context, in activities.RecordDetachedInput) (topology.Branch, error) {
		if in.Discard {
			say("discard")
		} else {
			say("forget")
		}
		return topology.Branch{}, nil
	})
	env.OnActivity(target.RemoveBranchServer, mock.Anything, mock.Anything).Return(func(context.Context, activities.RestoreInput) error { say("remove"); return nil })
}

// errTransient is what is tried again.
var errTransient = temporal.NewApplicationError("the bucket does not answer", string(fault.Transient))
