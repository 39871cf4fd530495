package workflows

import (
	"fmt"
	"slices"
	"time"

	"github.com/google/uuid"
	"go.temporal.io/sdk/workflow"

	"github.com/smartdr/smartdr/activities"
	"github.com/smartdr/smartdr/internal/topology"
)

// ReplacedSignal tells a WorkspaceReplication that another server serves its workspace now, on the host that it names.
const ReplacedSignal = "replaced"

// replace is all of a restore in place, in order. Whatever fails before the new server is published is taken back.
func (r *restoring) replace(ctx workflow.Context) error {
	err := r.prepare(ctx)
	if err == nil {
		err = r.stopWriter(ctx)
	}
	if err == nil {
		err = r.publish(ctx)
	}
	if err != nil {
		return r.putBack(ctx, err)
	}
	ctx, cancel := workflow.NewDisconnectedContext(ctx)
	defer cancel()
	return r.goForward(ctx)
}

// prepare brings up the earlier state beside the server that serves: recovered, promoted, and not to be reached by anybody.
func (r *restoring) prepare(ctx workflow.Context) error {
	names := workflow.SideEffect(ctx, func(workflow.Context) any {
		return [2]string{uuid.NewString()[:8], topology.NewLineageID(r.group.Epoch)}
	})
	var ids [2]string
	if err := names.Get(&ids); err != nil {
		return err
	}
	plan := r.found.Plan
	plan.Lineage = ids[1]
	r.made = activities.RestoreInput{Group: r.op.Group, To: r.op.To, Operation: r.op.ID, Epoch: r.group.Epoch, Plan: plan, Standby: ids[0]}
	r.op.Workspaces = []topology.Recovered{{Workspace: plan.Workspace, Point: plan.Point, Lineage: plan.Lineage, Databases: plan.Databases, Host: plan.Host, Notes: r.found.Notes}}
	r.record(ctx) // who goes on with it must know what it makes
	if err := r.provision(ctx); err != nil {
		return err
	}
	if err := r.fill(ctx, 0, r.made); err != nil {
		return err
	}
	return r.phase(ctx, "Recover", plan.Workspace, func(p *topology.Phase) error {
		var attached activities.AttachBranchResult
		err := r.execute(ctx, plan.Host, "recover "+plan.Workspace+" exactly to "+plan.Point.RecordEnd.String()+", promote", target.AttachBranch, r.made, &attached)
		p.Note = attached.Note
		r.op.Workspaces[0].Notes = append(r.op.Workspaces[0].Notes, attached.Notes...)
		r.ready = activities.Attached{Workspace: plan.Workspace, Host: plan.Host, Place: r.made.Place, Source: attached.Source, Lineage: attached.Lineage}
		return err
	})
}

func (r *restoring) provision(ctx workflow.Context) error {
	plan := r.made.Plan
	return r.phase(ctx, "Provision", plan.Workspace, func(p *topology.Phase) error {
		record := asked(ctx, RegionQueue(r.op.To), "name the new server")
		if err := workflow.ExecuteActivity(record, target.RecordInPlace, r.made).Get(ctx, nil); err != nil {
			return err
		}
		err := r.execute(ctx, plan.Host, "folders and a port for "+plan.Workspace, target.ProvisionTopology, r.made, &r.made.Place)
		p.Note = plan.Host + " " + r.made.Place.Instance
		return err
	})
}

// stopWriter fences the server that serves, waits until what it has told its clients is in the bucket, and makes the fence stay. It ends within
// the longest time without a writer, or with an error.
func (r *restoring) stopWriter(ctx workflow.Context) error {
	r.fences = slices.DeleteFunc(fencings(r.group, r.op.ID, true), func(f fencing) bool { return f.Workspace != r.at.Workspace })
	r.op.Gap = &topology.Gap{From: workflow.Now(ctx).UTC(), Most: r.maxGap}
	capped, cancel := workflow.WithCancel(ctx)
	defer cancel()
	late := false
	workflow.Go(capped, func(ctx workflow.Context) {
		if workflow.Sleep(ctx, r.maxGap-promotionTakes(r.maxGap)) == nil {
			late = true
			cancel()
		}
	})
	err := r.fence(capped)
	if err == nil {
		err = r.drain(capped)
	}
	if late {
		return invalid("look at the lag with smartdr status, and try again, perhaps with a longer --max-gap",
			"what was written last did not arrive in the bucket of %s soon enough: nobody could have written for longer than %s", r.op.To, r.maxGap)
	}
	if err == nil {
		err = r.commit(ctx)
	}
	return err
}

func (r *restoring) fence(ctx workflow.Context) error {
	return r.phase(ctx, "Fence", r.at.Workspace, func(p *topology.Phase) error {
		fences, err := fenceAll(ctx, r.fences)
		if r.op.Fences = fences; err != nil {
			return err
		}
		r.end = fences[0]
		p.Note = fmt.Sprintf("%s (%s)", r.end.End.LSN, r.end.Worth)
		if r.end.End.LSN == 0 {
			return invalid("it must be fenced by a superuser for that: smartdr readiness says what its role lacks",
				"the server of workspace %s could not be fenced well enough to know where its writes end", r.at.Workspace)
		}
		return nil
	})
}

