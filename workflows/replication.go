package workflows

import (
	"errors"
	"slices"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/smartdr/smartdr/activities"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
)

// Replication is the entity of a group: it keeps one WorkspaceReplication per workspace running under the epoch that
// the catalog says, and knows the status. It holds nothing that it could not read again from the catalog.
func Replication(ctx workflow.Context, in ReplicationInput) error {
	if in.Group == "" {
		return invalid(`give one, as in {"group":"prod"}`, "replication needs a group")
	}
	if err := label(ctx, groupKey.ValueSet(in.Group)); err != nil {
		return err
	}
	e := newEntity(in)
	if err := e.listen(ctx); err != nil {
		return err
	}
	return e.run(ctx)
}

// entity is one run of Replication. Handlers record wishes; the loop acts on them.
type entity struct {
	group   string
	state   ReplicationState
	running map[string]*child // by workflow id
	stopped map[string]bool   // children that were told to end, by workflow id
	over    topology.Epoch    // children of this epoch and older ones are fenced: never start them again

	poked       bool // the epoch may have changed, or a child ended
	asked, seen int  // status observations wished for; wishes served
	failure     string
	replaced    error  // another control plane acts for the group
	readiness   string // what the last check found, for people
	tails
	standbyKeeping
	sweeps    sweeps
	reserving reserving
}

// child is one WorkspaceReplication; future is nil when an earlier run started it.
type child struct {
	Child
	future workflow.ChildWorkflowFuture
	cancel workflow.CancelFunc
}

func newEntity(in ReplicationInput) *entity {
	e := &entity{group: in.Group, running: map[string]*child{}, stopped: map[string]bool{}}
	if in.State != nil {
		e.state = *in.State
	}
	return e
}

func (e *entity) listen(ctx workflow.Context) error {
	err := workflow.SetQueryHandler(ctx, StatusQuery, func() (topology.GroupStatus, error) {
		if e.state.Status == nil {
			return topology.GroupStatus{}, errors.New("not observed yet; ask again in a second, or use the update " + RefreshUpdate)
		}
		return *e.state.Status, nil
	})
	if err != nil {
		return err
	}
	workflow.Go(ctx, func(ctx workflow.Context) {
		for workflow.GetSignalChannel(ctx, EpochChangedSignal).Receive(ctx, nil) {
			e.poked = true
		}
	})
	return workflow.SetUpdateHandler(ctx, RefreshUpdate, e.refresh)
}

// refresh waits until the loop has observed after it was asked.
func (e *entity) refresh(ctx workflow.Context) (topology.GroupStatus, error) {
	e.asked++
	mine := e.asked
	if err := workflow.Await(ctx, func() bool { return e.seen >= mine }); err != nil {
		return topology.GroupStatus{}, err
	}
	if e.failure != "" {
		return topology.GroupStatus{}, temporal.NewApplicationError(e.failure, string(fault.Transient))
	}
	return *e.state.Status, nil
}

func (e *entity) run(ctx workflow.Context) error {
	workflow.Go(ctx, e.watchReadiness)
	started, recheck := workflow.Now(ctx), workflow.Now(ctx).Add(recheckChildren)
	for ctx.Err() == nil {
		e.turn(ctx)
		if e.replaced != nil {
			return e.end(ctx, e.replaced)
		}
		if workflow.Now(ctx).After(recheck) {
			e.forgetInherited()
			recheck = workflow.Now(ctx).Add(recheckChildren)
		}
		over := workflow.GetInfo(ctx).GetContinueAsNewSuggested() || workflow.Now(ctx).Sub(started) >= replicationRun || e.terminated()
		switch {
		case over && e.idle(ctx) && e.terminated():
			startExpire(ctx, e.group)
			return e.end(ctx, nil)
		case over && e.idle(ctx):
			return workflow.NewContinueAsNewError(ctx, Replication, ReplicationInput{Group: e.group, State: e.carry()})
		}
		wake := func() bool { return e.poked || e.asked > e.seen || over && e.idle(ctx) }
		if _, err := workflow.AwaitWithTimeout(ctx, e.pause(ctx), wake); err != nil {
			return e.end(ctx, err)
		}
	}
	return e.end(ctx, ctx.Err())
}

// idle reports whether this run may end: nothing wished for is open. Waiting for that outside the loop would
// deadlock, since only the loop serves wishes.
func (e *entity) idle(ctx workflow.Context) bool {
	return !e.poked && e.asked == e.seen && workflow.AllHandlersFinished(ctx)
}

// turn observes once and brings the children in line with what was seen.
func (e *entity) turn(ctx workflow.Context) {
	wished := e.asked
	e.poked = false
	var status topology.GroupStatus
	err := workflow.ExecuteActivity(observing(ctx), control.ObserveStatus, activities.ReadGroupInput{Group: e.group}).Get(ctx, &status)
	e.failure = ""
	if err != nil {
		f := FailureOf(err)
		e.failure = f.Message
		if f.Type == string(fault.Fenced) {
			e.replaced = refuse(err)
		}
	} else {
		e.state.Status = &status
		e.reconcile(ctx, status.Group)
		e.keepReservations(ctx, status.Group)
		e.keepStandbys(ctx, status.Group)
		e.bringTails(ctx, status)
		e.keepRetention(ctx, status.Group)
		e.followProtection(ctx, status)
	}
	e.seen = wished
	workflow.SetCurrentDetails(ctx, statusDetails(e.state.Status, e.failure)+"\n"+e.readiness)
}

// terminated reports whether the group is over: then so is its entity.
func (e *entity) terminated() bool {
	return e.state.Status != nil && e.state.Status.Group.State == topology.GroupTerminated
}

