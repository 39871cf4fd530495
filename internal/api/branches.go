package api

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"strings"

	"github.com/smartdr/smartdr/activities"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/workflows"
)

// Branch is a branch as it stands.
type Branch struct {
	workflows.BranchResult
	URL      string `json:"url,omitempty"`      // how clients connect, while it is attached; holds no password
	Unsure   string `json:"unsure,omitempty"`   // why Bytes lacks what was written to it
	WALBytes int64  `json:"walBytes,omitempty"` // of Bytes, what was written to it
}

// Branches returns the branches of a group, oldest first, with what each has added to its bucket.
func (s *Service) Branches(ctx context.Context, group string) ([]Branch, error) {
	g, err := s.Group(ctx, group)
	if err != nil {
		return nil, err
	}
	out := []Branch{}
	for _, b := range g.Branches {
		out = append(out, s.branch(ctx, g, b))
	}
	return out, nil
}

// BranchOf returns one branch of a group; fault.Missing when there is none of that name.
func (s *Service) BranchOf(ctx context.Context, group, name string) (Branch, error) {
	g, err := s.Group(ctx, group)
	if err != nil {
		return Branch{}, err
	}
	b, err := findBranch(g, "show branch", name)
	if err != nil {
		return Branch{}, err
	}
	return s.branch(ctx, g, *b), nil
}

// branch measures a branch. A bucket that does not answer hides what was written to it, and nothing else.
func (s *Service) branch(ctx context.Context, g topology.Group, b topology.Branch) Branch {
	out := Branch{BranchResult: workflows.BranchResult{Branch: b}, URL: branchURL(b)}
	var store objectstore.Store
	if c, err := s.openCatalog(ctx); err == nil { // the group was just read from it
		store = c.Stores[b.Region]
	}
	entry, written, err := activities.BranchBytes(ctx, store, g, b.Name)
	if out.Bytes, out.WALBytes = entry+written, written; err != nil {
		out.Unsure = err.Error()
	}
	return out
}

// branchURL is how clients connect to a branch, or empty while they can't.
func branchURL(b topology.Branch) string {
	a := b.Attached
	if a == nil || a.State != topology.AttachmentServes || len(a.Endpoint.Hosts) == 0 {
		return ""
	}
	site := topology.Site{Source: a.Source, Endpoint: a.Endpoint}
	return connURL(a.Endpoint.Hosts, "", cmp.Or(b.Database, "postgres"), protection([]topology.Site{site}), false)
}

// findBranch explains what else a name may be.
func findBranch(g topology.Group, op, name string) (*topology.Branch, error) {
	if b := g.Branch(name); b != nil {
		return b, nil
	}
	if s := g.FindSystemManaged(name); s != nil {
		return nil, fault.Newf(fault.Invalid, op, "%s is system-managed: it goes on receiving what the lost region wrote, and is attached to nothing itself", name).
			WithHint("Make a branch of it, as many as you like: smartdr branch create my-copy --of %s --group %s --attach", name, g.Name)
	}
	e := fault.Newf(fault.Missing, op, "group %s has no branch %q", g.Name, name)
	if len(g.Branches) == 0 {
		return nil, e.WithHint("There is none yet: smartdr branch create --help")
	}
	return nil, e.WithHint("`smartdr branch list --group %s` shows those that there are.", g.Name)
}

// CreateBranch makes a branch, and attaches it if asked to.
func (s *Service) CreateBranch(ctx context.Context, in workflows.CreateBranchInput) (Branch, error) {
	g, err := s.Group(ctx, in.Group)
	if err == nil {
		err = firstOf(
			func() error { return in.At.Check() },
			func() error { return g.Branchable("create branch") },
			func() error { return freeToUse(g, in.Name) },
			func() error { return ofGroup(g, "create branch", in.Region) },
		)
	}
	if err != nil {
		return Branch{}, err
	}
	name := in.Name
	if name == "" { // only the point tells it
		name = "new/" + rand.Text()
	}
	what := cmp.Or(in.Of, in.Workspace, in.Group)
	return s.changeBranch(ctx, in.Group, workflows.BranchID(in.Group, name), workflows.CreateBranchType, "branch "+what, in)
}

