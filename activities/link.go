package activities

import (
	"context"
	"slices"

	"github.com/jackc/pgx/v5"

	"github.com/smartdr/smartdr/internal/catalog"
	"github.com/smartdr/smartdr/internal/dsn"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/topology"
)

const opLink = "link branch"

// linked is what a link connects: an attached branch, and the workspace that serves.
type linked struct {
	group     topology.Group
	branch    topology.Branch
	workspace topology.Workspace
}

// linked reads both sides of a link. One of them that is not there is refused with what to do.
func (s *Site) linked(ctx context.Context, group, branch string) (l linked, err error) {
	loaded, err := s.Catalog.Load(ctx, group)
	if err != nil {
		return l, err
	}
	if err := catalog.Controls(&loaded.Group, s.Controller); err != nil {
		return l, err
	}
	b := loaded.Group.Branch(branch)
	if b == nil {
		return l, fault.Newf(fault.Missing, opLink, "group %s has no branch %q", group, branch).WithHint("See which there are: smartdr branch list --group %s", group)
	}
	if b.Attached == nil || b.Attached.State != topology.AttachmentServes {
		return l, fault.Newf(fault.Invalid, opLink, "branch %s is not attached", branch).WithHint("Attach it first: smartdr branch attach --group %s %s", group, branch)
	}
	w := loaded.Group.Workspace(b.Workspace)
	if w == nil || w.State != topology.WorkspaceActive || w.Sites[loaded.Group.Active].Source.ConnString == "" {
		return l, fault.Newf(fault.Invalid, opLink, "workspace %s has no server that serves", b.Workspace)
	}
	return linked{loaded.Group, *b, *w}, nil
}

func (l linked) site() topology.Site { return l.workspace.Sites[l.group.Active] }

// oneHost reports whether SmartDR runs both servers on one machine, under one account of its operating system.
func (l linked) oneHost() bool {
	return l.site().Instance != "" && l.branch.Region == l.group.Active && l.branch.Attached.Host == l.site().Host
}

// OpenLink lets the server that serves into a database of a branch, as a role that can only read. It runs on the branch's host. With a key it
// is the second half: the role gets the password that both sides have by then.
func (t *Target) OpenLink(ctx context.Context, in LinkInput) (LinkAccess, error) {
	p := beat(ctx)
	defer p.end()
	access, err := t.openLink(ctx, in)
	return access, judge(ctx, err)
}

// CloseLink takes back what OpenLink has done. It runs on the branch's host.
func (t *Target) CloseLink(ctx context.Context, in LinkInput) error {
	p := beat(ctx)
	defer p.end()
	return judge(ctx, t.closeLink(ctx, in))
}

// MakeLink makes the foreign server of a link in a database that serves, and what it logs in with.
func (s *Source) MakeLink(ctx context.Context, in ShowLinkInput) (MadeLink, error) {
	p := beat(ctx)
	defer p.end()
	made, err := s.makeLink(ctx, in)
	return made, judge(ctx, err)
}

// FillLink makes the schemas of a link anew: whole, or not at all.
func (s *Source) FillLink(ctx context.Context, in ShowLinkInput) (FilledLink, error) {
	p := beat(ctx)
	defer p.end()
	filled, err := s.fillLink(ctx, in)
	return filled, judge(ctx, err)
}

// RemoveLink takes a link out of a database that serves: what SmartDR made there, and nothing else.
func (s *Source) RemoveLink(ctx context.Context, in RemoveLinkInput) error {
	p := beat(ctx)
	defer p.end()
	return judge(ctx, s.removeLink(ctx, in))
}

// RecordLink records a link with the attachment that it shows, or forgets it.
func (c *Control) RecordLink(ctx context.Context, in RecordLinkInput) (topology.Group, error) {
	p := beat(ctx)
	defer p.end()
	updated, err := c.Catalog.Update(ctx, in.Group, in.record)
	return updated.Group, judge(ctx, err)
}

func (in RecordLinkInput) record(g *topology.Group) error {
	b := g.Branch(in.Branch)
	if b == nil || b.Attached == nil || b.Attached.ID != in.Attachment {
		if in.Remove {
			return nil
		}
		return fault.Newf(fault.Invalid, opLink, "branch %s is not attached any more", in.Branch)
	}
	same := func(l topology.Link) bool { return l.Database == in.Link.Database && l.Schema == in.Link.Schema }
	if i := slices.IndexFunc(b.Attached.Links, same); i >= 0 && !in.Remove {
		in.Link.Since = b.Attached.Links[i].Since
	}
	b.Attached.Links = slices.DeleteFunc(slices.Clone(b.Attached.Links), same)
	if !in.Remove {
		b.Attached.Links = append(b.Attached.Links, in.Link)
	}
	return nil
}

// servingDatabase connects to a database of the server that serves a workspace, as the role that SmartDR has there.
func (s *Source) servingDatabase(ctx context.Context, g topology.Group, w topology.Workspace, database string) (*pgx.Conn, error) {
	if err := s.Catalog.CheckEpoch(ctx, g.Name, g.Epoch); err != nil {
		return nil, err
	}
	maintenance, err := postgres.Open(ctx, w.Sites[g.Active].Source)
	if err != nil {
		return nil, err
	}
	defer maintenance.Close(context.WithoutCancel(ctx)) //nolint:errcheck // nothing was asked of it
	cfg := maintenance.Config().Copy()
	cfg.Database = database
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return nil, dsn.ConnectError("connect to database "+database, err)
	}
	return conn, nil
}
