package api

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/workflows"
)

// GroupChange asks to change a group; what is nil or empty stays.
type GroupChange struct {
	Group    string             `json:"group"`
	SmartDR  *bool              `json:"smartDR,omitempty"`
	Firewall *topology.Firewall `json:"firewall,omitempty"` // in place of what is there
	Add      []string           `json:"add,omitempty"`      // CIDR ranges, to what is there
	Remove   []string           `json:"remove,omitempty"`   // CIDR ranges
	// SelfFenceAfter is how long a region may reach nobody before it fences its own servers, as "2m"; "0" is never.
	SelfFenceAfter *string `json:"selfFenceAfter,omitempty"`
	// SequenceGap is by how many values a failover moves the sequences of the new primary ahead; 0: not at all.
	SequenceGap *int64 `json:"sequenceGap,omitempty"`
}

// ChangeGroup changes a group's option and firewall, and waits until every server that SmartDR runs follows.
func (s *Service) ChangeGroup(ctx context.Context, req GroupChange) (ChangedGroup, error) {
	g, err := s.changeable(ctx, req.Group)
	if err != nil {
		return ChangedGroup{}, err
	}
	if req.SelfFenceAfter != nil {
		if _, err := topology.ParseSelfFence(*req.SelfFenceAfter); err != nil {
			return ChangedGroup{}, err
		}
	}
	if err := topology.CheckSequenceGap(req.SequenceGap); err != nil {
		return ChangedGroup{}, err
	}
	in := workflows.ChangeGroupInput{Group: req.Group, SmartDR: req.SmartDR, SelfFenceAfter: req.SelfFenceAfter, SequenceGap: req.SequenceGap}
	if in.Firewall, err = req.firewall(g); err != nil {
		return ChangedGroup{}, err
	}
	if in.SmartDR == nil && in.Firewall == nil && in.SelfFenceAfter == nil && in.SequenceGap == nil {
		return ChangedGroup{}, fault.Newf(fault.Invalid, opChange, "nothing to change was named").
			WithHint("See `smartdr group change --help`.")
	}
	return s.changeGroup(ctx, req.Group, workflows.ChangeGroupType, "change group "+req.Group, in)
}

// firewall is the one that is asked for; nil when it stays.
func (req GroupChange) firewall(g topology.Group) (*topology.Firewall, error) {
	switch {
	case req.Firewall != nil && len(req.Add)+len(req.Remove) > 0:
		return nil, fault.Newf(fault.Invalid, opChange, "a new firewall, and ranges to add or remove, were asked for at once").
			WithHint("Ask for one of both.")
	case req.Firewall != nil:
		f, err := topology.NewFirewall(req.Firewall.Ranges, req.Firewall.AllowAll)
		return &f, err
	case len(req.Add)+len(req.Remove) == 0:
		return nil, nil
	}
	ranges, err := without(g, req.Remove)
	if err != nil {
		return nil, err
	}
	f, err := topology.NewFirewall(append(ranges, req.Add...), false)
	return &f, err
}

// without returns the group's ranges save for those to remove, which must be there.
func without(g topology.Group, remove []string) ([]string, error) {
	if g.Firewall.AllowAll {
		return nil, fault.Newf(fault.Invalid, opChange, "the firewall of group %s is open to all", g.Name).
			WithHint("Say who may reach it: smartdr group change --group %s --firewall CIDR", g.Name)
	}
	ranges := slices.Clone(g.Firewall.Ranges)
	for _, r := range remove {
		p, err := topology.ParseRange(r)
		if err != nil {
			return nil, err
		}
		i := slices.Index(ranges, p.String())
		if i < 0 {
			return nil, fault.Newf(fault.Invalid, opChange, "the firewall of group %s has no range %s", g.Name, p).
				WithHint("It has: %s.", orNone(g.Firewall.Ranges))
		}
		ranges = slices.Delete(ranges, i, i+1)
	}
	return ranges, nil
}

