package workflows

import (
	"go.temporal.io/sdk/workflow"

	"github.com/smartdr/smartdr/activities"
	"github.com/smartdr/smartdr/internal/topology"
)

// Nil structs whose methods name the activities; the workers hold the real ones.
var (
	control *activities.Control
	source  *activities.Source
	target  *activities.Target
)

// CreateGroup makes a workspace group: it takes up servers that are there already, on which nothing is changed, and
// makes those of managed workspaces.
func CreateGroup(ctx workflow.Context, in CreateGroupInput) (CreateGroupResult, error) {
	if err := in.check(); err != nil {
		return CreateGroupResult{}, err
	}
	if err := label(ctx, groupKey.ValueSet(in.Name), regionKey.ValueSet(in.Primary)); err != nil {
		return CreateGroupResult{}, err
	}
	result, err := createGroup(ctx, in)
	return result, refuseAt(in.Primary, err)
}

func createGroup(ctx workflow.Context, in CreateGroupInput) (CreateGroupResult, error) {
	workflow.SetCurrentDetails(ctx, "Looking at the region and its servers")
	check := asked(ctx, RegionQueue(in.Primary), "bucket of "+in.Primary)
	err := workflow.ExecuteActivity(check, source.CheckRegions, activities.CheckRegionsInput{Regions: []string{in.Primary}}).Get(ctx, nil)
	if err != nil {
		return CreateGroupResult{}, err
	}
	group, err := in.group(ctx)
	if err != nil {
		return CreateGroupResult{}, err
	}
	warnings, err := preflightAll(ctx, &group)
	if err != nil {
		return CreateGroupResult{}, err
	}
	servers, err := planServers(ctx, &group, in.Workspaces)
	if err != nil {
		return CreateGroupResult{}, err
	}
	placeOn(&group, servers)
	record := asked(ctx, RegionQueue(in.Primary), "record "+in.Name)
	err = workflow.ExecuteActivity(record, control.RecordGroup, activities.RecordGroupInput{Group: group}).Get(ctx, &group)
	if err != nil {
		return CreateGroupResult{}, err
	}
	group, made, err := makeServers(ctx, group, servers)
	if err != nil {
		return CreateGroupResult{}, err
	}
	workflow.SetCurrentDetails(ctx, "Group **"+in.Name+"** is recorded; configure replication next")
	return CreateGroupResult{Group: group, Warnings: append(warnings, closedWarning(group, made)...)}, err
}

// preflightAll looks at the server of every adopted workspace in the active region and fills in the endpoints.
func preflightAll(ctx workflow.Context, group *topology.Group) (warnings []string, err error) {
	for i := range group.Workspaces {
		w := &group.Workspaces[i]
		if site := w.Sites[group.Active]; site.Kind != topology.Adopted || !w.Replicates(group.Active) {
			continue
		}
		found, err := preflight(ctx, *group, w)
		if err != nil {
			return nil, err
		}
		warnings = append(warnings, found...)
	}
	return warnings, nil
}

func preflight(ctx workflow.Context, group topology.Group, w *topology.Workspace) (warnings []string, err error) {
	site := w.Sites[group.Active]
	in := activities.PreflightSourceInput{Group: group.Name, Workspace: w.Name, Source: site.Source}
	var found activities.PreflightSourceResult
	look := asked(ctx, RegionQueue(group.Active), "server of "+w.Name)
	if err := workflow.ExecuteActivity(look, source.PreflightSource, in).Get(ctx, &found); err != nil {
		return nil, err
	}
	if len(site.Endpoint.Hosts) == 0 {
		site.Endpoint = found.Endpoint
		w.Sites[group.Active] = site
	}
	for _, warning := range found.Warnings {
		warnings = append(warnings, w.Name+": "+warning)
	}
	return warnings, nil
}

// group is the document to record. The run id is a UUID and stays the same in every retry.
func (in CreateGroupInput) group(ctx workflow.Context) (topology.Group, error) {
	g := topology.Group{
		ID:        workflow.GetInfo(ctx).WorkflowExecution.RunID,
		Name:      in.Name,
		CreatedAt: workflow.Now(ctx).UTC(),
		Primary:   in.Primary, Active: in.Primary, Authority: in.Primary,
		Epoch:   1,
		SmartDR: in.SmartDR == nil || *in.SmartDR, SequenceGap: in.SequenceGap,
	}
	if in.Firewall != nil {
		f, err := in.Firewall.Canonical()
		if err != nil {
			return g, refuseInvalid(err)
		}
		g.Firewall = f
	}
	for _, w := range in.Workspaces {
		made, err := w.workspace(in.Primary)
		if err != nil {
			return g, err
		}
		g.Workspaces = append(g.Workspaces, made)
	}
	return g, nil
}

func (in CreateGroupInput) check() error {
	switch {
	case in.Name == "":
		return invalid(`give a name, as in {"name":"prod", ...}`, "a workspace group needs a name")
	case in.Primary == "":
		return invalid(`give a region, as in {"primary":"east", ...}`, "a workspace group needs a primary region")
	}
	if err := topology.CheckName("workspace group", in.Name); err != nil {
		return refuseInvalid(err)
	}
	if in.Firewall != nil {
		if _, err := in.Firewall.Canonical(); err != nil {
			return refuseInvalid(err)
		}
	}
	if err := topology.CheckSequenceGap(in.SequenceGap); err != nil {
		return refuseInvalid(err)
	}
	seen := map[string]bool{}
	for _, w := range in.Workspaces {
		if seen[w.Name] {
			return invalid("give each workspace a name of its own", "workspace %q is named twice", w.Name)
		}
		seen[w.Name] = true
		if err := w.check(); err != nil {
			return err
		}
	}
	return nil
}
