package topology

import "github.com/smartdr/smartdr/internal/fault"

const opBranch = "create branch"

// AddBranch adds a branch to the group. One of that name that begins at the same point is this one, added by an attempt whose answer was lost.
// Errors: fault.Taken for a name that something else has, fault.Invalid for a point that retention, or who detached with discard, has given up,
// fault.Missing when what it is made of is not there any more.
func (g *Group) AddBranch(b Branch) error {
	if there := g.Branch(b.Name); there != nil && there.sameAs(b) {
		return nil
	}
	if err := g.CheckBranchName(b.Name); err != nil {
		return err
	}
	if err := g.checkBranched(b); err != nil {
		return err
	}
	if !g.Referable(b.Workspace, b.Region, b.Base) {
		return g.GivenUp(b)
	}
	b, err := g.settled(b)
	if err != nil {
		return err
	}
	g.Branches = append(g.Branches, b)
	return nil
}

// GivenUp says that retention has given up the point at which a branch was to begin.
func (g *Group) GivenUp(b Branch) error {
	return fault.Newf(fault.Invalid, opBranch, "retention has given up %s of lineage %s in the bucket of %q", b.Base.At.LSN, b.Base.Lineage, b.Region).
		WithHint("`smartdr timeline --group %s` shows what can be restored.", g.Name)
}

// Branchable returns nil if the group may have branches. An operation that holds the group is in no branch's way, nor a branch in its.
func (g *Group) Branchable(op string) error {
	free := *g
	free.Operation = nil
	return free.Replicable(op)
}

// sameAs reports whether b was asked for, and found, by what made the branch that is there.
func (b *Branch) sameAs(o Branch) bool {
	return b.Base == o.Base && b.Region == o.Region && b.Workspace == o.Workspace && b.Database == o.Database && b.From == o.From && b.CreatedAt.Equal(o.CreatedAt)
}

// CheckBranchName refuses a name that a branch can't have, or that something else in the group has.
func (g *Group) CheckBranchName(name string) error {
	if err := CheckName("branch", name); err != nil {
		return err
	}
	switch {
	case g.Branch(name) != nil:
		return fault.Newf(fault.Taken, opBranch, "there is a branch %q already", name).
			WithHint("Choose another name, or drop that one: smartdr branch drop %s --group %s", name, g.Name)
	case g.Workspace(name) != nil:
		return fault.Newf(fault.Taken, opBranch, "there is a workspace %q", name).WithHint("Choose another name for the branch.")
	}
	return nil
}

// checkBranched refuses a branch of what is not there.
func (g *Group) checkBranched(b Branch) error {
	if err := g.Branchable(opBranch); err != nil {
		return err
	}
	switch {
	case g.Workspace(b.Workspace) == nil:
		return fault.Newf(fault.Missing, opBranch, "group %s has no workspace %q", g.Name, b.Workspace)
	case b.From != "" && g.Branch(b.From) == nil && g.FindSystemManaged(b.From) == nil:
		return fault.Newf(fault.Missing, opBranch, "%s was dropped meanwhile", b.From)
	}
	return nil
}

// RemoveBranch takes a branch, or a system-managed database, from the group; it does nothing when there is none of that name. An attached
// branch is fault.Invalid.
func (g *Group) RemoveBranch(name string) error {
	for i, b := range g.Branches {
		if b.Name != name {
			continue
		}
		if b.Attached != nil {
			return attachedStill(g.Name, b)
		}
		g.Branches = append(g.Branches[:i:i], g.Branches[i+1:]...)
		return nil
	}
	s := g.FindSystemManaged(name)
	for i := range g.SystemManaged {
		if s == &g.SystemManaged[i] {
			g.SystemManaged = append(g.SystemManaged[:i:i], g.SystemManaged[i+1:]...)
			break
		}
	}
	return nil
}

func attachedStill(group string, b Branch) error {
	return fault.Newf(fault.Invalid, "drop branch", "branch %s is attached in %q on host %s", b.Name, b.Region, b.Attached.Host).
		WithHint("Detach it first: smartdr branch detach %s --group %s; or add --force, which gives up what was written to it.", b.Name, group)
}

// CheckDrop refuses to drop what is in use; with force nothing is refused but a name that nothing has.
func (g *Group) CheckDrop(name string, force bool) error {
	b := g.Branch(name)
	switch {
	case b == nil && g.FindSystemManaged(name) == nil:
		return fault.Newf(fault.Missing, "drop branch", "group %s has neither a branch nor a system-managed database %q", g.Name, name).
			WithHint("`smartdr branch list --group %s` shows the branches, `smartdr databases list --group %s` the databases.", g.Name, g.Name)
	case b != nil && b.Attached != nil && !force:
		return attachedStill(g.Name, *b)
	}
	return nil
}
