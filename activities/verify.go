package activities

import (
	"context"

	"go.temporal.io/sdk/activity"

	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/verify"
)

const (
	// verifiedShown is how many losses and findings go into Temporal's history: the whole account lies in the bucket.
	verifiedShown = 50
	// verifiedKept is how many damaged objects a heartbeat remembers. A check that is interrupted after more of them begins anew.
	verifiedKept = 200
)

// VerifyBucket checks what a region's bucket holds of a group, records the account there, and returns the worst of it. One that is interrupted goes on
// from what its last heartbeat said.
func (c *Control) VerifyBucket(ctx context.Context, in VerifyBucketInput) (topology.Verified, error) {
	p := beat(ctx)
	defer p.end()
	v, err := c.verifyBucket(ctx, in, p)
	return v.Summary(verifiedShown), judge(ctx, err)
}

func (c *Control) verifyBucket(ctx context.Context, in VerifyBucketInput, p *pulse) (topology.Verified, error) {
	if _, err := c.store(in.Region); err != nil {
		return topology.Verified{}, err
	}
	loaded, err := c.Catalog.Load(ctx, in.Group)
	if err != nil {
		return topology.Verified{}, err
	}
	check := verify.Check{Stores: c.Stores, Group: loaded.Group, Region: in.Region, Read: in.Read, Seed: in.Seed, From: verifiedUpTo(ctx, in)}
	check.Say = func(at verify.Progress) {
		if len(at.At.Bad) > verifiedKept {
			at.At = verify.Position{}
		}
		p.say(VerifyProgress{in.Region, at})
	}
	v, err := check.Run(ctx)
	if err != nil {
		return v, err
	}
	return v, c.Catalog.PutVerified(ctx, v)
}

// VerifyProgress is what a check says of itself in its heartbeats.
type VerifyProgress struct {
	Region string `json:"region"`
	verify.Progress
}

// verifiedUpTo is where an earlier attempt was.
func verifiedUpTo(ctx context.Context, in VerifyBucketInput) verify.Position {
	var last VerifyProgress
	if !activity.HasHeartbeatDetails(ctx) || activity.GetHeartbeatDetails(ctx, &last) != nil || last.Region != in.Region {
		return verify.Position{}
	}
	return last.At
}
