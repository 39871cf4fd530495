package topology

import "slices"

// checkBranches says what is wrong with the group's branches and system-managed databases.
func (g *Group) checkBranches() error {
	seen := map[string]bool{}
	for i := range g.Branches {
		b := &g.Branches[i]
		if seen[b.Name] {
			return invalid("group %s has two branches named %s", g.Name, b.Name).WithHint("Give each branch a name of its own.")
		}
		seen[b.Name] = true
		if g.Workspace(b.Name) != nil {
			return invalid("group %s has a workspace and a branch named %s", g.Name, b.Name).WithHint("Choose another name: each names a server.")
		}
		if err := b.validate(g); err != nil {
			return err
		}
	}
	for _, s := range g.SystemManaged {
		if w := g.Workspace(s.Workspace); w == nil || w.FindLineage(s.Lineage) == nil {
			return invalid("the system-managed database %s goes on in lineage %s, which workspace %q does not list", s.Name, s.Lineage, s.Workspace)
		}
	}
	return nil
}

func (b *Branch) validate(g *Group) error {
	if err := CheckName("branch", b.Name); err != nil {
		return err
	}
	w := g.Workspace(b.Workspace)
	switch {
	case w == nil:
		return invalid("branch %s is of workspace %q, which group %s does not have", b.Name, b.Workspace, g.Name)
	case b.Region != g.Primary && b.Region != g.Secondary:
		return invalid("branch %s lies in region %q, which is none of group %s", b.Name, b.Region, g.Name)
	case b.Own < 0 || b.Own > len(b.Line):
		return invalid("branch %s is to have written %d of %d lineages", b.Name, b.Own, len(b.Line))
	}
	if err := b.validateLine(w); err != nil {
		return err
	}
	return b.validateAttachment()
}

// validateLine refuses lineages that do not lead from the workspace's own through Base to the newest one.
func (b *Branch) validateLine(w *Workspace) error {
	before, line := "", b.Line[:len(b.Line)-b.Own]
	for i, l := range b.Line {
		if _, err := ParseLineageID(l.ID); err != nil {
			return err
		}
		switch {
		case l.Parent == nil:
			return invalid("lineage %s of branch %s comes from nothing", l.ID, b.Name)
		case i == 0 && w.FindLineage(l.Parent.Lineage) == nil, i > 0 && l.Parent.Lineage != before:
			return invalid("lineage %s of branch %s comes from %s, which is not the one before it", l.ID, b.Name, l.Parent.Lineage)
		case w.FindLineage(l.ID) != nil:
			return invalid("lineage %s is of branch %s and of its workspace", l.ID, b.Name)
		case i == len(line) && l.Parent.Lineage != b.Base.Lineage:
			return invalid("branch %s begins on lineage %s, and went on from %s", b.Name, b.Base.Lineage, l.Parent.Lineage)
		}
		if i > 0 && behind(l.Parent.At, b.Line[i-1]) {
			return invalid("lineage %s of branch %s begins at %s, behind the end of %s", l.ID, b.Name, l.Parent.At.LSN, before)
		}
		before = l.ID
	}
	if len(line) == 0 && w.FindLineage(b.Base.Lineage) == nil || len(line) > 0 && line[len(line)-1].ID != b.Base.Lineage {
		return invalid("branch %s begins on lineage %q, which is not known", b.Name, b.Base.Lineage)
	}
	return nil
}

var attachments = []AttachmentState{Attaching, AttachmentServes, Detaching}

func (b *Branch) validateAttachment() error {
	switch a := b.Attached; {
	case a == nil:
		return nil
	case a.ID == "":
		return invalid("branch %s has an attachment without an id", b.Name)
	case !slices.Contains(attachments, a.State):
		return invalid("branch %s is in the unknown state %q", b.Name, a.State)
	default:
		return CheckName("host", a.Host)
	}
}
