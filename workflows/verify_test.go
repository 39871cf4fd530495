package workflows

import (
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/mock"

	"github.com/smartdr/smartdr/activities"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
)

// Both buckets are checked, and one that cannot be does not hold up the other.
func TestVerifyChecksBothBuckets(t *testing.T) {
	env := newEnv(t)
	env.RegisterWorkflow(Verify)
	env.OnActivity(control.ReadGroup, mock.Anything, mock.Anything).Return(configured(), nil)
	env.OnActivity(control.VerifyBucket, mock.Anything, mock.Anything).Return(func(_ context.Context, in activities.VerifyBucketInput) (topology.Verified, error) {
		if in.Group != "prod" || in.Read != topology.VerifySample {
			t.Errorf("asked for %+v", in)
		}
		if in.Region == "east" {
			return topology.Verified{}, fails(fault.Invalid, "access denied")
		}
		return topology.Verified{Region: in.Region, Objects: 3, Lost: []topology.Lost{{Text: "gone"}}}, nil
	})
	env.ExecuteWorkflow(Verify, VerifyInput{Group: "prod"})
	var got VerifyResult
	if err := env.GetWorkflowResult(&got); err != nil {
		t.Fatal(err)
	}
	if len(got.Regions) != 2 || !strings.Contains(got.Regions[0].Error, "access denied") || !got.Regions[1].Broken() || got.Regions[1].Objects != 3 {
		t.Errorf("found %+v", got)
	}
	if details := got.details(); !strings.Contains(details, "east could not be checked") || !strings.Contains(details, "- gone") {
		t.Errorf("shows %s", details)
	}
}

// The only bucket that was asked about is an error when it cannot be checked.
func TestVerifyOfOneBucketFailsWithIt(t *testing.T) {
	env := newEnv(t)
	env.RegisterWorkflow(Verify)
	env.OnActivity(control.ReadGroup, mock.Anything, mock.Anything).Return(configured(), nil)
	env.OnActivity(control.VerifyBucket, mock.Anything, activities.VerifyBucketInput{Group: "prod", Region: "west", Read: "all"}).
		Return(topology.Verified{}, fails(fault.Invalid, "access denied"))
	env.ExecuteWorkflow(Verify, VerifyInput{Group: "prod", Region: "west", Read: "all"})
	if f := failureOf(t, env); !strings.Contains(f.Message, "access denied") {
		t.Errorf("failed with %+v", f)
	}
}

func TestVerifyRefuses(t *testing.T) {
	for want, in := range map[string]VerifyInput{
		"needs a group":       {},
		"no way to read":      {Group: "prod", Read: "most"},
		`no region "nowhere"`: {Group: "prod", Region: "nowhere"},
	} {
		env := newEnv(t)
		env.RegisterWorkflow(Verify)
		env.OnActivity(control.ReadGroup, mock.Anything, mock.Anything).Return(configured(), nil).Maybe()
		env.ExecuteWorkflow(Verify, in)
		if f := failureOf(t, env); !strings.Contains(f.Message, want) || f.Hint == "" {
			t.Errorf("refused with %+v, want %q", f, want)
		}
	}
}

// What goes into Temporal's history is bounded, and says how much is left out.
func TestVerifiedSummary(t *testing.T) {
	v := topology.Verified{Lost: make([]topology.Lost, 5), Findings: make([]topology.Finding, 9), More: 1}.Summary(3)
	if diff := cmp.Diff([]int{3, 3, 7}, []int{len(v.Lost), len(v.Findings), v.More}); diff != "" {
		t.Error(diff)
	}
}
