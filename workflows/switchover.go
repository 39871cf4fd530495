package workflows

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/smartdr/smartdr/activities"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
)

// Switchover moves a group to its other region, while both are there, without losing anything. Its servers there are made and
// follow while the others serve; then nobody writes for a moment, in which the rest is shipped, the epoch is claimed and the
// followers are promoted. When that moment would grow longer than MaxGap, or anything goes wrong before the claim, everything
// goes back to where it was.
func Switchover(ctx workflow.Context, in SwitchoverInput) (FailoverResult, error) {
	if in.Group == "" {
		return FailoverResult{}, invalid(`give one, as in {"group":"prod"}`, "switchover needs a group")
	}
	s := newSwitchover(ctx, SwitchoverType, in.Group, in.Force)
	s.in.To = in.To
	return s.execute(ctx, in.MaxGap)
}

// switchover is one run of Switchover or Failback.
type switchover struct {
	*failover
	home   bool           // to the primary region, and what served elsewhere is taken down
	group  topology.Group // as it was when the operation began
	maxGap time.Duration
	made   []activities.RestoreInput // of each workspace that moves, its standby
	fences []fencing                 // what was ordered to be fenced
	ends   map[string]topology.Fence // by workspace
}

func newSwitchover(ctx workflow.Context, kind, group string, force bool) *switchover {
	f := &failover{in: FailoverInput{Group: group, Force: force}, op: topology.Operation{
		ID: workflow.GetInfo(ctx).WorkflowExecution.RunID, Kind: kind, Group: group,
		State: topology.OperationActive, StartedAt: workflow.Now(ctx).UTC(),
	}}
	f.moved = map[string]*topology.Moved{}
	return &switchover{failover: f, home: kind == FailbackType, ends: map[string]topology.Fence{}}
}

func (s *switchover) execute(ctx workflow.Context, maxGap string) (FailoverResult, error) {
	var err error
	if s.maxGap, err = ParseGap("read maxGap", maxGap); err != nil {
		return FailoverResult{}, refuseInvalid(err)
	}
	err = workflow.SetQueryHandler(ctx, ProgressQuery, func() (topology.Operation, error) { return s.op, nil })
	if err != nil {
		return FailoverResult{}, err
	}
	if ctx, err = s.cancelable(ctx); err != nil {
		return FailoverResult{}, err
	}
	if err = s.choose(ctx); err == nil {
		err = s.run(ctx)
	}
	return FailoverResult{Operation: s.op}, s.ended(ctx, err)
}

