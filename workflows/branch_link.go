package workflows

import (
	"fmt"
	"strings"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/smartdr/smartdr/activities"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
)

// LinkBranch shows a database of an attached branch in one that serves, as schemas of foreign tables, or ends that. Linking again makes
// them anew, with the tables that are there now.
func LinkBranch(ctx workflow.Context, in LinkBranchInput) (BranchResult, error) {
	group, err := begin(ctx, in.Group)
	if err != nil {
		return BranchResult{}, err
	}
	if in.Unlink {
		result, err := unlink(ctx, in, group)
		return result, refuse(err)
	}
	b, err := linkable(group, in.Branch)
	if err != nil {
		return BranchResult{}, err
	}
	if in, err = in.complete(b); err != nil {
		return BranchResult{}, err
	}
	result, err := link(ctx, in, group, b)
	return result, refuse(err)
}

// linkable returns a branch that can be linked, with a sentence for why another one cannot.
func linkable(g topology.Group, name string) (topology.Branch, error) {
	if m := g.FindSystemManaged(name); m != nil {
		return topology.Branch{}, invalid("make a branch of it: "+m.BranchCommand(&g), "database %s is system-managed: it is attached to nothing, and cannot be linked", name)
	}
	b := g.Branch(name)
	if b == nil {
		return topology.Branch{}, temporal.NewNonRetryableApplicationError(fmt.Sprintf("group %s has no branch %q", g.Name, name), string(fault.Missing), nil,
			"see which there are: smartdr branch list --group "+g.Name)
	}
	if b.Attached == nil || b.Attached.State != topology.AttachmentServes {
		return *b, invalid(fmt.Sprintf("attach it first: smartdr branch attach --group %s %s", g.Name, name), "branch %q is not attached", name)
	}
	w := g.Workspace(b.Workspace)
	if w == nil {
		return *b, invalid("connect to the branch itself instead", "workspace %q of branch %q is not there any more", b.Workspace, name)
	}
	return *b, steady(*w, "linked")
}

// complete fills in what was left out.
func (in LinkBranchInput) complete(b topology.Branch) (LinkBranchInput, error) {
	if in.Of == "" {
		in.Of = b.Database
	}
	if in.Of == "" {
		in.Of = in.Database
	}
	if in.Of == "" {
		return in, invalid("name one of its databases", "branch %q is of a whole workspace", b.Name)
	}
	if in.Database == "" {
		in.Database = in.Of
	}
	if in.Schema == "" {
		in.Schema = strings.ReplaceAll(b.Name, "-", "_")
	}
	return in, nil
}

// link makes the way to the branch, then what is seen through it, and records it.
func link(ctx workflow.Context, in LinkBranchInput, g topology.Group, b topology.Branch) (result BranchResult, err error) {
	there, here := onBranchHost(ctx, b), onServing(ctx, g, b.Workspace)
	of := activities.LinkInput{Group: in.Group, Branch: in.Branch, Of: in.Of, Database: in.Database, Schema: in.Schema}
	show := activities.ShowLinkInput{LinkInput: of}
	if err := workflow.ExecuteActivity(there, target.OpenLink, of).Get(ctx, &show.Access); err != nil {
		return result, refuseOn(b.Region, b.Attached.Host, err)
	}
	var made activities.MadeLink
	if err := workflow.ExecuteActivity(here, source.MakeLink, show).Get(ctx, &made); err != nil {
		return result, refuseAt(g.Active, err)
	}
	l := topology.Link{Database: in.Database, Of: in.Of, Schema: in.Schema, Server: made.Server, Since: workflow.Now(ctx).UTC()}
	record := activities.RecordLinkInput{Group: in.Group, Branch: in.Branch, Attachment: show.Access.Attachment, Link: l}
	if g, err = recordLink(ctx, record); err != nil { // before there is anything to see, so that who detaches the branch finds it
		return result, err
	}
	if made.Key != "" {
		of.Key = made.Key
		if err := workflow.ExecuteActivity(there, target.OpenLink, of).Get(ctx, nil); err != nil {
			return result, refuseOn(b.Region, b.Attached.Host, err)
		}
	}
	var filled activities.FilledLink
	if err := workflow.ExecuteActivity(here, source.FillLink, show).Get(ctx, &filled); err != nil {
		return result, refuseAt(g.Active, err)
	}
	return branchOf(g, in.Branch, append([]string{fmt.Sprintf("database %s shows %d tables of the branch in schema %s", in.Database, filled.Tables, in.Schema)}, filled.Notes...)), nil
}

func branchOf(g topology.Group, name string, notes []string) BranchResult {
	result := BranchResult{Notes: notes}
	if b := g.Branch(name); b != nil {
		result.Branch = *b
	}
	return result
}

func recordLink(ctx workflow.Context, in activities.RecordLinkInput) (g topology.Group, err error) {
	err = workflow.ExecuteActivity(asked(ctx, TaskQueue, "record the link"), control.RecordLink, in).Get(ctx, &g)
	return g, err
}

func onBranchHost(ctx workflow.Context, b topology.Branch) workflow.Context {
	return managing(ctx, siteQueue(b.Region, b.Attached.Host), "let the server that serves into "+b.Name)
}