// reconcile stops what runs under an older epoch, or for a workspace whose server is not to be replicated now, without waiting
// for it: its region may be gone. Then it starts what does not run.
func (e *entity) reconcile(ctx workflow.Context, g topology.Group) {
	e.state.Epoch = max(e.state.Epoch, g.Epoch)
	for _, c := range slices.Clone(e.state.Children) {
		if c.Epoch < e.state.Epoch || c.Epoch == g.Epoch && !replicates(g, c.Workspace) {
			e.stop(ctx, c)
		}
	}
	if g.Replication == nil || g.Epoch <= e.over || g.Epoch < e.state.Epoch {
		return
	}
	for _, w := range g.Workspaces {
		id := WorkspaceReplicationID(g.Name, w.Name, g.Epoch)
		if e.running[id] == nil && replicates(g, w.Name) {
			e.start(ctx, g, w)
		}
	}
	e.tellChoice(ctx, g)
}

func replicates(g topology.Group, workspace string) bool {
	w := g.Workspace(workspace)
	return w != nil && g.State != topology.GroupTerminated && w.Replicates(g.Active)
}

// tellChoice wakes the children when the choice of databases has changed: one that was added needs a snapshot now.
func (e *entity) tellChoice(ctx workflow.Context, g topology.Group) {
	if g.Replication.ChangedAt.Equal(e.state.ChangedAt) {
		return
	}
	e.state.ChangedAt = g.Replication.ChangedAt
	for _, c := range e.state.Children {
		// One that has ended needs no telling: a child looks when it starts.
		workflow.SignalExternalWorkflow(ctx, WorkspaceReplicationID(g.Name, c.Workspace, c.Epoch), "", LookSignal, nil)
	}
}

// stop tells a child to end, and forgets it.
func (e *entity) stop(ctx workflow.Context, c Child) {
	id := WorkspaceReplicationID(e.group, c.Workspace, c.Epoch)
	if r := e.running[id]; r != nil && r.cancel != nil {
		r.cancel()
	} else {
		workflow.RequestCancelExternalWorkflow(ctx, id, "") // it may have ended already: nothing to wait for
	}
	delete(e.running, id)
	e.stopped[id] = true
	e.forget(c)
}

// start starts a child that outlives this run. One that runs already, started by an earlier run, is as good, unless it was
// told to end and has not yet: the next turn tries again.
func (e *entity) start(ctx workflow.Context, g topology.Group, w topology.Workspace) {
	c := &child{Child: Child{Workspace: w.Name, Epoch: g.Epoch}}
	in := WorkspaceReplicationInput{Group: g.Name, Workspace: w.Name, Epoch: g.Epoch, Region: g.Active, Host: w.Sites[g.Active].Host}
	id := WorkspaceReplicationID(in.Group, in.Workspace, in.Epoch)
	cctx, cancel := workflow.WithCancel(ctx)
	future := workflow.ExecuteChildWorkflow(childOptions(cctx, id, in), WorkspaceReplicationType, in)
	err := future.GetChildWorkflowExecution().Get(ctx, nil)
	var already *temporal.ChildWorkflowExecutionAlreadyStartedError
	switch {
	case err == nil:
		c.future, c.cancel = future, cancel
		workflow.Go(ctx, func(ctx workflow.Context) { e.await(ctx, c) })
	case e.stopped[id] || !errors.As(err, &already):
		return // tried again in the next turn
	}
	delete(e.stopped, id)
	e.running[id] = c
	if !slices.Contains(e.state.Children, c.Child) {
		e.state.Children = append(e.state.Children, c.Child)
	}
}

func childOptions(ctx workflow.Context, id string, in WorkspaceReplicationInput) workflow.Context {
	return workflow.WithChildOptions(ctx, workflow.ChildWorkflowOptions{
		WorkflowID:            id,
		TaskQueue:             TaskQueue,
		WorkflowIDReusePolicy: enumspb.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE,
		ParentClosePolicy:     enumspb.PARENT_CLOSE_POLICY_ABANDON, // it must not notice that a run of ours ends
		StaticSummary:         "replicates workspace " + in.Workspace + " of " + in.Group + " from " + in.Region,
	})
}

// await notices the end of a child. A fenced one belongs to an epoch that is over.
func (e *entity) await(ctx workflow.Context, c *child) {
	err := c.future.Get(ctx, nil)
	id := WorkspaceReplicationID(e.group, c.Workspace, c.Epoch)
	if e.running[id] != c {
		return
	}
	delete(e.running, id)
	e.forget(c.Child)
	if isFenced(err) {
		e.over = max(e.over, c.Epoch)
	}
}

func (e *entity) forget(c Child) {
	e.state.Children = slices.DeleteFunc(e.state.Children, func(o Child) bool { return o == c })
}

// forgetInherited makes the next turn start again the children whose end this run would not notice; for those that
// run, the start is refused and nothing changes.
func (e *entity) forgetInherited() {
	for _, c := range e.state.Children {
		id := WorkspaceReplicationID(e.group, c.Workspace, c.Epoch)
		if r := e.running[id]; r != nil && r.future == nil {
			delete(e.running, id)
		}
	}
}

// end stops the children of an entity that was cancelled, in a context that is still alive.
func (e *entity) end(ctx workflow.Context, err error) error {
	ctx, cancel := workflow.NewDisconnectedContext(ctx)
	defer cancel()
	for _, c := range e.state.Children {
		workflow.RequestCancelExternalWorkflow(ctx, WorkspaceReplicationID(e.group, c.Workspace, c.Epoch), "")
	}
	return err
}

func (e *entity) carry() *ReplicationState {
	s := e.state
	return &s
}
