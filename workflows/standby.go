package workflows

import (
	"slices"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/smartdr/smartdr/activities"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
)

// Standby keeps a workspace's server in the region that does not serve replaying what the bucket there receives, for as long as
// the group has this epoch. One that cannot go on, since the lineage that it follows ended in a hole or its host is gone, is made
// anew. It ends when an operation takes the standby, and when nobody wants it any more.
func Standby(ctx workflow.Context, in StandbyInput) error {
	if in.Group == "" || in.Workspace == "" || in.Region == "" || in.Epoch == 0 {
		return invalid("the group's Replication starts it", "a standby needs a group, a workspace, a region and an epoch")
	}
	if err := label(ctx, groupKey.ValueSet(in.Group), regionKey.ValueSet(in.Region)); err != nil {
		return err
	}
	s := &standby{in: in}
	if in.Remove != nil {
		err := s.remove(ctx, *in.Remove)
		if isFenced(err) {
			return nil // the group's entity asks again when the operation has ended
		}
		return refuse(err)
	}
	for turn := 0; turn < workspaceRun && !workflow.GetInfo(ctx).GetContinueAsNewSuggested(); turn++ {
		if over, err := s.judge(ctx, s.keep(ctx)); over || err != nil {
			return err
		}
	}
	return workflow.NewContinueAsNewError(ctx, Standby, in)
}

// standby is one run of Standby.
type standby struct {
	in      StandbyInput
	made    topology.Standby
	restore activities.RestoreInput
	ready   bool // its files are there
}

func (s *standby) input() activities.StandbyInput {
	return activities.StandbyInput{Group: s.in.Group, Workspace: s.in.Workspace, Region: s.in.Region, Epoch: s.in.Epoch}
}

// keep makes the standby if it is not there, and lets it follow for a turn.
func (s *standby) keep(ctx workflow.Context) error {
	if !s.ready {
		if err := s.make(ctx); err != nil {
			return err
		}
	}
	workflow.SetCurrentDetails(ctx, "Follows on **"+s.made.Host+"** in `"+s.restore.Place.Instance+"`")
	in := activities.FollowInput{RestoreInput: s.restore, TurnSeconds: int(turn.Seconds())}
	follow := following(ctx, siteQueue(s.in.Region, s.made.Host), "replay what is shipped of "+s.in.Workspace)
	return workflow.ExecuteActivity(follow, target.FollowWAL, in).Get(ctx, nil)
}

func (s *standby) make(ctx workflow.Context) error {
	workflow.SetCurrentDetails(ctx, "Making the standby")
	var planned activities.PlanStandbyResult
	plan := following(ctx, RegionQueue(s.in.Region), "a server for "+s.in.Workspace+" that follows")
	if err := workflow.ExecuteActivity(plan, target.PlanStandby, s.input()).Get(ctx, &planned); err != nil {
		return err
	}
	s.made, s.restore = planned.Standby, planned.Restore
	queue := siteQueue(s.in.Region, s.made.Host)
	place := following(ctx, queue, "folders and a port for "+s.in.Workspace)
	if err := workflow.ExecuteActivity(place, target.ProvisionTopology, s.restore).Get(ctx, &s.restore.Place); err != nil {
		return err
	}
	restore := following(ctx, queue, "snapshot of "+s.in.Workspace)
	if err := workflow.ExecuteActivity(restore, target.RestoreSnapshot, s.restore).Get(ctx, nil); err != nil {
		return err
	}
	s.ready = true
	return nil
}

// judge says whether the standby is over. What a new one would put right makes the next turn begin with a new one.
func (s *standby) judge(ctx workflow.Context, err error) (over bool, _ error) {
	switch failure := FailureOf(orNone(err)); {
	case err == nil:
		return false, nil
	case temporal.IsCanceledError(err) || ctx.Err() != nil:
		return true, err
	case isFenced(err):
		return true, nil // another epoch, or an operation that has taken it: the group's entity knows what is wanted then
	default:
		workflow.SetCurrentDetails(ctx, "Stands still: "+failure.Message)
		useless := []string{string(fault.Diverged), string(fault.Corrupt), string(fault.Missing), string(fault.Conflict)}
		if s.made.ID != "" && slices.Contains(useless, failure.Type) {
			if err := s.remove(ctx, s.made); err != nil {
				workflow.GetLogger(ctx).Warn("a standby that cannot go on was not removed", "error", err)
			}
		}
		s.ready, s.made = false, topology.Standby{}
		return false, workflow.Sleep(ctx, standstillPause)
	}
}

func orNone(err error) error {
	if err == nil {
		return temporal.NewApplicationError("", "")
	}
	return err
}

func isFenced(err error) bool { return err != nil && FailureOf(err).Type == string(fault.Fenced) }

// remove takes a standby away. Where its host does not answer the document alone forgets it: the host removes the folder when it
// is back. One that an operation has, or may take, stays.
func (s *standby) remove(ctx workflow.Context, made topology.Standby) error {
	in := s.input()
	in.ID, in.Host = made.ID, made.Host
	err := workflow.ExecuteActivity(asked(ctx, siteQueue(s.in.Region, made.Host), "take the standby of "+in.Workspace+" away"), target.RemoveStandby, in).Get(ctx, nil)
	if err == nil || temporal.IsCanceledError(err) || isFenced(err) {
		return err
	}
	return workflow.ExecuteActivity(asked(ctx, RegionQueue(s.in.Region), "forget the standby of "+in.Workspace), target.ForgetStandby, in).Get(ctx, nil)
}
