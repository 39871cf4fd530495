package workflows

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/smartdr/smartdr/activities"
	"github.com/smartdr/smartdr/internal/topology"
)

// Failover brings a group up in its other region, from what the bucket there holds. It needs a worker in that region
// and nothing of the region it leaves. Until the epoch is claimed it refuses and changes nothing; from then on it
// only goes forward, and what stops it for good is recorded in the operation. Each workspace is published as soon as it is
// ready; one that cannot be brought up keeps none of the others down, and the operation can be resumed for it.
func Failover(ctx workflow.Context, in FailoverInput) (FailoverResult, error) {
	if in.Group == "" {
		return FailoverResult{}, invalid(`give one, as in {"group":"prod"}`, "failover needs a group")
	}
	f := &failover{in: in, op: topology.Operation{
		ID: workflow.GetInfo(ctx).WorkflowExecution.RunID, Kind: FailoverType, Group: in.Group,
		State: topology.OperationActive, StartedAt: workflow.Now(ctx).UTC(),
	}}
	err := workflow.SetQueryHandler(ctx, ProgressQuery, func() (topology.Operation, error) { return f.op, nil })
	if err != nil {
		return FailoverResult{}, err
	}
	ctx, err = f.cancelable(ctx)
	if err != nil {
		return FailoverResult{}, err
	}
	choose := f.choose
	if in.Resume {
		choose = f.resume
	}
	if err = choose(ctx); err == nil {
		err = f.run(ctx)
	}
	return FailoverResult{Operation: f.op}, f.ended(ctx, err)
}

// failover is one run of Failover.
type failover struct {
	in         FailoverInput
	op         topology.Operation
	limits     activities.FailoverChoice
	left       topology.Group          // as it was before; zero for one that is gone on with
	planned    activities.FailoverPlan // before the claim: with the hosts
	labels     labels
	labelled   string                     // the phase that the search attribute names
	canceledBy string                     // who stopped it by CancelUpdate
	moved      map[string]*topology.Moved // by workspace: what was brought for it before the claim
	reverted   bool                       // it failed before its claim, and put everything back
}

// choose finds out the two regions and refuses what can be refused by the group's document alone.
func (f *failover) choose(ctx workflow.Context) error {
	g, err := f.readGroup(ctx)
	if err != nil {
		return err
	}
	to := f.in.To
	if to == "" {
		to = g.Other(g.Active)
	}
	down := notBack(g)
	switch {
	case g.State == topology.GroupTerminated:
		return invalid("", "group %q was terminated", g.Name)
	case g.Replication == nil || g.Secondary == "":
		return invalid("configure replication first", "group %q was never configured to replicate anywhere", g.Name)
	case len(down) > 0 && !f.in.Force:
		return invalid("resume it first: smartdr failover --group "+g.Name+" --resume; or leave them behind with force (--force)",
			"the last failover of group %q has not brought back %s", g.Name, strings.Join(down, ", "))
	case to == g.Active:
		return invalid("", "group %q is served from %q already", g.Name, to)
	case to != g.Primary && to != g.Secondary:
		return invalid("its regions are "+g.Primary+" and "+g.Secondary, "group %q is not replicated to %q", g.Name, to)
	}
	f.op.From, f.op.To, f.left = g.Active, to, g
	if err := f.chooseWhat(g); err != nil {
		return err
	}
	return f.labels.set(ctx, groupKey.ValueSet(g.Name), regionKey.ValueSet(to))
}

// chooseWhat reads how far the group is to come back, and how much may stay behind.
func (f *failover) chooseWhat(g topology.Group) (err error) {
	var names []string
	for _, w := range g.Workspaces {
		if w.Recoverable() {
			names = append(names, w.Name)
		}
	}
	if f.limits.Choice, err = topology.ParseChoice(f.in.Point, names); err != nil {
		return refuseInvalid(err)
	}
	f.limits.MaxDataLoss, err = topology.ParseLossLimit(f.in.MaxDataLoss)
	f.op.Choice = f.limits.Choice
	return refuseInvalid(err)
}

