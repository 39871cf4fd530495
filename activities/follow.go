package activities

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/smartdr/smartdr/internal/archive"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/restore"
	"github.com/smartdr/smartdr/internal/topology"
)

const (
	// announceStandby is how often a standby says in the bucket how far it is.
	announceStandby = 2 * time.Second
	// shippedLag is by how much more than its standby a bucket may be behind its server, since segments are cut every second.
	shippedLag = 2 * time.Second
)

// FollowWAL lets a standby replay what the bucket of its region receives, until its turn is over or it is where it should be. A
// newer call for the same folder ends an older one.
func (t *Target) FollowWAL(ctx context.Context, in FollowInput) (FollowResult, error) {
	p := beat(ctx)
	defer p.end()
	result, err := t.follow(ctx, in, p)
	return result, judge(ctx, describe(err, "standby of workspace %s", in.Plan.Workspace))
}

func (t *Target) follow(ctx context.Context, in FollowInput, p *pulse) (FollowResult, error) {
	if err := checkOwned(in.RestoreInput); err != nil {
		return FollowResult{}, err
	}
	following, release, err := t.followers.take(ctx, in.Place.Instance)
	if err != nil {
		return FollowResult{}, fault.New(fault.Transient, "follow", err)
	}
	defer release()
	input, err := t.followInput(following, in.RestoreInput, p)
	if err != nil {
		return FollowResult{}, err
	}
	input.Target, input.AtLeast = in.Target, true
	input.LagBelow, input.Turn = seconds(in.LagSeconds), time.Duration(in.TurnSeconds)*time.Second
	began := time.Now()
	for {
		followed, err := restore.Follow(following, input)
		near := followed.Reached
		if err == nil && near && in.LagSeconds > 0 && in.Target == nil {
			near, err = t.shippedNearly(following, in.RestoreInput, input.LagBelow+shippedLag)
		}
		over := input.Turn > 0 && time.Since(began) >= input.Turn
		if err != nil || near || over || in.LagSeconds == 0 || in.Target != nil {
			return followResult(followed, near), err
		}
		pauseFor(following, time.Second)
	}
}

func seconds(n float64) time.Duration { return time.Duration(n * float64(time.Second)) }

func followResult(f restore.Followed, reached bool) FollowResult {
	return FollowResult{
		PhaseResult: PhaseResult{Note: fmt.Sprintf("%s of WAL up to %s, %s fetched", megabytes(int64(f.End.LSN-f.Start)), f.Replayed, megabytes(f.Fetched))},
		Reached:     reached, Received: f.End, Replayed: f.Replayed,
	}
}

// shippedNearly reports whether the bucket is near to the server that is followed, as its shipper says. A server that is
// suspended has no shipper, and nothing left to ship.
func (t *Target) shippedNearly(ctx context.Context, in RestoreInput, lag time.Duration) (bool, error) {
	loaded, err := t.Catalog.Load(ctx, in.Group)
	if err != nil {
		return false, err
	}
	w := loaded.Group.Workspace(in.Plan.Workspace)
	if w == nil {
		return false, noWorkspace(loaded.Group, in.Plan.Workspace)
	}
	if w.State == topology.WorkspaceSuspended {
		return true, nil
	}
	p, err := t.Catalog.WALProgress(ctx, in.Group, in.Plan.Workspace)
	if err != nil {
		return false, err
	}
	c := p.Cursor(in.To)
	return p.Lineage == w.Lineage && c != nil && c.LagSeconds < lag.Seconds() && now().Sub(p.MeasuredAt) < topology.AliveWithin, nil
}

// followInput puts together what following needs, from what the folder was made of and where the lineage leads now.
func (t *Target) followInput(ctx context.Context, in RestoreInput, p *pulse) (restore.FollowInput, error) {
	var o owner
	if found, err := readState(in.Place.Instance, ownerFile, &o); err != nil || !found {
		return restore.FollowInput{}, errorsOr(err, noStandby(in.Place.Instance))
	}
	m, err := t.metadataOrNone(ctx, in)
	if err != nil {
		return restore.FollowInput{}, err
	}
	in.Plan = o.Plan
	attach, _, err := t.attachInput(ctx, in, restore.FetchedWAL{}, m)
	if err != nil {
		return restore.FollowInput{}, err
	}
	legs, err := t.followLegs(ctx, in, o.Plan)
	return restore.FollowInput{
		ID: in.Standby, Server: attach.Server, Superuser: attach.Superuser, SegmentSize: o.Plan.SegmentSize, Legs: legs,
		ReplayFrom: o.Plan.SnapshotStart.LSN, OmittedDatabases: attach.OmittedDatabases, Overrides: attach.Overrides, Log: t.Log,
		Progress: t.standbyTells(ctx, in, p),
	}, err
}

