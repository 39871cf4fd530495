package activities

import (
	"context"
	"slices"

	"github.com/smartdr/smartdr/internal/archive"
	"github.com/smartdr/smartdr/internal/catalog"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/internal/topology"
)

// ResolveBranch finds the point that a request for a branch means, in the bucket of one region. Nothing is recorded.
func (t *Target) ResolveBranch(ctx context.Context, in ResolveBranchInput) (topology.Branch, error) {
	p := beat(ctx)
	defer p.end()
	loaded, err := t.Catalog.Load(ctx, in.Group)
	if err != nil {
		return topology.Branch{}, judge(ctx, err)
	}
	b, err := t.resolve(ctx, loaded.Group, in)
	return b, judge(ctx, err)
}

// RecordBranch records a branch in the group's document, which is all that there is of one until it is written. What it refers to is
// looked at in the document that it is written to, so that retention, which raises its floors there first, either sees the branch or is
// seen by it.
func (t *Target) RecordBranch(ctx context.Context, in RecordBranchInput) (RecordBranchResult, error) {
	p := beat(ctx)
	defer p.end()
	u, err := t.Catalog.Update(ctx, in.Group, func(g *topology.Group) error { return g.AddBranch(in.Branch) })
	if err != nil {
		return RecordBranchResult{}, judge(ctx, err)
	}
	entry, written, err := BranchBytes(ctx, t.Stores[in.Branch.Region], u.Group, in.Branch.Name)
	return RecordBranchResult{Branch: *u.Group.Branch(in.Branch.Name), Bytes: entry + written}, judge(ctx, err)
}

// BranchBytes is what a branch has added to its region's bucket: its entry in the group's document, and the WAL that was written to it. What
// an unwritten one has added is known without the store. When the store does not answer entry is right all the same.
func BranchBytes(ctx context.Context, store objectstore.Store, g topology.Group, name string) (entry, written int64, err error) {
	b := g.Branch(name)
	if b == nil {
		return 0, 0, fault.Newf(fault.Missing, "measure branch", "group %s has no branch %q", g.Name, name)
	}
	if entry, err = entryBytes(g, name); err != nil || !b.Written() {
		return entry, 0, err
	}
	if store == nil {
		return entry, 0, fault.Newf(fault.Invalid, "measure branch", "the bucket of %q is not configured here", b.Region)
	}
	for _, l := range b.OwnLine() {
		added, err := storedWAL(ctx, store, g.Name, b.Workspace, l.ID)
		if err != nil {
			return entry, 0, err
		}
		written += added
	}
	return entry, written, nil
}

// entryBytes is by how much the group's document would be shorter without a branch.
func entryBytes(g topology.Group, name string) (int64, error) {
	with, err := catalog.Size(g)
	if err != nil {
		return 0, err
	}
	g.Branches = slices.DeleteFunc(slices.Clone(g.Branches), func(b topology.Branch) bool { return b.Name == name })
	without, err := catalog.Size(g)
	return with - without, err
}

func storedWAL(ctx context.Context, store objectstore.Store, group, workspace, lineage string) (bytes int64, err error) {
	inv, err := archive.Open(store, group, workspace, lineage).List(ctx)
	for _, e := range inv.Entries {
		bytes += e.Size
	}
	for _, h := range inv.Histories {
		bytes += int64(len(h))
	}
	return bytes, err
}

// ForgetBranch takes a branch, or a system-managed database, out of the group's document. What nothing else needs of it leaves the bucket by
// retention.
func (c *Control) ForgetBranch(ctx context.Context, in ForgetBranchInput) (topology.Group, error) {
	p := beat(ctx)
	defer p.end()
	g, err := c.forgetBranch(ctx, in)
	return g, judge(ctx, err)
}

func (c *Control) forgetBranch(ctx context.Context, in ForgetBranchInput) (topology.Group, error) {
	loaded, err := c.Catalog.Load(ctx, in.Group)
	if err != nil {
		return topology.Group{}, err
	}
	if s := loaded.Group.FindSystemManaged(in.Name); s != nil && loaded.Group.Branch(in.Name) == nil && !in.Force {
		if err := c.arrived(ctx, in.Group, *s); err != nil {
			return topology.Group{}, err
		}
	}
	u, err := c.Catalog.Update(ctx, in.Group, func(g *topology.Group) error { return g.RemoveBranch(in.Name) })
	return u.Group, err
}

// arrived refuses to forget a system-managed database of which more may come.
func (c *Control) arrived(ctx context.Context, group string, s topology.SystemManaged) error {
	tail, err := c.Catalog.Tail(ctx, group, s.Workspace, s.Lineage)
	if err != nil && !fault.Is(err, fault.Missing) {
		return err
	}
	if tail.Complete {
		return nil
	}
	why := tail.Error
	if why == "" {
		why = "nothing was heard of its server"
	}
	return fault.Newf(fault.Invalid, "drop branch", "not all of %s has arrived: %s", s.Name, why).
		WithHint("Wait for it: smartdr databases list --group %s; or add --force, which gives up what is still to come.", group)
}
