package workflows

import (
	"go.temporal.io/sdk/workflow"

	"github.com/smartdr/smartdr/activities"
	"github.com/smartdr/smartdr/internal/topology"
)

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
	present, warnings, err := inspectAll(ctx, group, &topology.Replication{Databases: in.Databases})
	if err != nil {
		return ConfigureResult{}, err
	}
	if err := present.Check(in.Databases); err != nil {
		return ConfigureResult{}, refuseInvalid(err)
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
	}
	if err := g.Replicable("configure replication"); err != nil {
		return refuseInvalid(err)
	}
	return refuseInvalid(g.CheckChoice(in.Databases))
}