func errorsOr(err, or error) error {
	if err != nil {
		return err
	}
	return or
}

// standbyTells says how far a standby is, in the heartbeat and now and then in the bucket.
func (t *Target) standbyTells(ctx context.Context, in RestoreInput, p *pulse) func(topology.StandbyProgress) {
	var last time.Time
	return func(s topology.StandbyProgress) {
		p.say(s)
		if time.Since(last) < announceStandby {
			return
		}
		last = time.Now()
		if err := t.Catalog.PutStandbyProgress(ctx, in.Group, in.Plan.Workspace, s); err != nil && ctx.Err() == nil {
			t.Log.WarnContext(ctx, "how far the standby is was not announced", "workspace", in.Plan.Workspace, "error", err)
		}
	}
}

// followLegs is the way from a standby's snapshot to the lineage that is written now, whose end is open. It is fault.Diverged
// when that does not go on from the standby's own.
func (t *Target) followLegs(ctx context.Context, in RestoreInput, made WorkspacePlan) ([]restore.Leg, error) {
	loaded, err := t.Catalog.Load(ctx, in.Group)
	if err != nil {
		return nil, err
	}
	w := loaded.Group.Workspace(made.Workspace)
	if w == nil {
		return nil, noWorkspace(loaded.Group, made.Workspace)
	}
	if in.Operation == "" && loaded.Group.Epoch != in.Epoch {
		return nil, fault.Newf(fault.Fenced, "follow", "group %s is at epoch %d", in.Group, loaded.Group.Epoch)
	}
	current := w.CurrentLineage()
	if current == nil || len(made.Legs) == 0 {
		return nil, fault.Newf(fault.Missing, "follow", "workspace %s has no lineage", w.Name)
	}
	return t.legsFrom(in, made, ancestry(*w, *current))
}

func (t *Target) legsFrom(in RestoreInput, made WorkspacePlan, line []topology.Lineage) ([]restore.Leg, error) {
	store, err := t.store(in.To)
	if err != nil {
		return nil, err
	}
	at := slices.IndexFunc(line, func(l topology.Lineage) bool { return l.ID == made.Legs[0].Lineage.ID })
	if at < 0 {
		return nil, fault.Newf(fault.Diverged, "follow", "lineage %s does not go on from %s", line[len(line)-1].ID, made.Legs[0].Lineage.ID)
	}
	line = line[at:]
	var legs []restore.Leg
	for i, l := range line {
		leg := restore.Leg{Archive: leftAt(archive.Open(store, in.Group, made.Workspace, l.ID), line, i), Lineage: l, From: l.Start}
		if i == 0 {
			leg.From = made.Legs[0].From
		}
		if i+1 < len(line) {
			leg.To = line[i+1].Parent.At.LSN
		}
		legs = append(legs, leg)
	}
	return legs, nil
}

// replayTo lets a standby replay exactly to the plan's point, and notes what WAL it has, as FetchWAL does.
func (t *Target) replayTo(ctx context.Context, in RestoreInput, p *pulse) (string, error) {
	if done, err := readState(in.Place.Instance, walFile, new(restore.FetchedWAL)); done || err != nil {
		return "was there already", err
	}
	following, release, err := t.followers.take(ctx, in.Place.Instance)
	if err != nil {
		return "", fault.New(fault.Transient, "replay", err)
	}
	defer release()
	input, err := t.followInput(following, in, p)
	if err != nil {
		return "", err
	}
	at := in.Plan.target()
	input.Target, input.Legs = &at, cut(input.Legs, in.Plan)
	followed, err := restore.Follow(following, input)
	if err != nil {
		return "", err
	}
	if !followed.Reached {
		return "", fault.Newf(fault.Transient, "replay", "it is at %s, and the recovery point is %s", followed.Replayed, at.LSN)
	}
	return "replayed to " + followed.Replayed.String(), writeState(in.Place.Instance, walFile, followed.FetchedWAL)
}

// cut ends the way where the plan's last leg ends.
func cut(legs []restore.Leg, plan WorkspacePlan) []restore.Leg {
	last := plan.Legs[len(plan.Legs)-1]
	at := slices.IndexFunc(legs, func(l restore.Leg) bool { return l.Lineage.ID == last.Lineage.ID })
	if at < 0 {
		return legs // Follow says what is wrong with that
	}
	legs = slices.Clone(legs[:at+1])
	legs[at].To = last.To
	return legs
}
