package workflows

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/smartdr/smartdr/activities"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
)

// prepare does everything that can be done while the group serves where it is: each workspace gets a server in the other region
// that follows, as near as shipping is.
func (s *switchover) prepare(ctx workflow.Context) error {
	all := s.moving()
	s.made = make([]activities.RestoreInput, len(all))
	errs := make([]error, len(all))
	open := workflow.NewWaitGroup(ctx)
	for i, w := range all {
		open.Add(1)
		workflow.Go(ctx, func(ctx workflow.Context) {
			defer open.Done()
			errs[i] = refuseOn(s.op.To, w.Host, s.makeStandby(ctx, i, w))
		})
	}
	open.Wait(ctx)
	if err := firstCanceled(errs); err != nil {
		return err
	}
	if err := joined(errs); err != nil {
		return err
	}
	return s.phase(ctx, "Catch up", "", func(*topology.Phase) error { return s.followAll(ctx, nil) })
}

func firstCanceled(errs []error) error {
	if i := slices.IndexFunc(errs, temporal.IsCanceledError); i >= 0 {
		return errs[i]
	}
	return nil
}

// makeStandby brings a workspace's server in the other region to where it follows.
func (s *switchover) makeStandby(ctx workflow.Context, i int, w activities.WorkspacePlan) error {
	in := activities.StandbyInput{Group: s.op.Group, Workspace: w.Workspace, Region: s.op.To, Epoch: s.group.Epoch, Host: w.Host, Operation: s.op.ID}
	var planned activities.PlanStandbyResult
	err := s.phase(ctx, "Provision", w.Workspace, func(p *topology.Phase) error {
		plan := preparing(ctx, RegionQueue(s.op.To), "a server for "+w.Workspace+" that follows")
		if err := workflow.ExecuteActivity(plan, target.PlanStandby, in).Get(ctx, &planned); err != nil {
			return err
		}
		s.made[i] = planned.Restore
		s.promised(planned.Standby, w.Workspace)
		place := preparing(ctx, siteQueue(s.op.To, planned.Standby.Host), "folders and a port for "+w.Workspace)
		err := workflow.ExecuteActivity(place, target.ProvisionTopology, planned.Restore).Get(ctx, &s.made[i].Place)
		p.Note = strings.TrimSpace(planned.Standby.Host + " " + s.made[i].Place.Instance)
		if planned.Kept {
			p.Note += ", which follows already"
		}
		return err
	})
	if err != nil {
		return err
	}
	err = s.phase(ctx, "Restore snapshot", w.Workspace, func(p *topology.Phase) error {
		var r activities.PhaseResult
		restore := preparing(ctx, siteQueue(s.op.To, planned.Standby.Host), "snapshot of "+w.Workspace)
		err := workflow.ExecuteActivity(restore, target.RestoreSnapshot, s.made[i]).Get(ctx, &r)
		p.Note, s.moved[w.Workspace] = r.Note, r.Moved
		return err
	})
	if err != nil {
		return err
	}
	return s.phase(ctx, "Replay WAL", w.Workspace, func(p *topology.Phase) error {
		r, err := s.follow(ctx, s.made[i], activities.FollowInput{LagSeconds: nearEnough.Seconds()})
		p.Note = r.Note
		return err
	})
}

// promised makes a standby what the plan brings its workspace up from.
func (s *switchover) promised(made topology.Standby, workspace string) {
	for i := range s.planned.Workspaces {
		if w := &s.planned.Workspaces[i]; w.Workspace == workspace {
			w.Standby, w.Host = &made, made.Host
		}
	}
}

// follow lets one standby follow until it is where it should be.
func (s *switchover) follow(ctx workflow.Context, made activities.RestoreInput, in activities.FollowInput) (r activities.FollowResult, err error) {
	in.RestoreInput = made
	at := preparing(ctx, siteQueue(s.op.To, made.Plan.Host), "replay what is shipped of "+made.Plan.Workspace)
	err = workflow.ExecuteActivity(at, target.FollowWAL, in).Get(ctx, &r)
	if err == nil && !r.Reached {
		err = temporal.NewApplicationError("the server of "+made.Plan.Workspace+" in "+s.op.To+" did not get as far as it should", string(fault.Transient))
	}
	return r, err
}

