package activities

import (
	"context"
	"os"
	"slices"
	"strings"

	"github.com/smartdr/smartdr/internal/catalog"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/restore"
	"github.com/smartdr/smartdr/internal/topology"
)

const opBranch = "attach branch"

// A branch's server is a restored one. What it may do hangs on the branch's attachment in the group's document alone, by its id: epochs,
// fences and operations of the group are not for it.

// PlanAttach says what is restored for a branch, and on which host. A branch that is being attached is gone on with, where it is.
func (t *Target) PlanAttach(ctx context.Context, in PlanAttachInput) (PlanAttachResult, error) {
	p := beat(ctx)
	defer p.end()
	result, err := t.planAttach(ctx, in)
	return result, judge(ctx, describe(err, "branch %s", in.Branch))
}

func (t *Target) planAttach(ctx context.Context, in PlanAttachInput) (r PlanAttachResult, err error) {
	loaded, err := t.Catalog.Load(ctx, in.Group)
	if err != nil {
		return r, err
	}
	g := loaded.Group
	b, err := attachable(&g, in)
	if err != nil {
		return r, err
	}
	if r.Branch = *b; b.Attached != nil && b.Attached.State == topology.AttachmentServes {
		return r, nil
	}
	if r.Plan, err = t.planBranch(ctx, g, *b); err != nil {
		return r, err
	}
	r.Size = g.Workspace(b.Workspace).Size
	if in.Size != nil {
		r.Size = *in.Size
	}
	r.Plan.Need = Need{Size: r.Size, DiskBytes: r.Plan.diskBytes()}
	t.tell(ctx)
	if a := b.Attached; a != nil {
		r.Size, r.Plan.Host, r.Plan.Lineage = a.Size, a.Host, a.Lineage
		return r, nil
	}
	r.Plan.Host, err = t.placeBranch(ctx, in, r.Plan)
	return r, err
}

// attachable returns a branch that can be attached as asked, or is so already.
func attachable(g *topology.Group, in PlanAttachInput) (*topology.Branch, error) {
	b, err := branchOf(g, in.Branch)
	if err != nil {
		return nil, err
	}
	if err := attachableWorkspace(g, b); err != nil {
		return nil, err
	}
	a := b.Attached
	switch {
	case a == nil:
		return b, nil
	case a.State == topology.Detaching:
		return nil, fault.Newf(fault.Invalid, opBranch, "it is being detached").WithHint("Attach it when that is done: smartdr branch detach %s waits for it.", b.Name)
	case a.ReadOnly != in.ReadOnly:
		return nil, fault.Newf(fault.Invalid, opBranch, "it is attached %s on host %s", manner(a.ReadOnly), a.Host).
			WithHint("Detach it first: smartdr branch detach %s. Or make another branch of it.", b.Name)
	case in.Host != "" && in.Host != a.Host:
		return nil, fault.Newf(fault.Invalid, opBranch, "it is attached on host %s, and not on %s", a.Host, in.Host).
			WithHint("Detach it first: smartdr branch detach %s.", b.Name)
	}
	return b, nil
}

func attachableWorkspace(g *topology.Group, b *topology.Branch) error {
	w := g.Workspace(b.Workspace)
	if w == nil {
		return noWorkspace(*g, b.Workspace)
	}
	if w.State == topology.WorkspaceTerminating || w.State == topology.WorkspaceTerminated {
		return fault.Newf(fault.Invalid, opBranch, "its workspace %s is %s", w.Name, w.State)
	}
	return nil
}

func manner(readOnly bool) string {
	if readOnly {
		return "read-only"
	}
	return "read-write"
}

// branchOf returns a branch, or says which there are.
func branchOf(g *topology.Group, name string) (*topology.Branch, error) {
	if b := g.Branch(name); b != nil {
		return b, nil
	}
	var names []string
	for _, b := range g.Branches {
		names = append(names, b.Name)
	}
	err := fault.Newf(fault.Missing, "find branch", "group %s has no branch %q", g.Name, name)
	if g.FindSystemManaged(name) != nil {
		return nil, fault.Newf(fault.Invalid, opBranch, "%s is system-managed: it goes on receiving what was not replicated, and cannot be attached", name).
			WithHint("Attach a branch of it: smartdr branch create --group %s --of %s --attach", g.Name, name)
	}
	if len(names) == 0 {
		return nil, err.WithHint("It has none.")
	}
	return nil, err.WithHint("It has: %s.", strings.Join(names, ", "))
}

