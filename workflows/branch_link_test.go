package workflows

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/mock"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/workflow"

	"github.com/smartdr/smartdr/activities"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
)

// branched is group prod with a branch that is attached, and a system-managed database.
func branched(links ...topology.Link) topology.Group {
	g := configured()
	g.SystemManaged = []topology.SystemManaged{{Name: "app_20261122T221000Z", Workspace: "main", Database: "app"}}
	g.Branches = []topology.Branch{
		{Name: "look-here", Workspace: "main", Database: "app", Region: "east", Attached: &topology.Attachment{ID: "1", State: topology.AttachmentServes, Host: "h1", Links: links}},
		{Name: "idle", Workspace: "main", Region: "east"},
	}
	return g
}

// linkSteps lets the activities of links say what they are asked for, in order.
func linkSteps(env *testsuite.TestWorkflowEnvironment, g topology.Group, steps *[]string) {
	say := func(parts ...string) { *steps = append(*steps, strings.TrimSpace(strings.Join(parts, " "))) }
	env.OnActivity(control.ReadGroup, mock.Anything, mock.Anything).Return(g, nil)
	env.OnActivity(target.OpenLink, mock.Anything, mock.Anything).Return(func(_ context.Context, in activities.LinkInput) (activities.LinkAccess, error) {
		say("open", in.Of, in.Key)
		return activities.LinkAccess{Attachment: "1", Key: "theirs"}, nil
	})
	env.OnActivity(source.MakeLink, mock.Anything, mock.Anything).Return(func(_ context.Context, in activities.ShowLinkInput) (activities.MadeLink, error) {
		say("make", in.Database, in.Schema, in.Access.Key)
		return activities.MadeLink{Server: "s", Key: "ours"}, nil
	})
	env.OnActivity(control.RecordLink, mock.Anything, mock.Anything).Return(func(_ context.Context, in activities.RecordLinkInput) (topology.Group, error) {
		if in.Remove {
			say("forget", in.Link.Schema)
			return branched(), nil
		}
		say("record", in.Link.Schema)
		return branched(in.Link), nil
	})
	env.OnActivity(source.FillLink, mock.Anything, mock.Anything).Return(func(_ context.Context, in activities.ShowLinkInput) (activities.FilledLink, error) {
		say("fill", in.Schema)
		return activities.FilledLink{Tables: 3, Notes: []string{"table public.odd is not shown"}}, nil
	})
	env.OnActivity(target.CloseLink, mock.Anything, mock.Anything).Return(func(_ context.Context, in activities.LinkInput) error { say("close", in.Of); return nil })
}

// A link is recorded before there is anything to see, and its second half is made when both sides agree on a password.
func TestLinkBranch(t *testing.T) {
	env := newEnv(t)
	var steps []string
	linkSteps(env, branched(), &steps)
	env.ExecuteWorkflow(LinkBranch, LinkBranchInput{Group: "prod", Branch: "look-here"})
	var result BranchResult
	if err := env.GetWorkflowResult(&result); err != nil {
		t.Fatal(err)
	}
	want := []string{"open app", "make app look_here theirs", "record look_here", "open app ours", "fill look_here"}
	if diff := cmp.Diff(want, steps); diff != "" {
		t.Error(diff)
	}
	if len(result.Notes) != 2 || !strings.Contains(result.Notes[0], "3 tables") || len(result.Branch.Attached.Links) != 1 {
		t.Errorf("result %+v", result)
	}
}

func TestWhatCannotBeLinked(t *testing.T) {
	for branch, want := range map[string]string{"app_20261122T221000Z": "smartdr branch create", "idle": "smartdr branch attach", "none": "smartdr branch list"} {
		env := newEnv(t)
		var steps []string
		linkSteps(env, branched(), &steps)
		env.ExecuteWorkflow(LinkBranch, LinkBranchInput{Group: "prod", Branch: branch, Of: "app"})
		if f := failureOf(t, env); !strings.Contains(f.Hint, want) || len(steps) > 0 {
			t.Errorf("%s: %+v after %q", branch, f, steps)
		}
	}
}

// What is unlinked is taken out, forgotten, and nobody is let into the branch for it any more.
func TestUnlinkBranch(t *testing.T) {
	env := newEnv(t)
	var steps []string
	linkSteps(env, branched(topology.Link{Database: "app", Of: "app", Schema: "a"}, topology.Link{Database: "other", Of: "app", Schema: "b"}), &steps)
	env.OnActivity(source.RemoveLink, mock.Anything, mock.Anything).Return(func(_ context.Context, in activities.RemoveLinkInput) error {
		steps = append(steps, "remove "+in.Link.Schema)
		return nil
	})
	env.ExecuteWorkflow(LinkBranch, LinkBranchInput{Group: "prod", Branch: "look-here", Schema: "b", Unlink: true})
	if err := env.GetWorkflowError(); err != nil {
		t.Fatal(err)
	}
	if want := []string{"remove b", "forget b", "close app"}; !slices.Equal(steps, want) {
		t.Errorf("went %q", steps)
	}
}

// A branch is detached also when the server that shows it cannot be reached; what is left there is said.
func TestDetachingDoesNotWaitForItsLinks(t *testing.T) {
	env := newEnv(t)
	var steps []string
	g := branched(topology.Link{Database: "app", Of: "app", Schema: "a"}, topology.Link{Database: "app", Of: "app", Schema: "b"})
	linkSteps(env, g, &steps)
	env.OnActivity(source.RemoveLink, mock.Anything, mock.Anything).Return(func(_ context.Context, in activities.RemoveLinkInput) error {
		if in.Link.Schema == "a" {
			return fails(fault.Invalid, "something else uses it")
		}
		return nil
	})
	env.ExecuteWorkflow(func(ctx workflow.Context) ([]string, error) { return unlinkAll(ctx, "prod", g.Branches[0]), nil })
	var notes []string
	if err := env.GetWorkflowResult(&notes); err != nil {
		t.Fatal(err)
	}
	if len(notes) != 1 || !strings.Contains(notes[0], "something else uses it") || !strings.Contains(notes[0], "smartdr branch unlink") || !slices.Equal(steps, []string{"forget b"}) {
		t.Errorf("noted %q after %q", notes, steps)
	}
}