func onServing(ctx workflow.Context, g topology.Group, workspace string) workflow.Context {
	host := ""
	if w := g.Workspace(workspace); w != nil {
		host = w.Sites[g.Active].Host
	}
	return managing(ctx, siteQueue(g.Active, host), "links in the server of "+workspace)
}

// unlink ends the links of a branch that are meant: all that fit what was named.
func unlink(ctx workflow.Context, in LinkBranchInput, g topology.Group) (BranchResult, error) {
	b := g.Branch(in.Branch)
	if b == nil {
		return BranchResult{}, temporal.NewNonRetryableApplicationError(fmt.Sprintf("group %s has no branch %q", g.Name, in.Branch), string(fault.Missing), nil,
			"see which there are: smartdr branch list --group "+g.Name)
	}
	meant := in.meant(*b)
	if len(meant) == 0 {
		return BranchResult{}, temporal.NewNonRetryableApplicationError(fmt.Sprintf("branch %q has no such link", in.Branch), string(fault.Missing), nil,
			"name the database and the schema of one that was left when the branch was detached")
	}
	for _, l := range meant {
		after, err := endLink(ctx, g, *b, l)
		if err != nil {
			return BranchResult{}, err
		}
		g = after
	}
	return branchOf(g, in.Branch, nil), nil
}

// meant are the links that a request names. One that is named in full is meant also when the branch does not know of it any more.
func (in LinkBranchInput) meant(b topology.Branch) (links []topology.Link) {
	fits := func(wanted, is string) bool { return wanted == "" || wanted == is }
	if b.Attached != nil {
		for _, l := range b.Attached.Links {
			if fits(in.Of, l.Of) && fits(in.Database, l.Database) && fits(in.Schema, l.Schema) {
				links = append(links, l)
			}
		}
	}
	if len(links) == 0 && in.Database != "" && in.Schema != "" {
		links = append(links, topology.Link{Database: in.Database, Schema: in.Schema, Of: in.Of})
	}
	return links
}

func endLink(ctx workflow.Context, g topology.Group, b topology.Branch, l topology.Link) (topology.Group, error) {
	remove := activities.RemoveLinkInput{Group: g.Name, Workspace: b.Workspace, Link: l}
	if err := workflow.ExecuteActivity(onServing(ctx, g, b.Workspace), source.RemoveLink, remove).Get(ctx, nil); err != nil {
		return g, refuseAt(g.Active, err)
	}
	if b.Attached == nil {
		return g, nil
	}
	g, err := recordLink(ctx, activities.RecordLinkInput{Group: g.Name, Branch: b.Name, Attachment: b.Attached.ID, Link: l, Remove: true})
	if err != nil {
		return g, err
	}
	now := g.Branch(b.Name)
	if now == nil || now.Attached == nil || now.Attached.State != topology.AttachmentServes {
		return g, nil // who takes it down takes the way to it along
	}
	for _, other := range now.Attached.Links {
		if other.Of == l.Of {
			return g, nil
		}
	}
	of := activities.LinkInput{Group: g.Name, Branch: b.Name, Of: l.Of}
	return g, refuseOn(b.Region, b.Attached.Host, workflow.ExecuteActivity(onBranchHost(ctx, b), target.CloseLink, of).Get(ctx, nil))
}

// unlinkAll takes all links of a branch out of the databases that serve. What cannot be reached is said and left: a link without its
// branch fails where it is used, and nowhere else.
func unlinkAll(ctx workflow.Context, group string, b topology.Branch) (notes []string) {
	if b.Attached == nil || len(b.Attached.Links) == 0 {
		return nil
	}
	var g topology.Group
	if err := workflow.ExecuteActivity(asked(ctx, TaskQueue, "read the group"), control.ReadGroup, activities.ReadGroupInput{Group: group}).Get(ctx, &g); err != nil {
		return []string{"the links to the branch were left where they are: " + FailureOf(err).Message}
	}
	for _, l := range b.Attached.Links {
		if err := endOne(ctx, g, b, l); err != nil {
			f := FailureOf(err)
			notes = append(notes, fmt.Sprintf("schema %s of database %s, which showed the branch, was left: %s; remove it by smartdr branch unlink --group %s %s --into %s --schema %s",
				l.Schema, l.Database, f.Message, group, b.Name, l.Database, l.Schema))
		}
	}
	return notes
}

// endOne is endLink for a branch that is about to be detached: what is given up soon is not worth a long wait.
func endOne(ctx workflow.Context, g topology.Group, b topology.Branch, l topology.Link) error {
	w := g.Workspace(b.Workspace)
	if w == nil || w.State != topology.WorkspaceActive {
		return invalid("", "workspace %s does not serve", b.Workspace)
	}
	remove := activities.RemoveLinkInput{Group: g.Name, Workspace: b.Workspace, Link: l}
	at := asked(ctx, siteQueue(g.Active, w.Sites[g.Active].Host), "links in the server of "+b.Workspace)
	if err := workflow.ExecuteActivity(at, source.RemoveLink, remove).Get(ctx, nil); err != nil {
		return refuseAt(g.Active, err)
	}
	_, err := recordLink(ctx, activities.RecordLinkInput{Group: g.Name, Branch: b.Name, Attachment: b.Attached.ID, Link: l, Remove: true})
	return err
}
