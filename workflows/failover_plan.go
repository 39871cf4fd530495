package workflows

import (
	"fmt"
	"slices"
	"strings"

	"go.temporal.io/sdk/workflow"

	"github.com/smartdr/smartdr/activities"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
)

// plan makes every check that can be made before anything is changed: what the bucket holds, on which hosts there is room, and
// whether each of those can run what it is to get.
func (f *failover) plan(ctx workflow.Context) error {
	return f.phase(ctx, "Plan", "", func(p *topology.Phase) error {
		in := activities.PlanFailoverInput{Group: f.in.Group, To: f.op.To, Force: f.in.Force, FailoverChoice: f.limits, Planned: f.op.Kind != FailoverType && !f.in.Resume}
		if f.in.Resume {
			in.Operation = f.op.ID
		}
		plan, err := f.placed(ctx, in)
		f.planned, p.Note = plan, planNote(plan)
		return err
	})
}

// placed plans, and plans again without the hosts that do not answer or cannot run what they were to get, until all that were
// chosen agree, or there is no other to choose.
func (f *failover) placed(ctx workflow.Context, in activities.PlanFailoverInput) (plan activities.FailoverPlan, err error) {
	in.Refused = map[string][]string{}
	var refusal error // the first, which says more than that no host is left
	for {
		look := asked(ctx, RegionQueue(f.op.To), "what would be restored, to which point and where")
		plan = activities.FailoverPlan{}
		if err := workflow.ExecuteActivity(look, target.PlanFailover, in).Get(ctx, &plan); err != nil {
			if refusal != nil && FailureOf(err).Type == string(fault.Invalid) {
				err = refusal
			}
			return plan, err
		}
		answers := f.ask(ctx, plan)
		again := false
		for i, w := range plan.Workspaces {
			err := answers[i]
			switch {
			case err == nil:
				continue
			case noWorker(err):
				in.Without = append(in.Without, w.Host)
			case FailureOf(err).Type == string(fault.Invalid):
				in.Refused[w.Workspace] = append(in.Refused[w.Workspace], w.Host)
			default:
				return plan, err
			}
			again = true
			if refusal == nil {
				refusal = refuseOn(f.op.To, w.Host, err)
			}
		}
		if !again {
			return plan, nil
		}
	}
}

// ask asks the chosen hosts, all at once, whether they can run what they are to get, and notes what they say.
func (f *failover) ask(ctx workflow.Context, plan activities.FailoverPlan) []error {
	errs := make([]error, len(plan.Workspaces))
	open := workflow.NewWaitGroup(ctx)
	for i, w := range plan.Workspaces {
		if w.Error != "" || w.Serving != nil {
			continue
		}
		open.Add(1)
		workflow.Go(ctx, func(ctx workflow.Context) {
			defer open.Done()
			check := asked(ctx, siteQueue(f.op.To, w.Host), "whether "+w.Host+" can run "+w.Workspace)
			var said activities.PhaseResult
			errs[i] = workflow.ExecuteActivity(check, target.CheckHost, activities.CheckHostInput{Group: f.in.Group, Plan: w}).Get(ctx, &said)
			plan.Workspaces[i].Notes = append(plan.Workspaces[i].Notes, said.Notes...)
		})
	}
	open.Wait(ctx)
	return errs
}

// fix reads the final recovery point. The old side's shipper may have added to it until the claim, and nobody after it.
func (f *failover) fix(ctx workflow.Context) (plan activities.FailoverPlan, err error) {
	err = f.phase(ctx, "Fix recovery point", "", func(p *topology.Phase) error {
		in := activities.FixRecoveryPointInput{
			Group: f.in.Group, To: f.op.To, Operation: f.op.ID, Epoch: f.op.Epoch, Hosts: hostsOf(f.planned), Resume: f.in.Resume,
			Choice: f.op.Choice,
		}
		err := workflow.ExecuteActivity(forward(ctx, f.op.To, "the end of the unbroken chain"), target.FixRecoveryPoint, in).Get(ctx, &plan)
		p.Note = planNote(plan)
		return err
	})
	if err != nil {
		return plan, err
	}
	f.op.Choice = plan.Choice // that of the plan that stands already, if one does
	before := f.op.Workspaces
	f.op.Workspaces = nil
	for _, w := range plan.Workspaces {
		f.op.Workspaces = append(f.op.Workspaces, f.expected(w, before))
	}
	return plan, nil
}

// expected is what is to be said of a workspace before anything was done for it. What serves keeps what was said before.
func (f *failover) expected(w activities.WorkspacePlan, before []topology.Recovered) topology.Recovered {
	at := slices.IndexFunc(before, func(r topology.Recovered) bool { return r.Workspace == w.Workspace })
	if w.Serving != nil && at >= 0 && before[at].Serves {
		return before[at]
	}
	r := topology.Recovered{
		Workspace: w.Workspace, Point: w.Point, Lineage: w.Lineage, Databases: w.Databases, Notes: w.Notes,
		Host: w.Host, Error: w.Error, Hint: w.Hint, Loss: w.Loss,
	}
	for _, p := range f.planned.Workspaces {
		if p.Workspace == w.Workspace {
			r.Notes = slices.Clone(w.Notes)
			r.Notes = append(r.Notes, slices.DeleteFunc(slices.Clone(p.Notes), func(n string) bool { return slices.Contains(w.Notes, n) })...)
		}
	}
	if w.Serving != nil {
		r.Endpoint, r.Serves = *w.Serving, true
	}
	return r
}

func hostsOf(p activities.FailoverPlan) map[string]string {
	hosts := map[string]string{}
	for _, w := range p.Workspaces {
		if w.Host != "" {
			hosts[w.Workspace] = w.Host
		}
	}
	return hosts
}

// planNote is short enough for a table's line: where each workspace comes back, and to which point, is in the account below it.
func planNote(p activities.FailoverPlan) string {
	var bytes int64
	var restored, serves, left int
	for _, w := range p.Workspaces {
		switch {
		case w.Error != "":
			left++
		case w.Serving != nil:
			serves++
		default:
			restored++
			bytes += w.Bytes
		}
	}
	var notes []string
	switch {
	case restored == 1 && len(p.Workspaces) == 1:
		notes = append(notes, fmt.Sprintf("recovery point %s, %s", p.Workspaces[0].Point.RecordEnd, size(bytes)))
	case restored == 1:
		notes = append(notes, "1 workspace, "+size(bytes))
	case restored > 1:
		notes = append(notes, fmt.Sprintf("%d workspaces, %s", restored, size(bytes)))
	}
	if serves > 0 {
		notes = append(notes, fmt.Sprintf("%d serving", serves))
	}
	if left > 0 {
		notes = append(notes, fmt.Sprintf("%d left behind", left))
	}
	return strings.Join(notes, ", ")
}

// size writes a number of bytes, as 1.2 GB.
func size(bytes int64) string {
	if bytes < 1e9 {
		return fmt.Sprintf("%.1f MB", float64(bytes)/1e6)
	}
	return fmt.Sprintf("%.1f GB", float64(bytes)/1e9)
}
