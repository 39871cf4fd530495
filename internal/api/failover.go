package api

import (
	"context"
	"fmt"
	"iter"
	"reflect"
	"slices"
	"time"

	"go.temporal.io/sdk/client"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/snapshot"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/workflows"
)

// PreviewFailover says what a failover now would bring back and lose, and whether the serving region still seems
// alive. It changes nothing.
func (s *Service) PreviewFailover(ctx context.Context, req FailoverRequest) (FailoverPreview, error) {
	st, err := s.Status(ctx, req.Group)
	if err != nil {
		return FailoverPreview{}, err
	}
	to, err := s.target(st.Group, req.To)
	if err == nil {
		err = s.notHeld(ctx, st.Group)
	}
	if err == nil && !req.Force {
		err = cameBack(st.Group)
	}
	if err != nil {
		return FailoverPreview{}, err
	}
	s.findSnapshots(ctx, &st, to)
	p := preview(st, to, s.opts.Now())
	s.placePreview(ctx, st, &p)
	return p, nil
}

// findSnapshots looks into a region's bucket for snapshots of which the announcements there do not know. A bucket that was away is told within
// seconds what it missed, if whoever could tell it lives so long; what was stored counts, and not what was said. A bucket that does not answer now
// leaves what was announced.
func (s *Service) findSnapshots(ctx context.Context, st *topology.GroupStatus, region string) {
	store, err := s.store(ctx, region)
	if err != nil {
		return
	}
	for i := range st.Workspaces {
		w := &st.Workspaces[i]
		found := topology.SnapshotProgress{}
		if w.Snapshot != nil {
			found = *w.Snapshot
		}
		if slices.Contains(found.Complete, region) {
			continue
		}
		ctx, cancel := context.WithTimeout(ctx, s.bucketTimeout())
		if there, _ := snapshot.List(ctx, store, st.Group.Name, w.Workspace); len(there) > 0 {
			found.Complete = append(slices.Clone(found.Complete), region)
			w.Snapshot = &found
		}
		cancel()
	}
}

// cameBack refuses a group with workspaces that its last failover has not brought up yet.
func cameBack(g topology.Group) error {
	for i := range g.Workspaces {
		w := &g.Workspaces[i]
		if _, there := w.Sites[g.Active]; !there && w.Recoverable() {
			return fault.Newf(fault.Invalid, opFailover, "the last failover of group %s has not brought back workspace %s", g.Name, w.Name).
				WithHint("Resume it: smartdr failover --group %s --resume; or leave that workspace behind with --force.", g.Name)
		}
	}
	return nil
}

// target returns the region to fail over to, or why there is none.
func (s *Service) target(g topology.Group, to string) (string, error) {
	if to != "" {
		if err := s.knownRegion(to); err != nil {
			return "", err
		}
	}
	switch {
	case g.Replication == nil || g.Secondary == "":
		return "", fault.Newf(fault.Missing, opFailover, "group %s has never been replicated", g.Name).
			WithHint("`smartdr configure --group %s --secondary REGION` begins with it.", g.Name)
	case to == "":
		return g.Other(g.Active), nil
	case to == g.Active:
		return "", fault.Newf(fault.Invalid, opFailover, "group %s is served from %s already", g.Name, to)
	case to != g.Primary && to != g.Secondary:
		return "", fault.Newf(fault.Invalid, opFailover, "group %s is not replicated to %s", g.Name, to).
			WithHint("Its regions are %s and %s.", g.Primary, g.Secondary)
	}
	return to, nil
}

// notHeld refuses a group that a running operation holds. One that has ended or was abandoned is no obstacle: a
// failover goes on with it.
func (s *Service) notHeld(ctx context.Context, g topology.Group) error {
	if g.Operation == nil {
		return nil
	}
	op, err := s.catalog.Operation(ctx, g.Name, g.Operation.ID)
	switch {
	case fault.Is(err, fault.Missing):
		op = topology.Operation{State: topology.OperationActive, StartedAt: g.Operation.StartedAt}
	case err != nil:
		return err
	}
	if op.Running(s.opts.Now()) {
		return g.Changeable(opFailover)
	}
	return nil
}

// StartFailover starts a failover, or goes on with the last one, and does not wait for it. What it would lose is asked with
// PreviewFailover.
func (s *Service) StartFailover(ctx context.Context, req FailoverRequest) (Started, error) {
	if req.Resume {
		return s.resume(ctx, req)
	}
	p, err := s.PreviewFailover(ctx, req)
	if err == nil {
		_, err = req.choice(p.recoverable())
	}
	if err != nil {
		return Started{}, err
	}
	if err := p.Refusal(req.Force); err != nil {
		return Started{}, err
	}
	in := workflows.FailoverInput{Group: req.Group, To: p.To, Force: req.Force, Point: req.Point, MaxDataLoss: req.MaxDataLoss}
	summary := fmt.Sprintf("failover of %s from %s to %s", req.Group, p.From, p.To)
	run, err := s.start(ctx, workflows.FailoverID(req.Group), workflows.FailoverType, summary, in)
	if err != nil {
		return Started{}, err
	}
	return Started{Group: req.Group, Operation: run.GetRunID(), Workflow: run.GetID(), Run: run.GetRunID()}, nil
}

// Operations returns a group's operations, newest first.
func (s *Service) Operations(ctx context.Context, group string) ([]topology.Operation, error) {
	if _, err := s.Group(ctx, group); err != nil {
		return nil, err
	}
	ops, err := s.catalog.Operations(ctx, group)
	if err != nil {
		return nil, err
	}
	return append([]topology.Operation{}, ops...), nil
}