// ofGroup refuses a region that is none of the group's; "" is left to be chosen.
func ofGroup(g topology.Group, op, region string) error {
	if region == "" || region == g.Primary || region == g.Secondary {
		return nil
	}
	e := fault.Newf(fault.Invalid, op, "group %s has no region %q", g.Name, region)
	if g.Secondary == "" {
		return e.WithHint("It has %s alone.", g.Primary)
	}
	return e.WithHint("It has %s and %s.", g.Primary, g.Secondary)
}

func freeToUse(g topology.Group, name string) error {
	if name == "" {
		return nil
	}
	return g.CheckBranchName(name)
}

func (s *Service) changeBranch(ctx context.Context, group, id, workflow, summary string, in any) (Branch, error) {
	var out workflows.BranchResult
	if err := s.perform(ctx, id, workflow, summary, in, &out); err != nil {
		return Branch{}, err
	}
	return s.after(ctx, group, out), nil
}

// after is what a workflow made of a branch, measured as lists are.
func (s *Service) after(ctx context.Context, group string, done workflows.BranchResult) Branch {
	g, err := s.Group(ctx, group)
	if err != nil || g.Branch(done.Branch.Name) == nil { // it is done all the same
		return Branch{BranchResult: done, URL: branchURL(done.Branch)}
	}
	v := s.branch(ctx, g, done.Branch)
	v.Notes = done.Notes
	return v
}

// AttachBranch gives a branch a server of its own, and waits until clients can connect.
func (s *Service) AttachBranch(ctx context.Context, in workflows.AttachBranchInput) (Branch, error) {
	g, err := s.Group(ctx, in.Group)
	if err == nil {
		_, err = findBranch(g, "attach branch", in.Branch)
	}
	if err == nil {
		err = validSize(in.Size)
	}
	if err != nil {
		return Branch{}, err
	}
	return s.changeBranch(ctx, in.Group, workflows.BranchID(in.Group, in.Branch), workflows.AttachBranchType, "attach branch "+in.Branch, in)
}

// DropBranch forgets a branch or a system-managed database. What nothing else needs of it leaves the bucket by retention.
func (s *Service) DropBranch(ctx context.Context, in workflows.DropBranchInput) (ChangedGroup, error) {
	g, err := s.Group(ctx, in.Group)
	if err == nil {
		err = g.CheckDrop(in.Name, in.Force)
	}
	if err != nil {
		return ChangedGroup{}, err
	}
	return s.changeBy(ctx, workflows.BranchID(in.Group, in.Name), workflows.DropBranchType, "drop "+in.Name, in)
}

// LinkBranch shows a database of an attached branch in one that serves, or ends that.
func (s *Service) LinkBranch(ctx context.Context, in workflows.LinkBranchInput) (Branch, error) {
	g, err := s.Group(ctx, in.Group)
	if err != nil {
		return Branch{}, err
	}
	b, err := findBranch(g, "link branch", in.Branch)
	if err != nil {
		return Branch{}, err
	}
	if b.Attached == nil && !in.Unlink {
		return Branch{}, fault.Newf(fault.Invalid, "link branch", "branch %s is not attached: no server of it runs", b.Name).
			WithHint("Attach it first: smartdr branch attach %s --group %s", b.Name, g.Name)
	}
	verb := "link"
	if in.Unlink {
		verb = "unlink"
	}
	v, err := s.changeBranch(ctx, in.Group, workflows.BranchID(in.Group, in.Branch), workflows.LinkBranchType, fmt.Sprintf("%s branch %s", verb, in.Branch), in)
	if err != nil && strings.Contains(err.Error(), noDatabase) {
		err = fault.New(fault.Missing, "link branch", err).WithHint("Databases that serve are listed by `smartdr databases --group %s`; --into names one of them.", g.Name)
	}
	return v, err
}

// noDatabase is PostgreSQL's word for a database that is not there: invalid_catalog_name.
const noDatabase = "SQLSTATE 3D000"
