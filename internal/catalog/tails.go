package catalog

import (
	"context"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/internal/topology"
)

func tailKey(group, workspace, lineage string) string {
	return workspaceKey(group, workspace, "tails/"+lineage+".json")
}

// PutTail says how far the tail of a lineage that was left is, in the group's buckets; it succeeds if one of them takes it. Nothing
// is taken back: a tail that was further, or complete, stays so, whoever writes last.
func (c *Catalog) PutTail(ctx context.Context, group string, t topology.Tail) error {
	if err := checkNames(group, t.Workspace); err != nil {
		return err
	}
	if _, err := topology.ParseLineageID(t.Lineage); err != nil {
		return err
	}
	regions, err := c.regionsOf(ctx, group)
	if err != nil {
		return err
	}
	t.Format = format
	key := tailKey(group, t.Workspace, t.Lineage)
	return c.spread(ctx, regions, write{key: key, overtake: furtherTail(key), next: func(there []byte) ([]byte, error) { return overTail(key, there, t) }})
}

// overTail returns what to write over what is known of a tail.
func overTail(key string, there []byte, t topology.Tail) ([]byte, error) {
	before, _, err := former[topology.Tail](key, there)
	if err != nil {
		return nil, err
	}
	return encode(t.NotBehind(before))
}

// Tail returns what is known of a lineage's tail among the buckets that answer; fault.Missing when nothing is.
func (c *Catalog) Tail(ctx context.Context, group, workspace, lineage string) (topology.Tail, error) {
	if err := checkNames(group, workspace); err != nil {
		return topology.Tail{}, err
	}
	regions, err := c.regionsOf(ctx, group)
	if err != nil {
		return topology.Tail{}, err
	}
	return c.tailIn(ctx, regions, group, workspace, lineage)
}

func (c *Catalog) tailIn(ctx context.Context, regions []string, group, workspace, lineage string) (t topology.Tail, err error) {
	key := tailKey(group, workspace, lineage)
	replies := ask(ctx, c, regions, func(ctx context.Context, _ string, s objectstore.Store) (t topology.Tail, err error) {
		b, _, err := s.Get(ctx, key)
		if err == nil {
			err = decode(key, b, &t)
		}
		return t, err
	})
	answered := false
	for _, r := range replies {
		answered = answered || r.err == nil || fault.Is(r.err, fault.Missing)
		if r.err == nil {
			t = r.value.NotBehind(t)
		}
	}
	if t.Lineage != "" {
		return t, nil
	}
	if answered {
		return t, fault.Newf(fault.Missing, "read "+key, "nothing is known of it yet")
	}
	return t, noneAnswered("read "+key, replies)
}

// Tails returns what is known of the tails of all lineages of a workspace that were left, newest first. One of which nothing is
// known yet is there too, with its fork alone.
func (c *Catalog) Tails(ctx context.Context, g *topology.Group, workspace string) ([]topology.Tail, error) {
	return c.tailsIn(ctx, groupRegions(g), g, workspace)
}

func (c *Catalog) tailsIn(ctx context.Context, regions []string, g *topology.Group, workspace string) ([]topology.Tail, error) {
	left := slices.DeleteFunc(g.LeftLineages(), func(l topology.Left) bool { return l.Workspace != workspace })
	slices.Reverse(left)
	tails := make([]topology.Tail, len(left))
	var reads errgroup.Group
	reads.SetLimit(tailsAtOnce)
	for i, l := range left {
		reads.Go(func() (err error) {
			tails[i], err = c.knownTail(ctx, regions, g.Name, l)
			return err
		})
	}
	if err := reads.Wait(); err != nil || len(tails) == 0 {
		return nil, err
	}
	return tails, nil
}

// tailsAtOnce is how many tails are read side by side: a group that moved often has many, and its bucket may be far away.
const tailsAtOnce = 16

// knownTail does not ask again for what is complete: nothing more will be said of it.
func (c *Catalog) knownTail(ctx context.Context, regions []string, group string, l topology.Left) (topology.Tail, error) {
	key := tailKey(group, l.Workspace, l.Lineage.ID)
	c.cache.mu.Lock()
	t, complete := c.cache.tails[key]
	c.cache.mu.Unlock()
	if complete {
		return t, nil
	}
	t, err := c.tailIn(ctx, regions, group, l.Workspace, l.Lineage.ID)
	if fault.Is(err, fault.Missing) {
		return topology.Tail{Format: format, Workspace: l.Workspace, Lineage: l.Lineage.ID, Fork: l.Fork}, nil
	}
	if err == nil && t.Complete {
		c.cache.mu.Lock()
		defer c.cache.mu.Unlock()
		if c.cache.tails == nil {
			c.cache.tails = map[string]topology.Tail{}
		}
		c.cache.tails[key] = t
	}
	return t, err
}