// followAll lets all standbys follow until they are near, or at the ends of the fences.
func (s *switchover) followAll(ctx workflow.Context, fences map[string]topology.Fence) error {
	errs := make([]error, len(s.made))
	open := workflow.NewWaitGroup(ctx)
	for i, made := range s.made {
		in := activities.FollowInput{LagSeconds: nearEnough.Seconds()}
		if f, fenced := fences[made.Plan.Workspace]; fenced {
			end := f.End
			in = activities.FollowInput{Target: &end}
		}
		open.Add(1)
		workflow.Go(ctx, func(ctx workflow.Context) {
			defer open.Done()
			_, errs[i] = s.follow(ctx, made, in)
		})
	}
	open.Wait(ctx)
	if err := firstCanceled(errs); err != nil {
		return err
	}
	return joined(errs)
}

// fencings are the servers that must not take writes any more.
func (s *switchover) fencings() []fencing {
	return slices.DeleteFunc(fencings(s.group, s.op.ID, true), func(f fencing) bool { return s.suspended(f.Workspace) })
}

// stopWriters is the part without a writer that can still be taken back: the servers are fenced, what they have written arrives
// in the other region, and the fences are made to stay. It ends in time for the promotion, or with an error.
func (s *switchover) stopWriters(ctx workflow.Context) error {
	s.fences = s.fencings()
	s.op.Gap = &topology.Gap{From: workflow.Now(ctx).UTC(), Most: s.maxGap}
	capped, cancel := workflow.WithCancel(ctx)
	defer cancel()
	late := false
	workflow.Go(capped, func(ctx workflow.Context) {
		if workflow.Sleep(ctx, s.maxGap-promotionTakes(s.maxGap)) == nil {
			late = true
			cancel()
		}
	})
	err := s.fence(capped)
	if err == nil {
		err = s.drain(capped)
	}
	if late || err == nil && workflow.Now(ctx).Sub(s.op.Gap.From) > s.maxGap-promotionTakes(s.maxGap) {
		return s.tooLong()
	}
	if err != nil {
		return err
	}
	return s.commit(ctx)
}

func (s *switchover) tooLong() error {
	return temporal.NewNonRetryableApplicationError(
		fmt.Sprintf("what was written last did not arrive in %s soon enough: the group would have been without a writer for longer than %s", s.op.To, s.maxGap),
		string(fault.Transient), nil, "look at the lag with smartdr status, and try again, perhaps with a longer --max-gap")
}

func (s *switchover) fence(ctx workflow.Context) error {
	return s.phase(ctx, "Fence", "", func(p *topology.Phase) error {
		fences, err := fenceAll(ctx, s.fences)
		var worth []string
		for _, f := range fences {
			s.ends[f.Workspace] = f
			worth = append(worth, fmt.Sprintf("%s at %s (%s)", f.Workspace, f.End.LSN, f.Worth))
			s.tell(ctx, Event{Type: EventFenced, Workspace: f.Workspace, Region: f.Region,
				Message: fmt.Sprintf("the server of workspace %s in %s takes no writes any more", f.Workspace, f.Region)})
		}
		s.op.Fences, p.Note = fences, strings.Join(worth, ", ")
		for _, f := range fences {
			if err == nil && f.End.LSN == 0 {
				err = invalid("it must be fenced by a superuser for that: smartdr readiness says what its role lacks",
					"the server of workspace %s could not be fenced well enough to know where its writes end", f.Workspace)
			}
		}
		return err
	})
}

// drain waits until all that the fenced servers have told their clients has arrived and is replayed.
func (s *switchover) drain(ctx workflow.Context) error {
	return s.phase(ctx, "Ship the rest", "", func(*topology.Phase) error { return s.followAll(ctx, s.ends) })
}

