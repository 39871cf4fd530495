package api

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/smartdr/smartdr/activities"
	"github.com/smartdr/smartdr/internal/catalog"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/verify"
	"github.com/smartdr/smartdr/workflows"
)

const opVerify = "check buckets"

// VerifyRequest asks to check what the buckets hold of a group.
type VerifyRequest struct {
	Group  string `json:"group"`
	Region string `json:"region,omitempty"` // default: every region of the group
	Read   string `json:"read,omitempty"`   // topology.VerifyNone, VerifySample (default) or VerifyAll
	Seed   uint64 `json:"seed,omitempty"`   // of the sample, as an earlier account gives it; default: any
	Local  bool   `json:"local,omitempty"`  // this process reads the buckets, and Temporal is not asked; the account is not recorded
}

// VerifyProgress is how far the check of a region's bucket is.
type VerifyProgress = activities.VerifyProgress

// Verify checks. say, which may be nil, is told how far it is, one call at a time.
func (s *Service) Verify(ctx context.Context, req VerifyRequest, say func(VerifyProgress)) (workflows.VerifyResult, error) {
	regions, g, c, err := s.verifiable(ctx, &req)
	if err != nil {
		return workflows.VerifyResult{}, err
	}
	if say == nil {
		say = func(VerifyProgress) {}
	}
	if req.Local {
		return verifyHere(ctx, c, g, regions, req, say)
	}
	return s.verifyThere(ctx, c, req, say)
}

func (s *Service) verifiable(ctx context.Context, req *VerifyRequest) ([]string, topology.Group, *catalog.Catalog, error) {
	if req.Read == "" {
		req.Read = topology.VerifySample
	}
	if !slices.Contains([]string{topology.VerifyNone, topology.VerifySample, topology.VerifyAll}, req.Read) {
		return nil, topology.Group{}, nil, fault.Newf(fault.Invalid, opVerify, "%q is no way to read contents back", req.Read).WithHint("Choose none, sample or all.")
	}
	if err := topology.CheckName("group", req.Group); err != nil {
		return nil, topology.Group{}, nil, err
	}
	c, err := s.openCatalog(ctx)
	if err != nil {
		return nil, topology.Group{}, nil, err
	}
	loaded, err := c.Load(ctx, req.Group)
	if err != nil {
		return nil, topology.Group{}, nil, err
	}
	regions := bucketsOf(loaded.Group)
	if req.Region != "" {
		if !slices.Contains(regions, req.Region) {
			return nil, loaded.Group, c, fault.Newf(fault.Invalid, opVerify, "group %s has no region %q", req.Group, req.Region).WithHint("Its regions are %s.", strings.Join(regions, " and "))
		}
		regions = []string{req.Region}
	}
	return regions, loaded.Group, c, nil
}

// verifyHere checks in this process. One bucket that does not answer does not hold up the other.
func verifyHere(ctx context.Context, c *catalog.Catalog, g topology.Group, regions []string, req VerifyRequest, say func(VerifyProgress)) (r workflows.VerifyResult, err error) {
	for _, region := range regions {
		check := verify.Check{Stores: c.Stores, Group: g, Region: region, Read: req.Read, Seed: req.Seed, Say: func(p verify.Progress) { say(VerifyProgress{Region: region, Progress: p}) }}
		v, err := check.Run(ctx)
		if err != nil && (len(regions) == 1 || ctx.Err() != nil) {
			return r, err
		}
		if err != nil {
			v.Error, v.Hint = err.Error(), fault.HintOf(err)
		}
		r.Regions = append(r.Regions, v)
	}
	return r, nil
}

// verifyEvery is how often a check that somebody else makes is asked how far it is.
const verifyEvery = time.Second

// verifyThere has workers check, and returns their whole accounts.
func (s *Service) verifyThere(ctx context.Context, c *catalog.Catalog, req VerifyRequest, say func(VerifyProgress)) (r workflows.VerifyResult, err error) {
	run, err := s.start(ctx, workflows.VerifyID(req.Group, cmp.Or(req.Region, "all")), workflows.VerifyType, "check the buckets of group "+req.Group,
		workflows.VerifyInput{Group: req.Group, Region: req.Region, Read: req.Read, Seed: req.Seed})
	if err != nil {
		return r, err
	}
	done := make(chan error, 1)
	go func() { done <- run.Get(ctx, &r) }()
	tick := time.NewTicker(verifyEvery)
	defer tick.Stop()
	for {
		select {
		case err := <-done:
			if err := failure(ctx, err); err != nil {
				return workflows.VerifyResult{}, err
			}
			return wholeAccounts(ctx, c, r), nil
		case <-tick.C:
			s.sayVerified(ctx, run.GetID(), run.GetRunID(), say)
		}
	}
}

// sayVerified tells what the activities of a check say of themselves.
func (s *Service) sayVerified(ctx context.Context, id, runID string, say func(VerifyProgress)) {
	c, err := s.dial(ctx)
	if err != nil {
		return
	}
	d, err := c.DescribeWorkflowExecution(ctx, id, runID)
	if err != nil {
		return // the next look may tell
	}
	for _, a := range d.GetPendingActivities() {
		if p := detail[VerifyProgress](a.GetHeartbeatDetails()); p.Region != "" {
			say(p)
		}
	}
}

// wholeAccounts replaces what Temporal keeps of accounts by what lies in the buckets.
func wholeAccounts(ctx context.Context, c *catalog.Catalog, r workflows.VerifyResult) workflows.VerifyResult {
	for i, v := range r.Regions {
		whole, err := c.Verified(ctx, v.Group, v.Region)
		if err == nil && whole.EndedAt.Equal(v.EndedAt) {
			r.Regions[i] = whole
		}
	}
	return r
}