// drain waits for the last of the old server's WAL, and finds the end of its lineage: that is where the state before is.
func (r *restoring) drain(ctx workflow.Context) error {
	return r.phase(ctx, "Ship the rest", r.at.Workspace, func(p *topology.Phase) error {
		in := activities.AwaitShippedInput{Group: r.op.Group, Workspace: r.at.Workspace, Lineage: r.end.Lineage, Region: r.op.To, End: r.end.End}
		var shipped activities.AwaitShippedResult
		await := preparing(ctx, RegionQueue(r.op.To), "what was written last")
		if err := workflow.ExecuteActivity(await, target.AwaitShipped, in).Get(ctx, &shipped); err != nil {
			return err
		}
		p.Note = fmt.Sprintf("in the bucket of %v", shipped.Regions)
		ask := activities.ResolveBranchInput{Group: r.op.Group, Workspace: r.at.Workspace, Region: r.op.To,
			Name:   "before-restore-" + r.op.StartedAt.UTC().Format("20060102t150405"),
			Reason: "state before the restore in place to " + targetText(r.at.At)}
		look := preparing(ctx, RegionQueue(r.op.To), "where the state before ends")
		return workflow.ExecuteActivity(look, target.ResolveBranch, ask).Get(ctx, &r.before)
	})
}

// targetText names a target as the command's flags do.
func targetText(t topology.Target) string {
	switch {
	case !t.Time.IsZero():
		return t.Time.UTC().Format(time.RFC3339Nano)
	case t.LSN != 0:
		return t.LSN.String()
	case t.XID != 0:
		return fmt.Sprintf("transaction %d", t.XID)
	}
	return "restore point " + t.Name
}

// commit makes the fence stay: from then on nobody lifts it but this operation, when it goes back.
func (r *restoring) commit(ctx workflow.Context) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return r.phase(ctx, "Commit", r.at.Workspace, func(*topology.Phase) error {
		fences, err := commitAll(ctx, r.fences)
		if err == nil {
			r.op.Fences = fences
		}
		return err
	})
}

// publish lets clients in and makes the new server the one that serves. From the moment at which that is ordered nobody knows whether it
// is done until the answer is there.
func (r *restoring) publish(ctx workflow.Context) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	r.op.ClaimedAt = workflow.Now(ctx).UTC()
	ctx, cancel := workflow.NewDisconnectedContext(ctx)
	defer cancel()
	w := r.at.Workspace
	in := r.made
	in.CompareLater = true
	if err := r.noted(ctx, 0, "Restore metadata", in, target.RestoreMetadata, "settings, access rules, databases of "+w); err != nil {
		return err
	}
	err := r.phase(ctx, "Publish", w, func(p *topology.Phase) error {
		p.Note = endpointNote(r.ready)
		put := activities.ReplaceInput{RestoreInput: r.made, Attached: r.ready, Left: r.end.Lineage, Before: r.before}
		return r.execute(ctx, r.made.Plan.Host, "the new connection string of "+w, target.PublishInPlace, put, nil)
	})
	if err == nil {
		it := &r.op.Workspaces[0]
		it.Endpoint, it.Serves = r.ready.Place.Endpoint, true
		it.Notes = append(it.Notes, fmt.Sprintf("the state before is branch %s", r.before.Name))
		r.closeGap(ctx)
		r.tellServing(ctx, w, it.Endpoint)
	}
	return err
}

// goForward is what comes after the new server serves.
func (r *restoring) goForward(ctx workflow.Context) error {
	if err := r.replicateAnew(ctx); err != nil {
		return err
	}
	r.compare(ctx, 0, r.made.Plan, r.ready)
	return r.retireOld(ctx)
}

// replicateAnew lets what replicates the workspace begin with the new server.
func (r *restoring) replicateAnew(ctx workflow.Context) error {
	return r.phase(ctx, "Replicate", r.at.Workspace, func(*topology.Phase) error {
		child := WorkspaceReplicationID(r.op.Group, r.at.Workspace, r.group.Epoch)
		if err := workflow.SignalExternalWorkflow(ctx, child, "", ReplacedSignal, r.made.Plan.Host).Get(ctx, nil); err != nil {
			workflow.GetLogger(ctx).Info("nothing replicates the workspace now: it is started", "workspace", r.at.Workspace, "error", err)
		}
		start := workflow.WithTaskQueue(forward(ctx, r.op.To, "start shipping the new lineage"), TaskQueue)
		return ensureReplication(start, topology.Group{Name: r.op.Group, Epoch: r.group.Epoch})
	})
}

// retireOld ends the server that was replaced. That it cannot be ended is said in the account, and no reason to call the operation failed.
func (r *restoring) retireOld(ctx workflow.Context) error {
	site := r.group.Workspace(r.at.Workspace).Sites[r.op.To]
	it := &r.op.Workspaces[0]
	if site.Kind != topology.Managed {
		it.Notes = append(it.Notes, fmt.Sprintf("the adopted server at %s stays fenced: it takes no clients until whoever runs it decides what becomes of it", addresses(site.Endpoint)))
		return nil
	}
	in := activities.RetireReplacedInput{Lineage: r.group.Workspace(r.at.Workspace).Lineage, RetireInput: activities.RetireInput{
		Group: r.op.Group, Workspace: r.at.Workspace, Region: r.op.To, Epoch: r.group.Epoch, Instance: site.Instance}}
	err := r.phase(ctx, "Retire", r.at.Workspace, func(p *topology.Phase) error {
		var said activities.PhaseResult
		err := workflow.ExecuteActivity(retiring(ctx, siteQueue(r.op.To, site.Host), "end the server that was replaced"), target.RetireReplaced, in).Get(ctx, &said)
		p.Note = said.Note
		return err
	})
	if err != nil {
		it.Notes = append(it.Notes, fmt.Sprintf("the server that served before, in %s of host %s, is fenced and was not taken down: %s", site.Instance, site.Host, FailureOf(err).Message))
	}
	return nil
}
