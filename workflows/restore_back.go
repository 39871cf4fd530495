package workflows

import (
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/smartdr/smartdr/activities"
	"github.com/smartdr/smartdr/internal/topology"
)

// putBack takes back what was done before the new server was published: the old one takes writes again, and the new one is removed. It
// returns why. Where it was published after all, there is but the way forward.
func (r *restoring) putBack(ctx workflow.Context, why error) error {
	ctx, cancel := workflow.NewDisconnectedContext(ctx)
	defer cancel()
	var left error
	replaced := false
	if len(r.fences) > 0 {
		left = r.phase(ctx, "Put back", r.at.Workspace, func(p *topology.Phase) (err error) {
			if replaced, err = r.lift(ctx); err == nil && !replaced {
				p.Note = "the server takes writes again"
			}
			return err
		})
	}
	if replaced {
		return r.goForward(ctx)
	}
	r.op.ClaimedAt = time.Time{}
	if r.op.Gap != nil && r.op.Gap.To.IsZero() {
		r.op.Gap.To = workflow.Now(ctx).UTC()
	}
	r.removeMade(ctx)
	r.reverted = left == nil
	if left != nil {
		return summary(FailureOf(why).Message+"; and the server of workspace "+r.at.Workspace+" does not take writes again", FailureOf(why).Hint, left)
	}
	return why
}

// lift lifts the fence. Before it is decided, where the new server would be published, that this operation replaces nothing any more;
// replaced says that this comes too late.
func (r *restoring) lift(ctx workflow.Context) (replaced bool, err error) {
	in := activities.GoBackInPlaceInput{Group: r.op.Group, Workspace: r.at.Workspace, Operation: r.op.ID, Lineage: r.made.Plan.Lineage}
	var decided activities.GoBackInPlaceResult
	decide := workflow.WithTaskQueue(forward(ctx, r.op.To, "that nothing is replaced any more"), TaskQueue)
	if err := workflow.ExecuteActivity(decide, control.GoBackInPlace, in).Get(ctx, &decided); err != nil || decided.Replaced {
		return decided.Replaced, err
	}
	fences, err := liftCommitted(ctx, r.fences)
	r.op.Fences = fences
	return false, err
}

// removeMade takes away the server that was made. What keeps it from that is no reason to stop: its host removes what the group's document does
// not name.
func (r *restoring) removeMade(ctx workflow.Context) {
	if r.made.Standby == "" {
		return
	}
	in := activities.StandbyInput{Group: r.op.Group, Workspace: r.at.Workspace, Region: r.op.To, ID: r.made.Standby, Operation: r.op.ID}
	at := clearing(ctx, siteQueue(r.op.To, r.made.Plan.Host), "take away what was made")
	if err := workflow.ExecuteActivity(at, target.RemoveStandby, in).Get(ctx, nil); err == nil {
		return
	}
	forget := clearing(ctx, RegionQueue(r.op.To), "forget what was made")
	if err := workflow.ExecuteActivity(forget, target.ForgetStandby, in).Get(ctx, nil); err != nil {
		workflow.GetLogger(ctx).Warn("a server that was made for a restore is still named", "workspace", in.Workspace, "error", err)
	}
}

// goOn ends an operation whose Temporal was lost: it goes back, unless the new server was published already.
func (r *restoring) goOn(ctx workflow.Context, was topology.Operation) error {
	was = reopened(was, workflow.Now(ctx))
	was.Phases = append(was.Phases, r.op.Phases...)
	r.op = was
	if len(was.Workspaces) > 0 {
		r.at.Workspace = was.Workspaces[0].Workspace
		r.made.Plan.Workspace, r.made.Plan.Lineage, r.made.Plan.Host = r.at.Workspace, was.Workspaces[0].Lineage, was.Workspaces[0].Host
	}
	ctx, cancel := workflow.NewDisconnectedContext(ctx)
	defer cancel()
	if w := r.group.Workspace(r.at.Workspace); w != nil && w.FindLineage(r.made.Plan.Lineage) != nil {
		return r.finishLost(ctx)
	}
	r.fences = fencings(r.group, r.op.ID, true)
	for i := range r.group.Workspaces {
		if made, is := r.group.Workspaces[i].Standbys[r.op.To]; is {
			r.at.Workspace, r.made.Standby, r.made.Plan.Host = r.group.Workspaces[i].Name, made.ID, made.Host
		}
	}
	return r.putBack(ctx, invalid("start it once more", "it was abandoned before the new server served"))
}

// finishLost does what comes after the new server was published by a run whose Temporal was lost.
func (r *restoring) finishLost(ctx workflow.Context) error {
	w := r.group.Workspace(r.at.Workspace)
	r.made.Plan.Host = w.Sites[r.op.To].Host
	it := &r.op.Workspaces[0]
	it.Endpoint, it.Serves = w.Sites[r.op.To].Endpoint, true
	r.closeGap(ctx)
	if err := r.replicateAnew(ctx); err != nil {
		return err
	}
	it.Notes = append(it.Notes, "the server that was replaced is fenced, and was not taken down: whoever restored was lost")
	return nil
}
