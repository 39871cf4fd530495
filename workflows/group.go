package workflows

import (
	"strings"

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

// CreateGroup makes a workspace group around servers that are there already. Nothing is changed on the servers.
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
	group := in.group(ctx)
	warnings, err := preflightAll(ctx, &group, nil)
	if err != nil {
		return CreateGroupResult{}, err
	}
	record := asked(ctx, RegionQueue(in.Primary), "record "+in.Name)
	err = workflow.ExecuteActivity(record, control.RecordGroup, activities.RecordGroupInput{Group: group}).Get(ctx, &group)
	workflow.SetCurrentDetails(ctx, "Group **"+in.Name+"** is recorded; configure replication next")
	return CreateGroupResult{Group: group, Warnings: warnings}, err
}

// preflightAll looks at every workspace's server in the active region and fills in the endpoints.
func preflightAll(ctx workflow.Context, group *topology.Group, databases []string) (warnings []string, err error) {
	for i := range group.Workspaces {
		w := &group.Workspaces[i]
		site := w.Sites[group.Active]
		in := activities.PreflightSourceInput{Group: group.Name, Workspace: w.Name, Source: site.Source, Databases: databases}
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
	}
	return warnings, nil
}

// group is the document to record. The run id is a UUID and stays the same in every retry.
func (in CreateGroupInput) group(ctx workflow.Context) topology.Group {
	g := topology.Group{
		ID:        workflow.GetInfo(ctx).WorkflowExecution.RunID,
		Name:      in.Name,
		CreatedAt: workflow.Now(ctx).UTC(),
		Primary:   in.Primary, Active: in.Primary, Authority: in.Primary,
		Epoch: 1,
	}
	for _, w := range in.Workspaces {
		site := topology.Site{Kind: topology.Adopted, Source: w.Source}
		g.Workspaces = append(g.Workspaces, topology.Workspace{Name: w.Name, Sites: map[string]topology.Site{in.Primary: site}})
	}
	return g
}

func (in CreateGroupInput) check() error {
	switch {
	case in.Name == "":
		return invalid(`give a name, as in {"name":"prod", ...}`, "a workspace group needs a name")
	case in.Primary == "":
		return invalid(`give a region, as in {"primary":"east", ...}`, "a workspace group needs a primary region")
	case len(in.Workspaces) == 0:
		return invalid(`give at least one, as in {"workspaces":[{"name":"main","source":{"connString":"postgres://..."}}]}`,
			"a workspace group needs a workspace")
	}
	seen := map[string]bool{}
	for _, w := range in.Workspaces {
		if err := w.check(seen); err != nil {
			return err
		}
	}
	return nil
}

func (w WorkspaceInput) check(seen map[string]bool) error {
	switch {
	case w.Kind != "" && w.Kind != topology.Adopted:
		return invalid("give the connection string of a server that is there already, and leave out kind",
			"workspace %q: this version adopts servers and cannot make %s ones", w.Name, w.Kind)
	case strings.TrimSpace(w.Source.ConnString) == "":
		return invalid("give source.connString", "workspace %q has no connection string", w.Name)
	case seen[w.Name]:
		return invalid("give each workspace a name of its own", "workspace %q is named twice", w.Name)
	}
	seen[w.Name] = true
	return nil
}