// placeBranch chooses a host beside what is there: the workspace's own server makes no room.
func (t *Target) placeBranch(ctx context.Context, in PlanAttachInput, plan WorkspacePlan) (string, error) {
	hosts, err := t.Catalog.Hosts(ctx, t.Region)
	if err != nil {
		return "", err
	}
	if in.Host != "" {
		if hosts = slices.DeleteFunc(hosts, func(h topology.Host) bool { return h.Name != in.Host }); len(hosts) == 0 {
			return "", fault.Newf(fault.Invalid, opBranch, "region %s has no host %q", t.Region, in.Host).WithHint("smartdr hosts lists them.")
		}
	}
	need := topology.Need{Workspace: plan.Workspace, Size: plan.Need.Size, DiskBytes: plan.Need.DiskBytes, Major: plan.ServerVersion / 10000, Without: in.Refused}
	placed, err := topology.Place([]topology.Need{need}, hosts, now())
	if err != nil {
		return "", fault.Newf(fault.KindOf(err), opBranch, "no host of region %s has room for it: %w", t.Region, err).
			WithHint("Detach another branch, add a host, or ask for less: --size.")
	}
	return placed[plan.Workspace], nil
}

// RecordAttachment makes an attachment the branch's, unless it has one.
func (c *Control) RecordAttachment(ctx context.Context, in RecordAttachmentInput) (topology.Branch, error) {
	p := beat(ctx)
	defer p.end()
	var recorded topology.Branch
	_, err := c.Catalog.Update(ctx, in.Group, func(g *topology.Group) error {
		b, err := branchOf(g, in.Branch)
		if err == nil {
			err = attachableWorkspace(g, b)
		}
		switch {
		case err != nil:
			return err
		case b.Attached == nil:
			a := in.Attachment
			a.State, a.Since = topology.Attaching, now()
			b.Attached = &a
		case b.Attached.ID != in.Attachment.ID:
			return fault.Newf(fault.Taken, opBranch, "somebody else attaches it on host %s", b.Attached.Host)
		}
		recorded = *b
		return nil
	})
	return recorded, judge(ctx, describe(err, "branch %s", in.Branch))
}

// ProvisionBranch gives a branch's server a folder, a port and an endpoint on this host. A folder that is there has the plan that its
// files are of.
func (t *Target) ProvisionBranch(ctx context.Context, in RestoreInput) (ProvisionBranchResult, error) {
	p := beat(ctx)
	defer p.end()
	result, err := t.provisionBranch(ctx, in)
	return result, judge(ctx, describe(err, "branch %s", in.Branch))
}

func (t *Target) provisionBranch(ctx context.Context, in RestoreInput) (r ProvisionBranchResult, err error) {
	if _, err := t.attachment(ctx, in); err != nil {
		return r, err
	}
	dir := t.dir(in)
	var o owner
	found, err := readState(dir, ownerFile, &o)
	if err != nil {
		return r, err
	}
	if !found {
		o = owner{
			Group: in.Group, Workspace: in.Plan.Workspace, Epoch: in.Epoch, Operation: in.Operation, Plan: in.Plan, Size: in.Plan.Need.Size,
			Branch: in.Branch, Attachment: in.Attachment, ReadOnly: in.ReadOnly,
		}
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return r, fault.New(diskKind(err), "make instance folder", err)
		}
		if err := writeState(dir, ownerFile, o); err != nil {
			return r, err
		}
	}
	t.sweep(ctx, in)
	if err := t.choosePort(dir, &o); err != nil {
		return r, err
	}
	t.tell(ctx)
	r.Plan = o.Plan
	r.Place, err = t.place(dir, o.Port, o.Plan)
	return r, err
}

// attachment returns the branch's attachment while it is the one that is being worked for; else fault.Fenced.
func (s *Site) attachment(ctx context.Context, in RestoreInput) (topology.Attachment, error) {
	a, _, err := s.attached(ctx, BranchInput{Group: in.Group, Branch: in.Branch, Attachment: in.Attachment})
	return a, err
}

// attached returns a branch and its attachment, or fault.Fenced when it has another one, or none, or another control plane acts for
// the group. What it was asked for is to be ended then.
func (s *Site) attached(ctx context.Context, in BranchInput) (topology.Attachment, topology.Branch, error) {
	loaded, err := s.Catalog.Load(ctx, in.Group)
	if err != nil {
		return topology.Attachment{}, topology.Branch{}, err
	}
	if err := catalog.Controls(&loaded.Group, s.Controller); err != nil {
		return topology.Attachment{}, topology.Branch{}, err
	}
	return attachedIn(&loaded.Group, in)
}

