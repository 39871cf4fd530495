package catalog

import (
	"context"

	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/internal/topology"
)

type branchDocument struct {
	Format int `json:"format"`
	topology.BranchProgress
}

func (d branchDocument) age() age { return age{at: d.MeasuredAt} }

func branchKey(group, branch, attachment string) string {
	return groupsPrefix + group + "/branches/" + branch + "/" + attachment + ".json"
}

// PutBranchProgress announces how far the WAL of an attached branch is in its region's bucket, in the group's buckets; it succeeds if one
// of them takes it. What was given up stays given up.
func (c *Catalog) PutBranchProgress(ctx context.Context, group, branch, attachment string, p topology.BranchProgress) error {
	if err := checkNames(group, branch, attachment); err != nil {
		return err
	}
	regions, err := c.regionsOf(ctx, group)
	if err != nil {
		return err
	}
	key := branchKey(group, branch, attachment)
	return c.spread(ctx, regions, write{key: key, overtake: newerOf[branchDocument](key), next: func(there []byte) ([]byte, error) {
		before, _, err := former[branchDocument](key, there)
		if err != nil {
			return nil, err
		}
		return encode(branchDocument{format, p}.joined(before))
	}})
}

// BranchProgress returns the newest announcement among the buckets that answer; fault.Missing when there is none.
func (c *Catalog) BranchProgress(ctx context.Context, group, branch, attachment string) (topology.BranchProgress, error) {
	if err := checkNames(group, branch, attachment); err != nil {
		return topology.BranchProgress{}, err
	}
	regions, err := c.regionsOf(ctx, group)
	if err != nil {
		return topology.BranchProgress{}, err
	}
	key := branchKey(group, branch, attachment)
	replies := askAnnounced[branchDocument](ctx, c, regions, key)
	newest, err := newestReplyFor(c, key, replies)
	for _, r := range replies {
		newest.Discarded = newest.Discarded || r.err == nil && r.value.Discarded
	}
	return newest.BranchProgress, err
}

// ForgetBranchProgress removes what was announced of an attachment that is over, from the buckets that answer.
func (c *Catalog) ForgetBranchProgress(ctx context.Context, group, branch, attachment string) error {
	if err := checkNames(group, branch, attachment); err != nil {
		return err
	}
	regions, err := c.regionsOf(ctx, group)
	if err != nil {
		return err
	}
	key := branchKey(group, branch, attachment)
	replies := ask(ctx, c, regions, func(ctx context.Context, _ string, s objectstore.Store) (struct{}, error) {
		return struct{}{}, s.Delete(ctx, key)
	})
	return noneTook("remove "+key, replies)
}
