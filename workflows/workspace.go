package workflows

import (
	"fmt"

	"go.temporal.io/sdk/workflow"

	"github.com/smartdr/smartdr/activities"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
)

// CreateWorkspace adds a workspace to a group: a server that is there already, or one to make. When the group is
// replicated, the new workspace is too.
func CreateWorkspace(ctx workflow.Context, in CreateWorkspaceInput) (WorkspaceResult, error) {
	if in.Group == "" {
		return WorkspaceResult{}, invalid(`give one, as in {"group":"prod","name":"orders"}`, "a workspace needs a group")
	}
	if err := in.check(); err != nil {
		return WorkspaceResult{}, err
	}
	group, err := begin(ctx, in.Group)
	if err != nil {
		return WorkspaceResult{}, err
	}
	if err := untaken(group, in.Name); err != nil {
		return WorkspaceResult{}, err
	}
	result, err := createWorkspace(ctx, in, group)
	return result, refuseAt(group.Active, err)
}

func createWorkspace(ctx workflow.Context, in CreateWorkspaceInput, group topology.Group) (WorkspaceResult, error) {
	w, err := in.workspace(group.Active)
	if err != nil {
		return WorkspaceResult{}, err
	}
	var result WorkspaceResult
	if !in.managed() {
		if result.Warnings, err = preflight(ctx, group, &w); err != nil {
			return WorkspaceResult{}, err
		}
	}
	if there := group.Workspace(in.Name); there != nil && in.Host == "" {
		in.Host = there.Sites[group.Active].Host // where an earlier attempt may have left files
	}
	servers, err := planServers(ctx, &group, []WorkspaceInput{in.WorkspaceInput})
	if err != nil {
		return WorkspaceResult{}, err
	}
	for _, s := range servers {
		w.Sites[s.Region] = topology.Site{Kind: topology.Managed, Host: s.Host}
	}
	record := asked(ctx, RegionQueue(group.Active), "record "+in.Name)
	if err := workflow.ExecuteActivity(record, control.AddWorkspace, activities.AddWorkspaceInput{Group: in.Group, Workspace: w}).Get(ctx, &group); err != nil {
		return WorkspaceResult{}, err
	}
	group, made, err := makeServers(ctx, group, servers)
	if err != nil {
		return WorkspaceResult{}, err
	}
	for _, m := range made {
		result.Notes = append(result.Notes, fmt.Sprintf("the password of role %s is in %s on host %s", activities.AdminRole, m.PasswordFile, m.Site.Host))
	}
	if err := poke(ctx, group); err != nil {
		return WorkspaceResult{}, err
	}
	result.Workspace, result.Warnings = *group.Workspace(in.Name), append(result.Warnings, closedWarning(group, made)...)
	return result, nil
}

// begin labels the run, reads the group and refuses what cannot be changed now.
func begin(ctx workflow.Context, name string) (group topology.Group, err error) {
	if err := label(ctx, groupKey.ValueSet(name)); err != nil {
		return group, err
	}
	err = workflow.ExecuteActivity(asked(ctx, TaskQueue, "read the group"), control.ReadGroup, activities.ReadGroupInput{Group: name}).Get(ctx, &group)
	if err != nil {
		return group, refuse(err)
	}
	return group, refuseInvalid(group.Changeable("change group"))
}

// poke lets Replication look at the group now, or starts it where the group is to be replicated.
func poke(ctx workflow.Context, group topology.Group) error {
	if group.Replication == nil {
		return nil
	}
	return ensureReplication(asked(ctx, TaskQueue, "tell Replication"), group)
}

func untaken(g topology.Group, name string) error {
	w := g.Workspace(name)
	switch {
	case w == nil || w.State == topology.WorkspacePending:
		return nil // one whose making failed is gone on with
	case w.State == topology.WorkspaceTerminated || w.State == topology.WorkspaceTerminating:
		return invalid("choose a name that was never used in this group",
			"group %q had a workspace %q, which was terminated: what the buckets hold of it bears that name", g.Name, name)
	case w.Sites[g.Active].Kind == topology.Adopted && len(w.Lineages) == 0:
		return nil // recorded by an attempt that did not end: AddWorkspace compares
	}
	return refuseInvalid(fault.Newf(fault.Taken, "create workspace", "group %s has a workspace %s already", g.Name, name).WithHint("Choose another name."))
}
