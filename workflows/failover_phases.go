package workflows

import (
	"fmt"
	"strings"

	"go.temporal.io/sdk/workflow"

	"github.com/smartdr/smartdr/activities"
	"github.com/smartdr/smartdr/internal/topology"
)

// bringUp does what comes after the claim.
func (f *failover) bringUp(ctx workflow.Context) error {
	plan, err := f.fix(ctx)
	if err != nil {
		return err
	}
	attached, err := f.restoreAll(ctx, plan)
	if err != nil {
		return err
	}
	group, err := f.publish(ctx, attached)
	if err != nil {
		return err
	}
	return f.phase(ctx, "Replicate", "", func(*topology.Phase) error {
		start := forward(ctx, f.op.To, "start shipping the new lineage")
		start = workflow.WithTaskQueue(start, TaskQueue)
		return ensureReplication(start, group)
	})
}

// fix reads the final recovery point. The old side's shipper may have added to it until the claim, and nobody after it.
func (f *failover) fix(ctx workflow.Context) (plan activities.FailoverPlan, err error) {
	err = f.phase(ctx, "Fix recovery point", "", func(p *topology.Phase) error {
		in := activities.FixRecoveryPointInput{Group: f.in.Group, To: f.op.To, Operation: f.op.ID, Epoch: f.op.Epoch}
		err := workflow.ExecuteActivity(forward(ctx, f.op.To, "the end of the unbroken chain"), target.FixRecoveryPoint, in).Get(ctx, &plan)
		p.Note = planNote(plan)
		return err
	})
	f.op.Workspaces = nil
	for _, w := range plan.Workspaces {
		f.op.Workspaces = append(f.op.Workspaces, topology.Recovered{
			Workspace: w.Workspace, Point: w.Point, Lineage: w.Lineage, Databases: w.Databases, Notes: w.Notes,
		})
	}
	return plan, err
}

// restoreAll restores the workspaces side by side and returns the first failure when all have ended.
func (f *failover) restoreAll(ctx workflow.Context, plan activities.FailoverPlan) ([]activities.Attached, error) {
	attached := make([]activities.Attached, len(plan.Workspaces))
	errs := make([]error, len(plan.Workspaces))
	open := workflow.NewWaitGroup(ctx)
	for i, w := range plan.Workspaces {
		open.Add(1)
		workflow.Go(ctx, func(ctx workflow.Context) {
			defer open.Done()
			attached[i], errs[i] = f.restore(ctx, i, w)
		})
	}
	open.Wait(ctx)
	for _, err := range errs {
		if err != nil {
			return nil, err
		}
	}
	return attached, nil
}

// restore brings one workspace up.
func (f *failover) restore(ctx workflow.Context, i int, w activities.WorkspacePlan) (activities.Attached, error) {
	in := activities.RestoreInput{Group: f.in.Group, To: f.op.To, Operation: f.op.ID, Epoch: f.op.Epoch, Plan: w}
	err := f.phase(ctx, "Provision", w.Workspace, func(p *topology.Phase) error {
		err := f.execute(ctx, "folders and a port for "+w.Workspace, target.ProvisionTopology, in, &in.Place)
		p.Note = in.Place.Instance
		return err
	})
	if err != nil {
		return activities.Attached{}, err
	}
	if err := f.fill(ctx, i, in); err != nil {
		return activities.Attached{}, err
	}
	attached, err := f.attach(ctx, i, in)
	f.op.Workspaces[i].Endpoint = in.Place.Endpoint
	return activities.Attached{Workspace: w.Workspace, Place: in.Place, Source: attached.Source, Lineage: attached.Lineage}, err
}

// fill brings the files and the WAL.
func (f *failover) fill(ctx workflow.Context, i int, in activities.RestoreInput) error {
	w := in.Plan.Workspace
	if err := f.noted(ctx, i, "Restore snapshot", in, target.RestoreSnapshot, "snapshot "+in.Plan.Snapshot+" of "+w); err != nil {
		return err
	}
	return f.noted(ctx, i, "Fetch WAL", in, target.FetchWAL, "WAL up to "+in.Plan.Point.At.String())
}

// attach recovers, promotes and makes the server usable.
func (f *failover) attach(ctx workflow.Context, i int, in activities.RestoreInput) (attached activities.AttachBranchResult, err error) {
	err = f.phase(ctx, "Attach", in.Plan.Workspace, func(p *topology.Phase) error {
		err := f.execute(ctx, "recover exactly to "+in.Plan.Point.RecordEnd.String()+", promote", target.AttachBranch, in, &attached)
		p.Note = attached.Note
		f.op.Workspaces[i].Notes = append(f.op.Workspaces[i].Notes, attached.Notes...)
		return err
	})
	if err != nil {
		return attached, err
	}
	return attached, f.noted(ctx, i, "Restore metadata", in, target.RestoreMetadata, "settings, access rules, databases of "+in.Plan.Workspace)
}

// noted is a phase that answers with notes alone.
func (f *failover) noted(ctx workflow.Context, i int, name string, in activities.RestoreInput, activity any, summary string) error {
	return f.phase(ctx, name, in.Plan.Workspace, func(p *topology.Phase) error {
		var result activities.PhaseResult
		err := f.execute(ctx, summary, activity, in, &result)
		p.Note = result.Note
		f.op.Workspaces[i].Notes = append(f.op.Workspaces[i].Notes, result.Notes...)
		return err
	})
}

func (f *failover) execute(ctx workflow.Context, summary string, activity any, in, result any) error {
	return workflow.ExecuteActivity(forward(ctx, f.op.To, summary), activity, in).Get(ctx, result)
}

// publish makes the restored servers the group's serving ones, all at once.
func (f *failover) publish(ctx workflow.Context, attached []activities.Attached) (group topology.Group, err error) {
	err = f.phase(ctx, "Publish", "", func(p *topology.Phase) error {
		in := activities.PublishEndpointInput{Group: f.in.Group, To: f.op.To, Operation: f.op.ID, Epoch: f.op.Epoch, Workspaces: attached}
		p.Note = endpointNote(attached)
		return f.execute(ctx, "the new connection strings", target.PublishEndpoint, in, &group)
	})
	return group, err
}

func planNote(p activities.FailoverPlan) string {
	var notes []string
	for _, w := range p.Workspaces {
		notes = append(notes, fmt.Sprintf("%s: snapshot %s, recovery point %s", w.Workspace, w.Snapshot, w.Point.RecordEnd))
	}
	return strings.Join(notes, "; ")
}

func endpointNote(attached []activities.Attached) string {
	var notes []string
	for _, a := range attached {
		for _, h := range a.Place.Endpoint.Hosts {
			notes = append(notes, fmt.Sprintf("%s at %s:%d", a.Workspace, h.Host, h.Port))
		}
	}
	return strings.Join(notes, ", ")
}
