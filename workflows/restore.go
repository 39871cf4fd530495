package workflows

import (
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/smartdr/smartdr/activities"
	"github.com/smartdr/smartdr/internal/topology"
)

// Restore brings back the state of a workspace at another moment: as a branch with a server of its own, or in place of the server that serves.
func Restore(ctx workflow.Context, in RestoreInput) (RestoreResult, error) {
	if in.Group == "" || in.At.Latest() {
		return RestoreResult{}, invalid(`give both, as in {"group":"prod","at":{"time":"2026-11-22T22:09:00Z"}}`, "a restore needs a group and a point")
	}
	if err := refuseInvalid(in.At.Check()); err != nil {
		return RestoreResult{}, err
	}
	if in.InPlace {
		return restoreInPlace(ctx, in)
	}
	made, err := createBranch(ctx, CreateBranchInput{Group: in.Group, Name: in.Branch, Workspace: in.Workspace, Region: in.Region, At: in.At, Attach: true})
	return RestoreResult{Branch: &made.Branch, Notes: made.Notes}, refuse(err)
}

// restoring is one run of a restore in place. Its account and its steps are those of a failover from the region that serves to itself.
type restoring struct {
	*failover
	at     RestoreInput
	maxGap time.Duration
	group  topology.Group // as it was when the operation began
	found  activities.PlanInPlaceResult
	made   activities.RestoreInput // of the new server
	ready  activities.Attached     // the new server, recovered and promoted
	fences []fencing               // what was ordered to be fenced
	end    topology.Fence          // of the old server
	before topology.Branch         // the state that is left
}

func restoreInPlace(ctx workflow.Context, in RestoreInput) (RestoreResult, error) {
	f := &failover{in: FailoverInput{Group: in.Group}, op: topology.Operation{
		ID: workflow.GetInfo(ctx).WorkflowExecution.RunID, Kind: RestoreType, Group: in.Group,
		State: topology.OperationActive, StartedAt: workflow.Now(ctx).UTC(),
	}}
	f.moved = map[string]*topology.Moved{}
	r := &restoring{failover: f, at: in}
	var err error
	if r.maxGap, err = ParseGap("read maxGap", in.MaxGap); err != nil {
		return RestoreResult{}, refuseInvalid(err)
	}
	err = workflow.SetQueryHandler(ctx, ProgressQuery, func() (topology.Operation, error) { return r.op, nil })
	if err != nil {
		return RestoreResult{}, err
	}
	if ctx, err = r.cancelable(ctx); err != nil {
		return RestoreResult{}, err
	}
	if err = r.choose(ctx); err == nil {
		err = r.run(ctx)
	}
	result := RestoreResult{Operation: &r.op}
	if r.before.Name != "" {
		result.Branch = &r.before
	}
	return result, r.ended(ctx, err)
}

// choose refuses what can be refused by the group's document alone.
func (r *restoring) choose(ctx workflow.Context) error {
	g, err := r.readGroup(ctx)
	if err != nil {
		return err
	}
	r.group = g
	if r.at.Workspace == "" && len(g.Workspaces) == 1 {
		r.at.Workspace = g.Workspaces[0].Name
	}
	switch {
	case g.State == topology.GroupTerminated:
		return invalid("", "group %q was terminated", g.Name)
	case r.at.Workspace == "":
		return invalid("name one", "group %q has %d workspaces", g.Name, len(g.Workspaces))
	case r.at.Region != "" && r.at.Region != g.Active:
		return invalid("leave the region out, or restore to a branch there", "in place means in %q, which serves group %q", g.Active, g.Name)
	case r.at.Branch != "":
		return invalid("leave it out", "in place the state becomes no branch: what there was before does, by a name of its own")
	}
	r.op.From, r.op.To = g.Active, g.Active
	return r.labels.set(ctx, groupKey.ValueSet(g.Name), regionKey.ValueSet(g.Active))
}

// run holds the group's lock from BeginOperation to EndOperation, which comes whatever happens in between.
func (r *restoring) run(ctx workflow.Context) error {
	if r.group.Operation == nil {
		if err := r.plan(ctx); err != nil {
			return err
		}
	}
	was, err := r.lock(ctx)
	if err != nil {
		return err
	}
	stop := r.keepRecording(ctx)
	r.tellStart(ctx)
	if was != nil {
		err = r.goOn(ctx, *was)
	} else {
		err = r.replace(ctx)
	}
	stop()
	return r.finish(ctx, err)
}

// plan finds the point and a host that can run the state there, before anything is changed.
func (r *restoring) plan(ctx workflow.Context) error {
	return r.phase(ctx, "Plan", r.at.Workspace, func(p *topology.Phase) error {
		in := activities.PlanInPlaceInput{Group: r.op.Group, Workspace: r.at.Workspace, At: r.at.At}
		for refusal := error(nil); ; {
			r.found = activities.PlanInPlaceResult{}
			look := locating(ctx, RegionQueue(r.op.To), "what would be restored, to which point and where")
			if err := workflow.ExecuteActivity(look, target.PlanInPlace, in).Get(ctx, &r.found); err != nil {
				return firstOf(refusal, err)
			}
			plan := r.found.Plan
			p.Note = plan.Point.RecordEnd.String() + " on " + plan.Host
			var said activities.PhaseResult
			check := asked(ctx, siteQueue(r.op.To, plan.Host), "whether "+plan.Host+" can run it")
			err := workflow.ExecuteActivity(check, target.CheckHost, activities.CheckHostInput{Group: r.op.Group, Plan: plan}).Get(ctx, &said)
			if err == nil {
				r.found.Notes = append(r.found.Notes, said.Notes...)
				return nil
			}
			refusal = firstOf(refusal, refuseOn(r.op.To, plan.Host, err))
			in.Refused = append(in.Refused, plan.Host)
		}
	})
}

func firstOf(first, next error) error {
	if first != nil {
		return first
	}
	return next
}

// lock takes the group's lock. It may get an operation that was abandoned before. A cancellation is heard afterwards.
func (r *restoring) lock(ctx workflow.Context) (was *topology.Operation, err error) {
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	ctx, cancel := workflow.NewDisconnectedContext(ctx)
	defer cancel()
	var began activities.BeginOperationResult
	lock := asked(ctx, RegionQueue(r.op.To), "exclude other operations")
	err = workflow.ExecuteActivity(lock, target.BeginOperation, activities.BeginOperationInput{Operation: r.op}).Get(ctx, &began)
	switch {
	case err != nil:
		return nil, err
	case began.Resumed:
		return &began.Operation, nil
	case r.group.Operation != nil:
		return nil, r.finish(ctx, invalid("start it once more", "the operation that held group %q has ended", r.op.Group))
	}
	return nil, nil
}