// ParseGap reads the longest time without a writer that a planned move is asked to keep to; "" is the default. What is none, or is shorter than
// a move takes where everything goes well, is fault.Invalid, said of op.
func ParseGap(op, text string) (time.Duration, error) {
	if text == "" {
		return gapByDefault, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < gapAtLeast {
		return 0, fault.Newf(fault.Invalid, op, "%q is no time without a writer: a duration of at least %s, as 30s", text, gapAtLeast).
			WithHint("Leave it out for %s.", gapByDefault)
	}
	return d, nil
}

// choose finds out the two regions and refuses what can be refused by the group's document alone.
func (s *switchover) choose(ctx workflow.Context) error {
	g, err := s.readGroup(ctx)
	if err != nil {
		return err
	}
	s.group = g
	s.op.From, s.op.To = g.Active, cmp.Or(s.in.To, g.Other(g.Active))
	if s.home {
		s.op.To = g.Primary
	}
	if held := g.Operation; held != nil && held.Kind == s.op.Kind {
		// Its Temporal may be lost: then it goes on, or back, wherever it led to. That is found out with the lock.
		if err := s.leadsTo(ctx, held.ID); err != nil {
			return err
		}
		return s.labels.set(ctx, groupKey.ValueSet(g.Name), regionKey.ValueSet(s.op.To))
	}
	last, is, err := s.unfinished(ctx, g)
	if err != nil {
		return err
	}
	if is {
		return s.takeUp(ctx, last)
	}
	if err := s.refusal(g); err != nil {
		return err
	}
	return s.labels.set(ctx, groupKey.ValueSet(g.Name), regionKey.ValueSet(s.op.To))
}

// leadsTo takes the regions of an operation that may have been abandoned.
func (s *switchover) leadsTo(ctx workflow.Context, id string) error {
	var held topology.Operation
	find := asked(ctx, TaskQueue, "the operation that holds the group")
	err := workflow.ExecuteActivity(find, control.FindOperation, activities.FindOperationInput{Group: s.op.Group, Operation: id}).Get(ctx, &held)
	if err == nil && held.To != "" {
		s.op.From, s.op.To = held.From, held.To
	}
	return refuse(err)
}

func (s *switchover) refusal(g topology.Group) error {
	doing := strings.ToLower(s.op.Kind)
	down := notBack(g)
	switch {
	case g.State == topology.GroupTerminated:
		return invalid("", "group %q was terminated", g.Name)
	case g.Replication == nil || g.Secondary == "":
		return invalid("configure replication first", "group %q was never configured to replicate anywhere", g.Name)
	case s.home && g.Active == g.Primary:
		return invalid("smartdr switchover moves it to "+g.Secondary, "group %q is at home already: its primary region %q serves", g.Name, g.Primary)
	case s.op.To == g.Active:
		return invalid("", "group %q is served from %q already", g.Name, g.Active)
	case s.op.To != g.Primary && s.op.To != g.Secondary:
		return invalid("its regions are "+g.Primary+" and "+g.Secondary, "group %q is not replicated to %q", g.Name, s.op.To)
	case len(down) > 0:
		return invalid("resume the failover first: smartdr failover --group "+g.Name+" --resume", "%s loses nothing, and the last failover of group %q has not brought back %s",
			doing, g.Name, strings.Join(down, ", "))
	}
	return nil
}

// run holds the group's lock from BeginOperation to EndOperation, which comes whatever happens in between.
func (s *switchover) run(ctx workflow.Context) error {
	if s.in.Resume {
		return s.failover.run(ctx)
	}
	if s.group.Operation == nil {
		if err := s.plan(ctx); err != nil {
			return err
		}
	}
	was, err := s.lock(ctx)
	if err != nil {
		return err
	}
	stop := s.keepRecording(ctx)
	s.tellStart(ctx)
	if was != nil {
		err = s.goOn(ctx, *was)
	} else {
		err = s.move(ctx)
	}
	stop()
	return s.finish(ctx, err)
}

// lock takes the group's lock. It may get an operation that was abandoned before. A cancellation is heard afterwards.
func (s *switchover) lock(ctx workflow.Context) (was *topology.Operation, err error) {
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	ctx, cancel := workflow.NewDisconnectedContext(ctx)
	defer cancel()
	var began activities.BeginOperationResult
	lock := asked(ctx, RegionQueue(s.op.To), "exclude other operations")
	err = workflow.ExecuteActivity(lock, target.BeginOperation, activities.BeginOperationInput{Operation: s.op}).Get(ctx, &began)
	switch {
	case err != nil:
		return nil, err
	case began.Resumed:
		return &began.Operation, nil
	case s.group.Operation != nil: // it ended meanwhile, or left its lock behind: nothing of this one was planned
		return nil, s.finish(ctx, invalid("start it once more", "the operation that held group %q has ended", s.op.Group))
	}
	return nil, nil
}

// goOn goes on with an operation whose Temporal was lost. Before its claim it goes back: nobody knows for how long its fences
// held. After the claim there is but one way.
func (s *switchover) goOn(ctx workflow.Context, was topology.Operation) error {
	was = reopened(was, workflow.Now(ctx))
	was.Phases = append(was.Phases, s.op.Phases...)
	s.op = was
	ctx, cancel := workflow.NewDisconnectedContext(ctx)
	defer cancel()
	var found activities.FindClaimResult
	look := forward(ctx, s.op.To, "whether its epoch was claimed")
	err := workflow.ExecuteActivity(look, target.FindClaim, activities.FindClaimInput{Group: s.op.Group, Operation: s.op.ID}).Get(ctx, &found)
	if err != nil {
		return err
	}
	s.fences = s.fencings()
	s.findMade()
	if found.Epoch == 0 {
		s.op.ClaimedAt = time.Time{}
		if !committed(found.Fences) {
			return s.putBack(ctx, invalid("start it once more", "it was abandoned before its point of no return"))
		}
		if err := s.carryOn(ctx); err != nil {
			return s.putBack(ctx, err)
		}
		return s.goForward(ctx)
	}
	s.op.Epoch = found.Epoch
	if s.op.ClaimedAt.IsZero() {
		s.op.ClaimedAt = workflow.Now(ctx).UTC()
	}
	return s.goForward(ctx)
}

// committed reports whether an operation came so far that one of its fences stays: then all were set, and none may be lifted.
func committed(fences []topology.Fence) bool {
	return slices.ContainsFunc(fences, func(f topology.Fence) bool { return f.State == topology.FenceCommitted })
}

// carryOn claims for an operation that was abandoned between its fences and its claim. Nobody has written since they were set,
// so that it loses nothing still.
func (s *switchover) carryOn(ctx workflow.Context) error {
	fences, err := commitAll(ctx, s.fences)
	if err != nil {
		return err
	}
	s.op.Fences = fences
	for _, f := range fences {
		s.ends[f.Workspace] = f
	}
	if err := s.drain(ctx); err != nil {
		return err
	}
	return s.claim(ctx)
}

// findMade finds the servers that were made for the operation, by the group's document.
func (s *switchover) findMade() {
	for _, w := range s.group.Workspaces {
		made, is := w.Standbys[s.op.To]
		if !is {
			continue
		}
		plan := activities.WorkspacePlan{Workspace: w.Name, Host: made.Host, Standby: &made}
		in := activities.RestoreInput{Group: s.op.Group, To: s.op.To, Operation: s.op.ID, Epoch: s.group.Epoch, Plan: plan, Standby: made.ID}
		if in.Place.Instance = made.Instance; len(made.Endpoint.Hosts) > 0 {
			in.Place.Port = made.Endpoint.Hosts[0].Port
		}
		s.planned.Workspaces, s.made = append(s.planned.Workspaces, plan), append(s.made, in)
	}
}

// move is all of it, in order. Whatever fails before the claim is taken back.
func (s *switchover) move(ctx workflow.Context) error {
	err := s.prepare(ctx)
	if err == nil {
		err = s.stopWriters(ctx)
	}
	if err == nil {
		err = s.claim(ctx)
	}
	if err != nil {
		return s.putBack(ctx, err)
	}
	ctx, cancel := workflow.NewDisconnectedContext(ctx)
	defer cancel()
	return s.goForward(ctx)
}

// goForward is what comes after the claim.
func (s *switchover) goForward(ctx workflow.Context) error {
	if err := s.bringUp(ctx); err != nil {
		return err
	}
	s.countLoss()
	return s.retire(ctx)
}

// countLoss says that nothing was lost where that is proven: the point that a workspace is brought up at covers the end of what
// its fenced server has told its clients.
func (s *switchover) countLoss() {
	for i := range s.op.Workspaces {
		w := &s.op.Workspaces[i]
		if f, fenced := s.ends[w.Workspace]; fenced && f.End.LSN != 0 && w.Point.At.LSN >= f.End.LSN {
			w.Loss = &topology.Loss{}
		}
	}
}

// moving are the workspaces of the plan that move.
func (s *switchover) moving() []activities.WorkspacePlan {
	return slices.DeleteFunc(slices.Clone(s.planned.Workspaces), func(w activities.WorkspacePlan) bool { return w.Error != "" })
}

// suspended reports whether a workspace has no server running now: there is nobody to fence.
func (s *switchover) suspended(workspace string) bool {
	w := s.group.Workspace(workspace)
	return w != nil && w.State == topology.WorkspaceSuspended
}
