package workflows

import (
	"go.temporal.io/sdk/workflow"

	"github.com/smartdr/smartdr/activities"
	"github.com/smartdr/smartdr/internal/topology"
)

// ChangeDatabases changes which databases of a group are replicated, while replication runs. One that is added is Pending until
// a snapshot that includes it is whole in the other region; shipping goes on meanwhile.
func ChangeDatabases(ctx workflow.Context, in ChangeDatabasesInput) (GroupResult, error) {
	if in.Group == "" {
		return GroupResult{}, invalid(`give one, as in {"group":"prod","add":["app"]}`, "changing the databases needs a group")
	}
	if err := label(ctx, groupKey.ValueSet(in.Group)); err != nil {
		return GroupResult{}, err
	}
	var group topology.Group
	err := workflow.ExecuteActivity(asked(ctx, TaskQueue, "read the group"), control.ReadGroup, activities.ReadGroupInput{Group: in.Group}).Get(ctx, &group)
	if err != nil {
		return GroupResult{}, refuse(err)
	}
	if err := in.checkAgainst(group); err != nil {
		return GroupResult{}, err
	}
	result, err := changeDatabases(ctx, in, group)
	return result, refuseAt(group.Active, err)
}

func (in ChangeDatabasesInput) checkAgainst(g topology.Group) error {
	if err := g.Replicable("change databases"); err != nil {
		return refuseInvalid(err)
	}
	if g.Replication == nil {
		return invalid("configure its replication first", "group %q is not replicated", g.Name)
	}
	return refuseInvalid(g.CheckChoice(in.Add))
}

func (in ChangeDatabasesInput) change() topology.DatabaseChange {
	return topology.DatabaseChange{Add: in.Add, Remove: in.Remove, All: in.All}
}

func changeDatabases(ctx workflow.Context, in ChangeDatabasesInput, group topology.Group) (GroupResult, error) {
	workflow.SetCurrentDetails(ctx, "Looking at the servers")
	present, _, err := inspectAll(ctx, group, nil)
	if err != nil {
		return GroupResult{}, err
	}
	chosen, _, err := group.Replication.Changed(in.change(), present)
	if err != nil {
		return GroupResult{}, refuseInvalid(err)
	}
	_, warnings, err := inspectAll(ctx, group, &topology.Replication{Databases: chosen})
	if err != nil {
		return GroupResult{}, err
	}
	var recorded activities.RecordDatabasesResult
	record := activities.RecordDatabasesInput{Group: in.Group, Change: in.change(), Present: present}
	queue := RegionQueue(group.Active)
	if err := workflow.ExecuteActivity(asked(ctx, queue, "record the choice"), source.RecordDatabases, record).Get(ctx, &recorded); err != nil {
		return GroupResult{}, err
	}
	if err := ensureReplication(asked(ctx, TaskQueue, "wake Replication"), recorded.Group); err != nil {
		return GroupResult{}, err
	}
	workflow.SetCurrentDetails(ctx, "Recorded; Replication takes a new snapshot where the newest one lacks a database")
	return GroupResult{Group: recorded.Group, Warnings: append(recorded.Notes, warnings...)}, nil
}

// inspectAll looks at the servers that run, judges a choice if there is one, and returns which databases they have.
func inspectAll(ctx workflow.Context, g topology.Group, choice *topology.Replication) (present topology.Present, warnings []string, err error) {
	for _, w := range g.Workspaces {
		site, placed := w.Sites[g.Active]
		if !w.Replicates(g.Active) {
			if placed && w.Recoverable() {
				present = append(present, topology.Found{Workspace: w.Name, Unknown: true})
			}
			continue
		}
		in := activities.InspectDatabasesInput{Group: g.Name, Workspace: w.Name, Source: site.Source, Choice: choice}
		look := asked(ctx, siteQueue(g.Active, site.Host), "server of "+w.Name)
		var found activities.InspectDatabasesResult
		if err := workflow.ExecuteActivity(look, source.InspectDatabases, in).Get(ctx, &found); err != nil {
			return nil, nil, err
		}
		present = append(present, topology.Found{Workspace: w.Name, Databases: found.Databases})
		for _, warning := range found.Warnings {
			warnings = append(warnings, w.Name+": "+warning)
		}
	}
	return present, warnings, nil
}