func orNone(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

// changeGroup performs a workflow whose result is a group.
func (s *Service) changeGroup(ctx context.Context, group, workflow, summary string, in any) (ChangedGroup, error) {
	return s.changeBy(ctx, workflows.ManageGroupID(group), workflow, summary, in)
}

func (s *Service) changeBy(ctx context.Context, id, workflow, summary string, in any) (ChangedGroup, error) {
	var out workflows.GroupResult
	err := s.perform(ctx, id, workflow, summary, in, &out)
	return ChangedGroup{Group: out.Group, Warnings: out.Warnings}, err
}

// WorkspaceChange asks to change a workspace; what is nil or empty stays.
type WorkspaceChange struct {
	Group     string            `json:"group"`
	Workspace string            `json:"workspace"`
	Size      string            `json:"size,omitempty"`
	Set       map[string]string `json:"set,omitempty"`
	Reset     []string          `json:"reset,omitempty"`
	HBA       *[]string         `json:"hba,omitempty"`
	Ident     *[]string         `json:"ident,omitempty"`
	Restart   bool              `json:"restart,omitempty"`
	Source    *topology.Source  `json:"source,omitempty"` // of an adopted one: another way to reach the same server
}

// ChangeWorkspace changes a workspace, and waits until its server has what it can take without a restart.
func (s *Service) ChangeWorkspace(ctx context.Context, req WorkspaceChange) (ChangedWorkspace, error) {
	if err := req.validate(); err != nil {
		return ChangedWorkspace{}, err
	}
	g, w, err := s.changeableWorkspace(ctx, req.Group, req.Workspace)
	if err == nil {
		err = req.fits(g, w)
	}
	if err != nil {
		return ChangedWorkspace{}, err
	}
	summary := "change workspace " + req.Workspace + " of " + req.Group
	return s.changeWorkspace(ctx, req.Group, req.Workspace, workflows.ChangeWorkspaceType, summary, workflows.ChangeWorkspaceInput(req))
}

func (req WorkspaceChange) validate() error {
	nothing := req.Size == "" && len(req.Set)+len(req.Reset) == 0 && req.HBA == nil && req.Ident == nil && !req.Restart && req.Source == nil
	if nothing {
		return fault.Newf(fault.Invalid, opChange, "nothing to change was named").WithHint("See `smartdr workspace change --help`.")
	}
	for _, name := range req.Reset {
		if _, both := req.Set[name]; both {
			return fault.Newf(fault.Invalid, opChange, "setting %s is to be set and reset at once", name)
		}
	}
	return firstOf(
		func() error { return validSize(req.Size) },
		func() error { return validSettings("$", req.Set) },
		func() error { return validRules("$", "pg_hba.conf", valueOf(req.HBA)) },
		func() error { return validRules("$", "pg_ident.conf", valueOf(req.Ident)) },
		func() error { return validSource(req.Source) },
	)
}

func valueOf(list *[]string) []string {
	if list == nil {
		return nil
	}
	return *list
}

// fits refuses what only the other kind of workspace can have.
func (req WorkspaceChange) fits(g topology.Group, w *topology.Workspace) error {
	managed := w.Managed(g.Active)
	switch {
	case managed && req.Source != nil:
		return fault.Newf(fault.Invalid, opChange, "SmartDR runs the server of workspace %s itself: it has no connection to change", w.Name)
	case !managed && (len(req.Set)+len(req.Reset) > 0 || req.HBA != nil || req.Ident != nil || req.Restart):
		return fault.Newf(fault.Invalid, opChange, "workspace %s was adopted: SmartDR does not run its server", w.Name).
			WithHint("Change it there. What it has is captured, and is the same after a failover.")
	}
	return nil
}

// Lifecycle asks to suspend, resume or terminate a workspace, or the whole group when none is named.
type Lifecycle struct {
	Group     string `json:"group"`
	Workspace string `json:"workspace,omitempty"`
	Force     bool   `json:"force,omitempty"` // terminate: also what does not answer, and what was not shipped
}

func (req Lifecycle) String() string {
	if req.Workspace == "" {
		return "group " + req.Group
	}
	return fmt.Sprintf("workspace %s of group %s", req.Workspace, req.Group)
}

func (req Lifecycle) id() string {
	if req.Workspace == "" {
		return workflows.ManageGroupID(req.Group)
	}
	return workflows.ManageWorkspaceID(req.Group, req.Workspace)
}

// Suspend ends the servers of managed workspaces, once all they wrote is shipped. Their files stay. What is suspended already
// stays so.
func (s *Service) Suspend(ctx context.Context, req Lifecycle) (ChangedGroup, error) {
	from := []topology.WorkspaceState{topology.WorkspaceActive, topology.WorkspaceSuspending}
	g, already, err := s.concerned(ctx, req, "suspend", topology.WorkspaceSuspended, from)
	if err != nil || already {
		return ChangedGroup{Group: g, Already: already}, err
	}
	in := workflows.SuspendInput{Group: req.Group, Workspace: req.Workspace}
	return s.changeBy(ctx, req.id(), workflows.SuspendType, "suspend "+req.String(), in)
}

// Resume starts the servers of suspended workspaces again. What serves goes on serving.
func (s *Service) Resume(ctx context.Context, req Lifecycle) (ChangedGroup, error) {
	from := []topology.WorkspaceState{topology.WorkspaceSuspended, topology.WorkspaceSuspending}
	g, already, err := s.concerned(ctx, req, "resume", topology.WorkspaceActive, from)
	if err != nil || already {
		return ChangedGroup{Group: g, Already: already}, err
	}
	in := workflows.ResumeInput{Group: req.Group, Workspace: req.Workspace}
	return s.changeBy(ctx, req.id(), workflows.ResumeType, "resume "+req.String(), in)
}

// concerned returns the group, if it has managed workspaces in one of the states: the one that was named, else any. already
// is whether those that there are, are as they were asked to be.
func (s *Service) concerned(ctx context.Context, req Lifecycle, what string, to topology.WorkspaceState, from []topology.WorkspaceState) (g topology.Group, already bool, err error) {
	if req.Workspace == "" {
		g, err = s.changeable(ctx, req.Group)
		if err != nil {
			return g, false, err
		}
		already, err = concernedOf(g, what, to, from)
		return g, already, err
	}
	g, w, err := s.changeableWorkspace(ctx, req.Group, req.Workspace)
	switch {
	case err != nil:
		return g, false, err
	case !w.Managed(g.Active):
		return g, false, fault.Newf(fault.Invalid, opChange, "workspace %s was adopted: SmartDR does not run its server and cannot %s it", w.Name, what)
	case w.State == to:
		return g, true, nil
	case !slices.Contains(from, w.State):
		return g, false, fault.Newf(fault.Invalid, opChange, "workspace %s is %s: there is nothing to %s", w.Name, Standing(g, *w).State, what)
	}
	return g, false, nil
}

func concernedOf(g topology.Group, what string, to topology.WorkspaceState, from []topology.WorkspaceState) (already bool, err error) {
	some := func(states ...topology.WorkspaceState) bool {
		return slices.ContainsFunc(g.Workspaces, func(w topology.Workspace) bool { return w.Managed(g.Active) && slices.Contains(states, w.State) })
	}
	switch {
	case some(from...):
		return false, nil
	case some(to):
		return true, nil
	}
	return false, fault.Newf(fault.Invalid, opChange, "group %s has no workspace to %s", g.Name, what).
		WithHint("Only servers that SmartDR runs can be suspended. `smartdr workspace list --group %s` shows how they stand.", g.Name)
}
