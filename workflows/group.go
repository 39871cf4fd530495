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

// Configure chooses the secondary region and the databases of a group, and starts its Replication.
func Configure(ctx workflow.Context, in ConfigureInput) (ConfigureResult, error) {
	if in.Group == "" || in.Secondary == "" {
		return ConfigureResult{}, invalid(`give both, as in {"group":"prod","secondary":"west"}`, "configuring replication needs a group and a secondary region")
	}
	if err := label(ctx, groupKey.ValueSet(in.Group), regionKey.ValueSet(in.Secondary)); err != nil {
		return ConfigureResult{}, err
	}
	var group topology.Group
	err := workflow.ExecuteActivity(asked(ctx, TaskQueue, "read the group"), control.ReadGroup, activities.ReadGroupInput{Group: in.Group}).Get(ctx, &group)
	if err != nil {
		return ConfigureResult{}, refuse(err)
	}
	if err := in.checkAgainst(group); err != nil {
		return ConfigureResult{}, err
	}
	result, err := configure(ctx, in, group)
	return result, refuseAt(group.Active, err)
}

func configure(ctx workflow.Context, in ConfigureInput, group topology.Group) (ConfigureResult, error) {
	workflow.SetCurrentDetails(ctx, "Looking at both buckets and the servers")
	regions := activities.CheckRegionsInput{Regions: []string{group.Primary, in.Secondary}}
	queue := RegionQueue(group.Active)
	if err := workflow.ExecuteActivity(asked(ctx, queue, "both buckets"), source.CheckRegions, regions).Get(ctx, nil); err != nil {
		return ConfigureResult{}, err
	}
	warnings, err := preflightAll(ctx, &group, in.Databases)
	if err != nil {
		return ConfigureResult{}, err
	}
	record := activities.RecordReplicationInput{Group: in.Group, Secondary: in.Secondary, Databases: in.Databases}
	if err := workflow.ExecuteActivity(asked(ctx, queue, "record the choice"), source.RecordReplication, record).Get(ctx, &group); err != nil {
		return ConfigureResult{}, err
	}
	if err := ensureReplication(asked(ctx, TaskQueue, "start Replication"), group); err != nil {
		return ConfigureResult{}, err
	}
	workflow.SetCurrentDetails(ctx, "Replication runs as `"+ReplicationID(in.Group)+"`")
	return ConfigureResult{Group: group, Replication: ReplicationID(in.Group), Warnings: warnings}, nil
}

func ensureReplication(ctx workflow.Context, group topology.Group) error {
	return workflow.ExecuteActivity(ctx, control.EnsureReplication, activities.EnsureReplicationInput{
		Group: group.Name, Epoch: group.Epoch,
		WorkflowType: ReplicationType, WorkflowID: ReplicationID(group.Name), Signal: EpochChangedSignal,
	}).Get(ctx, nil)
}

func (in ConfigureInput) checkAgainst(g topology.Group) error {
	switch {
	case in.Secondary == g.Primary:
		return invalid("choose another region", "%q is the group's primary region already and cannot be its secondary too", in.Secondary)
	case g.Secondary != "" && g.Secondary != in.Secondary:
		return invalid("moving a group to another secondary region is not part of this version",
			"group %q replicates to %q already", g.Name, g.Secondary)
	case g.Operation != nil:
		return invalid("wait until it has ended", "a %s of group %q is under way", g.Operation.Kind, g.Name)
	}
	return nil
}