func attachedIn(g *topology.Group, in BranchInput) (topology.Attachment, topology.Branch, error) {
	b := g.Branch(in.Branch)
	if b == nil || b.Attached == nil || b.Attached.ID != in.Attachment {
		return topology.Attachment{}, topology.Branch{}, fault.Newf(fault.Fenced, "find attachment", "branch %s is not attached as %s any more", in.Branch, in.Attachment)
	}
	return *b.Attached, *b, nil
}

// branchAttach makes recovery that of a branch: nothing that it could feed or be fed by ever runs in it.
func branchAttach(a *restore.AttachInput, in RestoreInput) {
	a.SlotName, a.ReadOnly = branchSlot(in.Attachment), in.ReadOnly
	if in.ReadOnly {
		a.SlotName = ""
	}
	if a.Overrides == nil {
		a.Overrides = map[string]string{}
	}
	a.Overrides[workersSetting] = "0"
}

// branchSlot is the slot on a branch's server that keeps its WAL until it is in the bucket.
func branchSlot(attachment string) string { return "smartdr_branch_" + attachment }

// servedBy makes sure that a restored server runs, and returns it: a workspace's while its epoch lasts, a branch's while its attachment
// does.
func (t *Target) servedBy(ctx context.Context, in RestoreInput) (*postgres.Server, error) {
	if in.Branch == "" {
		return t.running(ctx, in.Group, in.Place.Instance, in.Epoch)
	}
	if _, err := t.attachment(ctx, in); err != nil {
		return nil, err
	}
	found, err := readState(in.Place.Instance, attachedFile, new(restore.Attached))
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, fault.Newf(fault.Missing, "find branch's server", "%s holds no server that was brought up", in.Place.Instance)
	}
	s, err := postgres.Load(in.Place.Instance)
	if err != nil {
		return nil, err
	}
	return s, s.Start(ctx) // one that runs is only waited for
}

// PublishBranch says in the group's document how clients reach a branch. From then on its lineage is the branch's, and what is
// written to it stays.
func (t *Target) PublishBranch(ctx context.Context, in PublishBranchInput) (topology.Branch, error) {
	p := beat(ctx)
	defer p.end()
	b, err := t.publishBranch(ctx, in)
	return b, judge(ctx, describe(err, "branch %s", in.Branch))
}

func (t *Target) publishBranch(ctx context.Context, in PublishBranchInput) (b topology.Branch, err error) {
	if _, err := t.servedBy(ctx, in.RestoreInput); err != nil {
		return b, err
	}
	_, err = t.Catalog.Update(ctx, in.Group, func(g *topology.Group) error {
		if _, _, err := attachedIn(g, BranchInput{Branch: in.Branch, Attachment: in.Attachment}); err != nil {
			return err
		}
		there := g.Branch(in.Branch)
		if err := publishAttachment(there, in); err != nil {
			return err
		}
		b = *there
		return nil
	})
	if err != nil {
		return b, err
	}
	return b, changeOwner(in.Place.Instance, func(o *owner) { o.Published = true })
}

func publishAttachment(b *topology.Branch, in PublishBranchInput) error {
	a := *b.Attached
	if a.State == topology.Detaching {
		return fault.Newf(fault.Fenced, opBranch, "it is being detached")
	}
	a.State, a.Endpoint, a.Instance, a.Source, a.Error, a.Hint = topology.AttachmentServes, in.Place.Endpoint, in.Place.Instance, in.Attached.Source, "", ""
	b.Attached = &a
	known := slices.ContainsFunc(b.Line, func(l topology.Lineage) bool { return l.ID == in.Attached.Lineage.ID })
	if !in.ReadOnly && !known {
		b.Line, b.Own = append(slices.Clone(b.Line), in.Attached.Lineage), b.Own+1
	}
	return nil
}

// changeOwner changes what a folder says of itself.
func changeOwner(dir string, change func(*owner)) error {
	var o owner
	found, err := readState(dir, ownerFile, &o)
	if err != nil {
		return err
	}
	if !found {
		return fault.Newf(fault.Missing, "find server", "%s holds no server any more", dir)
	}
	change(&o)
	return writeState(dir, ownerFile, o)
}
