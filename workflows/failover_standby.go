package workflows

import (
	"slices"

	"go.temporal.io/sdk/workflow"

	"github.com/smartdr/smartdr/activities"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
)

// holdStandbys takes the standbys of the plan for this operation, after the claim and before the point is fixed: from then on
// none replays beyond what will be fixed. One that does not answer soon is not used.
func (f *failover) holdStandbys(ctx workflow.Context) map[string]topology.Standby {
	held := map[string]topology.Standby{}
	open := workflow.NewWaitGroup(ctx)
	for _, w := range f.planned.Workspaces {
		s := w.Standby
		if s == nil || w.Serving != nil || w.Error != "" || s.Host != w.Host {
			continue
		}
		in := activities.RestoreInput{Group: f.in.Group, To: f.op.To, Operation: f.op.ID, Epoch: f.op.Epoch, Plan: w, Standby: s.ID}
		open.Add(1)
		workflow.Go(ctx, func(ctx workflow.Context) {
			defer open.Done()
			err := workflow.ExecuteActivity(holding(ctx, siteQueue(f.op.To, s.Host), "take the standby of "+w.Workspace), target.HoldStandby, in).Get(ctx, nil)
			if err != nil {
				workflow.GetLogger(ctx).Warn("a standby is not used", "workspace", w.Workspace, "error", err)
				return
			}
			held[w.Workspace] = *s
		})
	}
	open.Wait(ctx)
	return held
}

// withStandbys lets a plan that is fixed say which standbys are promoted: those that were taken, on the hosts that were chosen.
func withStandbys(plan *activities.FailoverPlan, held map[string]topology.Standby) {
	for i := range plan.Workspaces {
		w := &plan.Workspaces[i]
		s, is := held[w.Workspace]
		if w.Standby = nil; is && s.Host == w.Host {
			w.Standby = &s
		}
	}
}

// promote makes a standby the serving server: it replays exactly to the plan's point, and goes on as a restored one does.
func (f *failover) promote(ctx workflow.Context, i int, in activities.RestoreInput) (activities.Attached, error) {
	w := in.Plan
	in.Standby = w.Standby.ID
	var adopted activities.AdoptStandbyResult
	err := f.phase(ctx, "Adopt", w.Workspace, func(p *topology.Phase) error {
		err := f.execute(ctx, w.Host, "replay "+w.Workspace+" exactly to "+w.Point.RecordEnd.String(), target.AdoptStandby, in, &adopted)
		p.Note = adopted.Note
		return err
	})
	if err != nil {
		return activities.Attached{}, err
	}
	in.Plan, in.Place = adopted.Plan, adopted.Place
	attached, err := f.attach(ctx, i, in)
	return activities.Attached{Workspace: w.Workspace, Host: w.Host, Place: in.Place, Source: attached.Source, Lineage: attached.Lineage}, err
}

// unfit reports whether a standby cannot become what is planned, and was not promoted: then the workspace is restored.
func unfit(err error) bool {
	return slices.Contains([]string{string(fault.Diverged), string(fault.Missing), string(fault.Corrupt), string(fault.Invalid), string(fault.Fenced)}, FailureOf(err).Type)
}

// closeGap ends the time without a writer, once every workspace serves.
func (f *failover) closeGap(ctx workflow.Context) {
	if f.op.Gap == nil || slices.ContainsFunc(f.op.Workspaces, func(r topology.Recovered) bool { return !r.Serves }) {
		return
	}
	f.op.Gap.To = workflow.Now(ctx).UTC()
}