func (f *failover) readGroup(ctx workflow.Context) (g topology.Group, err error) {
	read := asked(ctx, TaskQueue, "read the group")
	err = workflow.ExecuteActivity(read, control.ReadGroup, activities.ReadGroupInput{Group: f.in.Group}).Get(ctx, &g)
	return g, refuse(err)
}

// notBack returns the workspaces that have no server in the region that serves: the failover to there has not brought them up.
func notBack(g topology.Group) (names []string) {
	for i := range g.Workspaces {
		w := &g.Workspaces[i]
		if _, there := w.Sites[g.Active]; !there && w.Recoverable() {
			names = append(names, w.Name)
		}
	}
	return names
}

// run holds the group's lock from BeginOperation to EndOperation, which comes whatever happens in between.
func (f *failover) run(ctx workflow.Context) error {
	if err := f.plan(ctx); err != nil {
		return err
	}
	if err := f.begin(ctx); err != nil {
		return err
	}
	stop := f.keepRecording(ctx)
	f.tellStart(ctx)
	err := f.claim(ctx)
	if err == nil {
		// After the point of no return a cancellation would only leave less than was there.
		forwardCtx, cancel := workflow.NewDisconnectedContext(ctx)
		defer cancel()
		fenced := f.fenceLeft(forwardCtx)
		err = f.bringUp(forwardCtx)
		fenced()
		if err == nil {
			err = f.retireLeft(forwardCtx)
		}
	}
	stop()
	return f.finish(ctx, err)
}

// begin takes the group's lock. It may get an operation that was abandoned before, which then goes on. A cancellation is heard
// afterwards: nobody could tell whether an order that was taken back has left a lock behind.
func (f *failover) begin(ctx workflow.Context) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	ctx, cancel := workflow.NewDisconnectedContext(ctx)
	defer cancel()
	in := activities.BeginOperationInput{Operation: f.op}
	var began activities.BeginOperationResult
	lock := asked(ctx, RegionQueue(f.op.To), "exclude other operations")
	if err := workflow.ExecuteActivity(lock, target.BeginOperation, in).Get(ctx, &began); err != nil {
		return err
	}
	if began.Resumed {
		f.goOnWith(began.Operation, workflow.Now(ctx))
	}
	return nil
}

// goOnWith makes an abandoned operation this run's. Its last word may be older than its claim: it counts as claimed.
func (f *failover) goOnWith(was topology.Operation, now time.Time) {
	f.op.ID, f.op.StartedAt, f.op.Epoch, f.op.ClaimedAt = was.ID, was.StartedAt, was.Epoch, was.ClaimedAt
	if f.op.ClaimedAt.IsZero() {
		f.op.ClaimedAt = now.UTC()
	}
	f.op.Phases = append(endOpen(was.Phases, now), f.op.Phases...)
}

// claim claims the next epoch: the point of no return. From the moment at which it is ordered nobody knows whether the epoch is
// claimed until the answer is there; an answer that it is not makes it a point of return again.
func (f *failover) claim(ctx workflow.Context) error {
	return f.phase(ctx, "Claim", "", func(p *topology.Phase) error {
		again := !f.op.ClaimedAt.IsZero()
		if !again && ctx.Err() != nil {
			return ctx.Err()
		}
		if !again {
			f.op.ClaimedAt = workflow.Now(ctx).UTC()
		}
		ctx, cancel := workflow.NewDisconnectedContext(ctx)
		defer cancel()
		in := activities.ClaimEpochInput{
			Group: f.in.Group, Region: f.op.To, Operation: f.op.ID, Claimant: workflow.GetInfo(ctx).WorkflowExecution.ID,
		}
		var claimed activities.ClaimEpochResult
		claim := forward(ctx, f.op.To, "the point of no return")
		err := workflow.ExecuteActivity(claim, target.ClaimEpoch, in).Get(ctx, &claimed)
		switch {
		case err == nil:
			f.op.Epoch = claimed.Epoch
		case !again:
			f.op.ClaimedAt = time.Time{}
		}
		return err
	})
}

