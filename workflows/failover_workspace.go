package workflows

import (
	"fmt"
	"slices"
	"strings"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/smartdr/smartdr/activities"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
)

// bringUp does what comes after the claim. The workspaces go side by side, each as far as it gets.
func (f *failover) bringUp(ctx workflow.Context) error {
	held := f.holdStandbys(ctx)
	plan, err := f.fix(ctx)
	if err != nil {
		return err
	}
	withStandbys(&plan, held)
	for i := range f.op.Workspaces {
		if w := &f.op.Workspaces[i]; w.Moved == nil {
			w.Moved = f.moved[w.Workspace]
		}
	}
	errs := make([]error, len(plan.Workspaces))
	open := workflow.NewWaitGroup(ctx)
	for i, w := range plan.Workspaces {
		if w.Error != "" {
			errs[i] = temporal.NewNonRetryableApplicationError(w.Error, string(fault.Missing), nil, w.Hint)
			continue
		}
		open.Add(1)
		workflow.Go(ctx, func(ctx workflow.Context) {
			defer open.Done()
			if errs[i] = f.recover(ctx, i, w); errs[i] != nil {
				errs[i] = refuseOn(f.op.To, w.Host, errs[i])
				failure := FailureOf(errs[i])
				f.op.Workspaces[i].Error, f.op.Workspaces[i].Hint = failure.Message, failure.Hint
			}
		})
	}
	open.Wait(ctx)
	return f.outcome(errs)
}

// recover brings one workspace up, publishes it and lets it be replicated.
func (f *failover) recover(ctx workflow.Context, i int, w activities.WorkspacePlan) error {
	if w.Serving == nil {
		attached, err := f.restore(ctx, i, w)
		if err != nil {
			return err
		}
		if err := f.publish(ctx, i, attached); err != nil {
			return err
		}
		f.noteAddress(i, w.Reserved)
		if err := f.replicate(ctx, w); err != nil {
			return err
		}
		f.compare(ctx, i, w, attached)
		return nil
	}
	return f.replicate(ctx, w)
}

// compareLater reports whether what only ends up in the account waits until clients can write: in a move they wait for that.
func (f *failover) compareLater() bool { return f.op.Kind != FailoverType }

// compare says what is otherwise than on the primary, where RestoreMetadata has not. That it cannot be said changes nothing.
func (f *failover) compare(ctx workflow.Context, i int, w activities.WorkspacePlan, a activities.Attached) {
	if !f.compareLater() {
		return
	}
	in := activities.RestoreInput{Group: f.in.Group, To: f.op.To, Operation: f.op.ID, Epoch: f.op.Epoch, Plan: w, Place: a.Place}
	err := f.phase(ctx, "Compare", w.Workspace, func(*topology.Phase) error {
		var said activities.PhaseResult
		at := clearing(ctx, siteQueue(f.op.To, w.Host), "what of "+w.Workspace+" is otherwise than before")
		err := workflow.ExecuteActivity(at, target.CompareRestored, in).Get(ctx, &said)
		f.op.Workspaces[i].Notes = append(f.op.Workspaces[i].Notes, said.Notes...)
		return err
	})
	if err != nil {
		f.op.Workspaces[i].Notes = append(f.op.Workspaces[i].Notes, "settings, roles and grants were not compared with the former server's: "+FailureOf(err).Message)
	}
}

func (f *failover) replicate(ctx workflow.Context, w activities.WorkspacePlan) error {
	return f.phase(ctx, "Replicate", w.Workspace, func(*topology.Phase) error {
		start := workflow.WithTaskQueue(forward(ctx, f.op.To, "start shipping the new lineage"), TaskQueue)
		return ensureReplication(start, topology.Group{Name: f.in.Group, Epoch: f.op.Epoch})
	})
}

// noteAddress says when clients find a workspace elsewhere than where a place was kept for it.
func (f *failover) noteAddress(i int, kept *topology.Reservation) {
	r := &f.op.Workspaces[i]
	if kept == nil || slices.Equal(kept.Endpoint.Hosts, r.Endpoint.Hosts) {
		return
	}
	r.Notes = append(r.Notes, fmt.Sprintf("it serves at %s and not at %s, which was kept for it: clients that know only that address do not find it",
		addresses(r.Endpoint), addresses(kept.Endpoint)))
}

// outcome says which workspaces serve and which do not, as the error of the whole; nil when all do.
func (f *failover) outcome(errs []error) error {
	var serve, down []string
	var first Failure
	for i, err := range errs {
		w := f.op.Workspaces[i]
		if err == nil {
			serve = append(serve, w.Workspace)
			continue
		}
		if len(down) == 0 {
			first = FailureOf(err)
		}
		down = append(down, fmt.Sprintf("workspace %s does not serve: %s", w.Workspace, FailureOf(err).Message))
	}
	if len(down) == 0 {
		return nil
	}
	text := strings.Join(down, "; ")
	switch {
	case len(errs) == 1:
		text = first.Message
	case len(serve) > 0:
		text += fmt.Sprintf("; %s of region %s", serving(serve), f.op.To)
	}
	return temporal.NewNonRetryableApplicationError(text, first.Type, nil, f.howToGoOn(first.Hint))
}

func serving(names []string) string {
	if len(names) == 1 {
		return names[0] + " serves clients"
	}
	return strings.Join(names, ", ") + " serve clients"
}