// Operation returns one operation; a running one as it stands now where Temporal answers.
func (s *Service) Operation(ctx context.Context, group, id string) (topology.Operation, error) {
	if _, err := s.Group(ctx, group); err != nil {
		return topology.Operation{}, err
	}
	op, err := s.catalog.Operation(ctx, group, id)
	if fault.Is(err, fault.Missing) {
		return op, fault.Newf(fault.Missing, "find the operation", "group %s has none named %q", group, id).
			WithHint("See `smartdr operations %s`", group)
	}
	if err != nil || op.State != topology.OperationActive {
		return op, err
	}
	live, ok := s.operationNow(ctx, Started{Group: group, Workflow: workflowOf(op)})
	if ok && live.ID == id {
		return live, nil
	}
	return op, nil
}

// workflowOf is the workflow that runs an operation.
func workflowOf(op topology.Operation) string {
	switch op.Kind {
	case workflows.SwitchoverType:
		return workflows.SwitchoverID(op.Group)
	case workflows.FailbackType:
		return workflows.FailbackID(op.Group)
	case workflows.RestoreType:
		return workflows.RestoreID(op.Group)
	}
	return workflows.FailoverID(op.Group)
}

// watchEvery is how often a running operation is looked at.
const watchEvery = 300 * time.Millisecond

// WatchOperation yields an operation each time it has changed, and ends with it. An operation that failed is yielded
// as it ended, without an error; the error is for a refusal before it began, and for a watch that could not go on.
func (s *Service) WatchOperation(ctx context.Context, started Started) iter.Seq2[topology.Operation, error] {
	return func(yield func(topology.Operation, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		ended := s.await(ctx, started)
		tick := time.NewTicker(watchEvery)
		defer tick.Stop()
		var last topology.Operation
		for {
			select {
			case end := <-ended:
				yield(end.op, end.err)
				return
			case <-tick.C:
			}
			op, ok := s.operationNow(ctx, started)
			if !ok || reflect.DeepEqual(op, last) {
				continue
			}
			if last = op; !yield(op, nil) {
				return
			}
		}
	}
}

// operationNow asks the workflow how far it is.
func (s *Service) operationNow(ctx context.Context, started Started) (op topology.Operation, ok bool) {
	c, err := s.dial(ctx)
	if err != nil {
		return op, false
	}
	ctx, cancel := context.WithTimeout(ctx, liveTimeout)
	defer cancel()
	v, err := c.QueryWorkflow(ctx, started.Workflow, started.Run, workflows.ProgressQuery)
	if err != nil || v.Get(&op) != nil {
		return op, false
	}
	s.notePercents(ctx, c, started, &op)
	return op, true
}

// amount is what activities that move bytes say with their heartbeats.
type amount struct {
	Done      int64  `json:"done"`
	Total     int64  `json:"total"`
	Workspace string `json:"workspace"`
}

// movers are the activities that move bytes, by the phase they make up.
var movers = map[string]string{"Restore snapshot": "RestoreSnapshot", "Fetch WAL": "FetchWAL"}

// notePercents says in a phase that moves bytes how far it is.
func (s *Service) notePercents(ctx context.Context, c client.Client, started Started, op *topology.Operation) {
	open := openMovers(op)
	if len(open) == 0 {
		return
	}
	d, err := c.DescribeWorkflowExecution(ctx, started.Workflow, started.Run)
	if err != nil {
		return
	}
	for _, a := range d.GetPendingActivities() {
		done := detail[amount](a.GetHeartbeatDetails())
		if p := open[a.GetActivityType().GetName()+" "+done.Workspace]; p != nil && done.Total > 0 {
			p.Note = fmt.Sprintf("%d%%", done.Done*100/done.Total)
		}
	}
}

// openMovers returns the phases under way that move bytes, by activity and workspace.
func openMovers(op *topology.Operation) map[string]*topology.Phase {
	open := map[string]*topology.Phase{}
	for i := range op.Phases {
		if p := &op.Phases[i]; p.EndedAt.IsZero() && movers[p.Name] != "" {
			open[movers[p.Name]+" "+p.Workspace] = p
		}
	}
	return open
}

// outcome is how an operation ended.
type outcome struct {
	op  topology.Operation
	err error
}

// await waits for the end of an operation's workflow, also through an outage of Temporal.
func (s *Service) await(ctx context.Context, started Started) <-chan outcome {
	ended := make(chan outcome, 1)
	go func() {
		for {
			op, err := s.result(ctx, started)
			if err == nil || ctx.Err() != nil || ClassOf(err) != Unreachable || isVerdict(err) {
				ended <- outcome{op, err}
				return
			}
			select {
			case <-time.After(time.Second):
			case <-ctx.Done():
			}
		}
	}()
	return ended
}

// result waits for the workflow's end and returns the operation as it ended.
func (s *Service) result(ctx context.Context, started Started) (topology.Operation, error) {
	c, err := s.dial(ctx)
	if err != nil {
		return topology.Operation{}, err
	}
	var r workflows.FailoverResult
	err = failure(ctx, c.GetWorkflow(ctx, started.Workflow, started.Run).Get(ctx, &r))
	if err == nil || ctx.Err() != nil || !isVerdict(err) {
		return r.Operation, err
	}
	if op, ok := s.operationNow(ctx, started); ok && unsuccessful(op) {
		return op, nil
	}
	if op, kept := s.catalog.Operation(ctx, started.Group, started.Operation); kept == nil && unsuccessful(op) {
		return op, nil
	}
	return topology.Operation{}, err
}

// unsuccessful operations have ended without what was asked.
func unsuccessful(op topology.Operation) bool {
	return op.State == topology.OperationFailed || op.State == topology.OperationReverted || op.State == topology.OperationCanceled
}