// finish writes the end into the account and releases the lock.
func (f *failover) finish(ctx workflow.Context, err error) error {
	ctx, cancel := workflow.NewDisconnectedContext(ctx)
	defer cancel()
	f.op.EndedAt = workflow.Now(ctx).UTC()
	f.judge(err)
	f.show(ctx)
	end := forward(ctx, f.op.To, "release the group")
	ended := workflow.ExecuteActivity(end, target.EndOperation, activities.RecordOperationInput{Operation: f.op}).Get(ctx, nil)
	labelled := f.label(ctx, string(f.op.State))
	f.tellEnd(ctx)
	return cmp.Or(err, ended, labelled)
}

// judge says in the account how the operation ended.
func (f *failover) judge(err error) {
	switch {
	case err == nil:
		f.op.State = topology.OperationCompleted
	case f.canceled(err):
		f.op.State, f.op.Error = topology.OperationCanceled, f.canceledText()
	default:
		failure := FailureOf(err)
		f.op.State, f.op.Error, f.op.Hint = topology.OperationFailed, failure.Message, f.howToGoOn(failure.Hint)
		if f.reverted {
			f.op.State = topology.OperationReverted
		}
	}
}

// howToGoOn adds to a hint the command that goes on with an operation that has claimed.
func (f *failover) howToGoOn(hint string) string {
	goOn := "smartdr failover --group " + f.in.Group + " --resume"
	switch {
	case f.op.Epoch == 0 || strings.Contains(hint, goOn):
		return hint
	case hint == "":
		return "go on: " + goOn
	}
	return hint + "; then go on: " + goOn
}

// phase runs one timed step and keeps the account of it, in the operation, in the catalog and in the UI.
func (f *failover) phase(ctx workflow.Context, name, workspace string, do func(*topology.Phase) error) error {
	at := len(f.op.Phases)
	f.op.Phases = append(f.op.Phases, topology.Phase{Name: name, Workspace: workspace, StartedAt: workflow.Now(ctx).UTC()})
	f.show(ctx)
	if err := f.label(ctx, name); err != nil {
		return err
	}
	var told topology.Phase
	err := do(&told)
	p := &f.op.Phases[at]
	p.EndedAt, p.Note = workflow.Now(ctx).UTC(), told.Note
	if err != nil {
		p.Error = FailureOf(err).Message
	}
	f.show(ctx)
	return err
}

// label makes a phase searchable, once for all workspaces that are in it.
func (f *failover) label(ctx workflow.Context, phase string) error {
	if f.labelled == phase {
		return nil
	}
	f.labelled = phase
	return f.labels.set(ctx, phaseKey.ValueSet(phase))
}

func (f *failover) show(ctx workflow.Context) {
	workflow.SetCurrentDetails(ctx, operationDetails(f.op))
}

// keepRecording writes the account into the catalog every minute, so that somebody who comes later can tell a running
// operation from an abandoned one. The returned function ends it.
func (f *failover) keepRecording(ctx workflow.Context) (stop func()) {
	ctx, cancel := workflow.NewDisconnectedContext(ctx)
	workflow.Go(ctx, func(ctx workflow.Context) {
		for ctx.Err() == nil {
			f.record(ctx)
			if workflow.Sleep(ctx, recordEvery) != nil {
				return
			}
		}
	})
	return cancel
}

// record writes the account as it stands. What goes wrong is no reason to stop: the next write says it again, and
// EndOperation insists.
func (f *failover) record(ctx workflow.Context) {
	in := activities.RecordOperationInput{Operation: f.op}
	err := workflow.ExecuteActivity(account(ctx, f.op.To), target.RecordOperation, in).Get(ctx, nil)
	if err != nil && !temporal.IsCanceledError(err) {
		workflow.GetLogger(ctx).Warn("the account of the operation was not written", "error", err)
	}
}

// endOpen ends the phases that an abandoned run left open.
func endOpen(phases []topology.Phase, now time.Time) []topology.Phase {
	phases = slices.Clone(phases)
	for i := range phases {
		if phases[i].EndedAt.IsZero() {
			phases[i].EndedAt, phases[i].Error = now.UTC(), "abandoned"
		}
	}
	return phases
}