// restore brings one workspace up.
func (f *failover) restore(ctx workflow.Context, i int, w activities.WorkspacePlan) (activities.Attached, error) {
	in := activities.RestoreInput{Group: f.in.Group, To: f.op.To, Operation: f.op.ID, Epoch: f.op.Epoch, Plan: w}
	if w.Standby != nil {
		attached, err := f.promote(ctx, i, in)
		if err == nil || !unfit(err) {
			return attached, err
		}
		in.Plan.Standby = nil
		f.op.Workspaces[i].Notes = append(f.op.Workspaces[i].Notes, "its standby could not be used, and it was restored: "+FailureOf(err).Message)
	}
	err := f.phase(ctx, "Provision", w.Workspace, func(p *topology.Phase) error {
		err := f.execute(ctx, w.Host, "folders and a port for "+w.Workspace, target.ProvisionTopology, in, &in.Place)
		p.Note = strings.TrimSpace(w.Host + " " + in.Place.Instance)
		return err
	})
	if err != nil {
		return activities.Attached{}, err
	}
	if err := f.fill(ctx, i, in); err != nil {
		return activities.Attached{}, err
	}
	attached, err := f.attach(ctx, i, in)
	return activities.Attached{Workspace: w.Workspace, Host: w.Host, Place: in.Place, Source: attached.Source, Lineage: attached.Lineage}, err
}

// fill brings the files and the WAL.
func (f *failover) fill(ctx workflow.Context, i int, in activities.RestoreInput) error {
	w := in.Plan.Workspace
	if err := f.noted(ctx, i, "Restore snapshot", in, target.RestoreSnapshot, "snapshot "+in.Plan.Snapshot+" of "+w); err != nil {
		return err
	}
	return f.noted(ctx, i, "Fetch WAL", in, target.FetchWAL, "WAL of "+w+" up to "+in.Plan.Point.At.String())
}

// attach recovers, promotes and makes the server usable.
func (f *failover) attach(ctx workflow.Context, i int, in activities.RestoreInput) (attached activities.AttachBranchResult, err error) {
	w := in.Plan.Workspace
	in.CompareLater = f.compareLater()
	err = f.phase(ctx, "Attach", w, func(p *topology.Phase) error {
		err := f.execute(ctx, in.Plan.Host, "recover "+w+" exactly to "+in.Plan.Point.RecordEnd.String()+", promote", target.AttachBranch, in, &attached)
		p.Note = attached.Note
		f.op.Workspaces[i].Notes = append(f.op.Workspaces[i].Notes, attached.Notes...)
		return err
	})
	if err != nil {
		return attached, err
	}
	return attached, f.noted(ctx, i, "Restore metadata", in, target.RestoreMetadata, "settings, access rules, databases of "+w)
}

// noted is a phase that answers with notes alone.
func (f *failover) noted(ctx workflow.Context, i int, name string, in activities.RestoreInput, activity any, summary string) error {
	return f.phase(ctx, name, in.Plan.Workspace, func(p *topology.Phase) error {
		var result activities.PhaseResult
		err := f.execute(ctx, in.Plan.Host, summary, activity, in, &result)
		p.Note = result.Note
		if result.Moved != nil {
			f.op.Workspaces[i].Moved = result.Moved
		}
		f.op.Workspaces[i].Notes = append(f.op.Workspaces[i].Notes, result.Notes...)
		return err
	})
}

// publish makes a restored server the workspace's serving one.
func (f *failover) publish(ctx workflow.Context, i int, a activities.Attached) error {
	err := f.phase(ctx, "Publish", a.Workspace, func(p *topology.Phase) error {
		in := activities.PublishEndpointInput{Group: f.in.Group, To: f.op.To, Operation: f.op.ID, Epoch: f.op.Epoch, Workspaces: []activities.Attached{a}}
		p.Note = endpointNote(a)
		return f.execute(ctx, a.Host, "the new connection string of "+a.Workspace, target.PublishEndpoint, in, nil)
	})
	if err == nil {
		w := &f.op.Workspaces[i]
		w.Endpoint, w.Serves, w.Error, w.Hint = a.Place.Endpoint, true, "", ""
		f.closeGap(ctx)
		f.tellServing(ctx, a.Workspace, a.Place.Endpoint)
		f.show(ctx)
	}
	return err
}

// execute has a host do something for its workspace. Nobody may take it up for a while because Temporal itself was away:
// a host that goes on announcing itself is asked again.
func (f *failover) execute(ctx workflow.Context, host, summary string, activity, in, result any) error {
	for {
		err := workflow.ExecuteActivity(onHost(ctx, f.op.To, host, summary), activity, in).Get(ctx, result)
		if !noWorker(err) || !f.hostThere(ctx, host) {
			return err
		}
	}
}

func (f *failover) hostThere(ctx workflow.Context, host string) bool {
	var r activities.HostThereResult
	look := forward(ctx, f.op.To, "whether "+host+" is there")
	err := workflow.ExecuteActivity(look, target.HostThere, activities.HostInput{Host: host}).Get(ctx, &r)
	return err == nil && r.There
}

func endpointNote(a activities.Attached) string {
	var notes []string
	for _, h := range a.Place.Endpoint.Hosts {
		notes = append(notes, fmt.Sprintf("%s at %s:%d", a.Workspace, h.Host, h.Port))
	}
	return strings.Join(notes, ", ")
}
