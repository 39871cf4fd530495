package workflows

import (
	"fmt"
	"slices"
	"strings"

	"go.temporal.io/sdk/workflow"

	"github.com/smartdr/smartdr/activities"
	"github.com/smartdr/smartdr/internal/topology"
)

// Verify checks what the buckets hold of a group, and says what cannot be restored from them any more. It changes nothing but the accounts of checks.
func Verify(ctx workflow.Context, in VerifyInput) (VerifyResult, error) {
	result, err := verify(ctx, in)
	return result, refuse(err)
}

func verify(ctx workflow.Context, in VerifyInput) (result VerifyResult, err error) {
	if in.Group == "" {
		return result, invalid(`name it, as in {"group":"prod"}`, "a check needs a group")
	}
	if in.Read == "" {
		in.Read = topology.VerifySample
	}
	if !slices.Contains([]string{topology.VerifyNone, topology.VerifySample, topology.VerifyAll}, in.Read) {
		return result, invalid("choose none, sample or all", "%q is no way to read contents back", in.Read)
	}
	var group topology.Group
	if err := workflow.ExecuteActivity(asked(ctx, TaskQueue, "read the group"), control.ReadGroup, activities.ReadGroupInput{Group: in.Group}).Get(ctx, &group); err != nil {
		return result, err
	}
	regions, err := in.regions(group)
	if err != nil {
		return result, err
	}
	if err := label(ctx, groupKey.ValueSet(in.Group), regionKey.ValueSet(regions[0])); err != nil {
		return result, err
	}
	return verifyAll(ctx, in, regions)
}

// regions are those whose buckets are checked.
func (in VerifyInput) regions(g topology.Group) ([]string, error) {
	all := slices.DeleteFunc([]string{g.Primary, g.Secondary}, func(r string) bool { return r == "" })
	switch {
	case in.Region == "":
		return all, nil
	case !slices.Contains(all, in.Region):
		return nil, invalid("its regions are "+strings.Join(all, " and "), "group %s has no region %q", g.Name, in.Region)
	}
	return []string{in.Region}, nil
}

// verifyAll checks the buckets side by side. One that cannot be checked does not hold up the others, and is an error when it is the only one.
func verifyAll(ctx workflow.Context, in VerifyInput, regions []string) (VerifyResult, error) {
	checks := make([]workflow.Future, len(regions))
	for i, region := range regions {
		checks[i] = workflow.ExecuteActivity(verifying(ctx, region), control.VerifyBucket, activities.VerifyBucketInput{Group: in.Group, Region: region, Read: in.Read, Seed: in.Seed})
	}
	result := VerifyResult{Regions: make([]topology.Verified, len(regions))}
	var last error
	for i, region := range regions {
		v := &result.Regions[i]
		if err := checks[i].Get(ctx, v); err != nil {
			f := FailureOf(err)
			*v = topology.Verified{Format: 1, Group: in.Group, Region: region, Read: in.Read, Lost: []topology.Lost{}, Findings: []topology.Finding{},
				Error: f.Message, Hint: f.Hint}
			last = err
		}
	}
	workflow.SetCurrentDetails(ctx, result.details())
	if last != nil && len(regions) == 1 {
		return VerifyResult{}, last
	}
	return result, nil
}

// details is the result in markdown, for the Temporal UI.
func (r VerifyResult) details() string {
	var b strings.Builder
	for _, v := range r.Regions {
		if v.Error != "" {
			fmt.Fprintf(&b, "**%s could not be checked:** %s\n", v.Region, v.Error)
			continue
		}
		fmt.Fprintf(&b, "**%s**: %d objects, %d read back, %d findings\n", v.Region, v.Objects, v.ReadObjects, len(v.Findings)+v.More)
		for _, l := range v.Lost {
			fmt.Fprintf(&b, "- %s\n", l.Text)
		}
	}
	return b.String()
}