// commit makes the fences stay: from then on only this operation's claim, or somebody who looks, decides who serves.
func (s *switchover) commit(ctx workflow.Context) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	ctx, cancel := workflow.NewDisconnectedContext(ctx)
	defer cancel()
	return s.phase(ctx, "Commit", "", func(*topology.Phase) error {
		fences, err := commitAll(ctx, s.fences)
		if err == nil {
			s.op.Fences = fences
			s.tellFenced(ctx, fences)
		}
		return err
	})
}

// putBack takes back what was done before the claim: the servers take writes again, and those that were made for this are
// removed. It returns why. Where the claim was made after all, there is but the way forward.
func (s *switchover) putBack(ctx workflow.Context, why error) error {
	ctx, cancel := workflow.NewDisconnectedContext(ctx)
	defer cancel()
	var left error
	var claimed topology.Epoch
	if len(s.fences) > 0 {
		left = s.phase(ctx, "Put back", "", func(p *topology.Phase) (err error) {
			if claimed, err = s.lift(ctx); err != nil {
				return err
			}
			p.Note = "the servers in " + s.op.From + " take writes again"
			if claimed != 0 {
				p.Note = fmt.Sprintf("epoch %d was claimed: it goes on", claimed)
			}
			return nil
		})
	}
	if claimed != 0 {
		s.op.Epoch, s.op.ClaimedAt = claimed, workflow.Now(ctx).UTC()
		return s.goForward(ctx)
	}
	if s.op.Gap != nil && s.op.Gap.To.IsZero() && len(s.fences) > 0 {
		s.op.Gap.To = workflow.Now(ctx).UTC()
	}
	s.removeStandbys(ctx)
	s.reverted = left == nil
	if left != nil {
		return summary(FailureOf(why).Message+"; and not every server in "+s.op.From+" takes writes again", FailureOf(why).Hint, left)
	}
	return why
}

// lift lifts all fences of the operation. Where one is committed it is first decided, in the bucket that decides over claims, that
// nobody claims for this operation any more; claimed is the epoch where that comes too late, and nothing was lifted then: a claim is
// ordered only once every fence is committed.
func (s *switchover) lift(ctx workflow.Context) (claimed topology.Epoch, err error) {
	fences, err := liftAll(ctx, s.fences)
	if conflicts(err) == 0 {
		s.op.Fences = fences
		return 0, err
	}
	var decided activities.GoBackResult
	decide := workflow.WithTaskQueue(forward(ctx, s.op.To, "that it claims no epoch any more"), TaskQueue)
	in := activities.GoBackInput{Group: s.op.Group, Operation: s.op.ID}
	if err := workflow.ExecuteActivity(decide, control.GoBack, in).Get(ctx, &decided); err != nil || decided.Claimed != 0 {
		return decided.Claimed, err
	}
	s.op.Fences, err = liftCommitted(ctx, s.fences)
	return 0, err
}

// removeStandbys takes away what was made for this operation. What keeps it from that is no reason to stop: the group's entity
// removes what nobody wants.
func (s *switchover) removeStandbys(ctx workflow.Context) {
	if s.group.Preprovision != nil {
		return // they were there before, or will be wanted after
	}
	open := workflow.NewWaitGroup(ctx)
	for _, made := range s.made {
		if made.Standby == "" {
			continue
		}
		in := activities.StandbyInput{Group: s.op.Group, Workspace: made.Plan.Workspace, Region: s.op.To, ID: made.Standby, Operation: s.op.ID}
		open.Add(1)
		workflow.Go(ctx, func(ctx workflow.Context) {
			defer open.Done()
			at := clearing(ctx, siteQueue(s.op.To, made.Plan.Host), "take away what was made of "+in.Workspace)
			if err := workflow.ExecuteActivity(at, target.RemoveStandby, in).Get(ctx, nil); err != nil {
				workflow.GetLogger(ctx).Warn("a standby was not removed", "workspace", in.Workspace, "error", err)
			}
		})
	}
	open.Wait(ctx)
}

// promotionTakes is what is kept of a gap for what comes after the claim and cannot be taken back.
func promotionTakes(gap time.Duration) time.Duration { return min(gap/3, promotion) }
