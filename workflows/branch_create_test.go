package workflows

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/mock"

	"github.com/smartdr/smartdr/activities"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
)

// The region that serves is asked first; the other one where that cannot, and none but the one that was named.
func TestCreateBranchAsksTheRegionsInTurn(t *testing.T) {
	for name, c := range map[string]struct {
		in    CreateBranchInput
		have  []string
		asked string
		fails string
	}{
		"both have it":           {CreateBranchInput{Group: "prod", Of: "app"}, []string{"east", "west"}, "east", ""},
		"the other one has it":   {CreateBranchInput{Group: "prod", Of: "app"}, []string{"west"}, "east west", ""},
		"none has it":            {CreateBranchInput{Group: "prod", Of: "app"}, nil, "east west", "not in east"},
		"one was named":          {CreateBranchInput{Group: "prod", Of: "app", Region: "west"}, nil, "west", "not in west"},
		"a branch of a branch":   {CreateBranchInput{Group: "prod", Of: "one"}, []string{"west"}, "west", ""},
		"read-only, but no more": {CreateBranchInput{Group: "prod", ReadOnly: true}, nil, "", "not to be"},
		"no group":               {CreateBranchInput{}, nil, "", "needs a group"},
	} {
		env := newEnv(t)
		env.RegisterWorkflow(CreateBranch)
		g := configured()
		g.Branches = []topology.Branch{{Name: "one", Region: "west"}}
		env.OnActivity(control.ReadGroup, mock.Anything, mock.Anything).Return(g, nil).Maybe()
		var asked []string
		env.OnActivity(target.ResolveBranch, mock.Anything, mock.Anything).Return(func(_ context.Context, in activities.ResolveBranchInput) (topology.Branch, error) {
			asked = append(asked, in.Region)
			if !slices.Contains(c.have, in.Region) {
				return topology.Branch{}, fails(fault.Missing, "not in "+in.Region)
			}
			return topology.Branch{Name: "new", Region: in.Region}, nil
		}).Maybe()
		env.OnActivity(target.RecordBranch, mock.Anything, mock.Anything).Return(func(_ context.Context, in activities.RecordBranchInput) (activities.RecordBranchResult, error) {
			return activities.RecordBranchResult{Branch: in.Branch, Bytes: 400}, nil
		}).Maybe()
		env.ExecuteWorkflow(CreateBranch, c.in)
		var made BranchResult
		err := env.GetWorkflowResult(&made)
		if (err == nil) != (c.fails == "") || err != nil && !strings.Contains(err.Error(), c.fails) || err == nil && (made.Bytes != 400 || made.Branch.Name != "new") {
			t.Errorf("%s: %+v, %v", name, made, err)
		}
		if strings.Join(asked, " ") != c.asked {
			t.Errorf("%s: asked %q, want %q", name, asked, c.asked)
		}
	}
}
