package workflows

import (
	"fmt"
	"strings"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/smartdr/smartdr/activities"
	"github.com/smartdr/smartdr/internal/fault"
)

// WorkspaceReplication replicates one workspace under one epoch until the epoch is over or somebody cancels it. What
// stands still for a reason that needs somebody is tried again every minute, so that it goes on by itself once put right.
func WorkspaceReplication(ctx workflow.Context, in WorkspaceReplicationInput) error {
	if err := in.check(); err != nil {
		return err
	}
	if err := label(ctx, groupKey.ValueSet(in.Group), regionKey.ValueSet(in.Region)); err != nil {
		return err
	}
	r := &replicator{in: in, doing: map[string]string{}}
	for {
		lineage, err := r.prepare(ctx)
		if err != nil {
			return err
		}
		next, err := r.round(ctx, lineage)
		if err != nil || next == again {
			return r.end(ctx, err)
		}
	}
}

func (in WorkspaceReplicationInput) check() error {
	if in.Group == "" || in.Workspace == "" || in.Epoch < 1 || in.Region == "" {
		return invalid("Replication starts it with all four; start Replication instead", "replicating a workspace needs its group, name, epoch and region")
	}
	return nil
}

// replicator is one run of WorkspaceReplication.
type replicator struct {
	in     WorkspaceReplicationInput
	turns  int               // of shipping, in this run
	taking bool              // a snapshot, which must not be cut short by a new run
	doing  map[string]string // what each part does, for people
}

// beside is for what happens where the server is: on its host, or anywhere in its region when it was adopted.
func (r *replicator) beside(ctx workflow.Context, summary string) workflow.Context {
	return beside(ctx, siteQueue(r.in.Region, r.in.Host), summary)
}

// next says what comes after a round.
type next int

const (
	prepareAgain next = iota // look at the server again, then go on
	again                    // a new run with an empty history
)

// event is what ends a round.
type event struct {
	hole   string // why the server cannot give the WAL that comes next
	fenced error  // the epoch is over
	stuck  error  // shipping needs somebody
	full   bool   // the history is long enough
}

func (r *replicator) sourceInput() activities.SourceInput {
	return activities.SourceInput{Group: r.in.Group, Workspace: r.in.Workspace, Epoch: r.in.Epoch, TurnSeconds: int(turn / time.Second)}
}

// prepare makes sure of the server, the slot and the lineage, for as long as it takes.
func (r *replicator) prepare(ctx workflow.Context) (lineage string, err error) {
	for {
		r.say(ctx, "server", "being prepared")
		var found activities.PrepareSourceResult
		err := workflow.ExecuteActivity(r.beside(ctx, "look at the server, reserve its WAL"), source.PrepareSource, r.sourceInput()).Get(ctx, &found)
		if err == nil {
			r.say(ctx, "server", "writes lineage "+found.Lineage)
			return found.Lineage, nil
		}
		if err := r.pause(ctx, "server", err); err != nil {
			return "", err
		}
	}
}

// pause shows why something stands still and waits a minute. It gives up when the epoch is over or ctx is done.
func (r *replicator) pause(ctx workflow.Context, part string, err error) error {
	f := FailureOf(err)
	if f.Type == string(fault.Fenced) {
		return refuse(err)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	r.say(ctx, part, "**stands still:** "+f.Message+" "+f.Hint)
	return workflow.Sleep(ctx, standstillPause)
}

// round ships, takes snapshots and captures metadata side by side until something ends it, and returns when all of
// that has ended, so that no old shipper meets a new lineage. Only when the whole workflow is cancelled it waits for
// nothing: the region may be gone.
func (r *replicator) round(ctx workflow.Context, lineage string) (next, error) {
	rctx, cancel := workflow.WithCancel(ctx)
	defer cancel()
	events := workflow.NewBufferedChannel(ctx, 4)
	open := workflow.NewWaitGroup(ctx)
	for _, part := range []func(workflow.Context, workflow.Channel){r.ship, r.snapshots, r.capture, r.merge} {
		open.Add(1)
		workflow.Go(rctx, func(ctx workflow.Context) {
			defer open.Done()
			part(ctx, events)
		})
	}
	var e event
	workflow.NewSelector(ctx).
		AddReceive(events, func(c workflow.ReceiveChannel, _ bool) { c.Receive(ctx, &e) }).
		AddReceive(workflow.GetSignalChannel(ctx, ReplacedSignal), func(c workflow.ReceiveChannel, _ bool) {
			c.Receive(ctx, &r.in.Host)
			e.full = true // the next run begins beside the new server
		}).
		AddReceive(ctx.Done(), func(workflow.ReceiveChannel, bool) {}).
		Select(ctx)
	if ctx.Err() != nil {
		return again, ctx.Err()
	}
	cancel()
	open.Wait(ctx)
	return r.after(ctx, lineage, e)
}

func (r *replicator) after(ctx workflow.Context, lineage string, e event) (next, error) {
	switch {
	case ctx.Err() != nil:
		return again, ctx.Err()
	case e.fenced != nil:
		return again, refuse(e.fenced)
	case e.hole != "":
		return prepareAgain, r.startLineage(ctx, lineage, e.hole)
	case e.stuck != nil:
		return prepareAgain, r.pause(ctx, "shipping", e.stuck)
	}
	return again, nil
}

// end ends this run: by continuing as new, or by the error.
func (r *replicator) end(ctx workflow.Context, err error) error {
	if err != nil {
		return err
	}
	return workflow.NewContinueAsNewError(ctx, WorkspaceReplication, r.in)
}

// startLineage begins anew after a hole. The old lineage stays usable up to the hole.
func (r *replicator) startLineage(ctx workflow.Context, lineage, reason string) error {
	for {
		r.say(ctx, "server", "starts a new lineage: "+reason)
		in := activities.StartLineageInput{SourceInput: r.sourceInput(), After: lineage, Reason: reason}
		err := workflow.ExecuteActivity(r.beside(ctx, "new lineage after a hole"), source.StartLineage, in).Get(ctx, nil)
		if err == nil {
			return nil
		}
		if err := r.pause(ctx, "server", err); err != nil {
			return err
		}
	}
}

// ship streams WAL, turn after turn.
func (r *replicator) ship(ctx workflow.Context, events workflow.Channel) {
	for ctx.Err() == nil {
		r.say(ctx, "shipping", "since "+clock(ctx))
		err := workflow.ExecuteActivity(r.beside(ctx, "WAL to both buckets"), source.ShipSegments, r.sourceInput()).Get(ctx, nil)
		r.turns++
		switch e := r.judge(ctx, err); {
		case e != event{}:
			events.SendAsync(e)
			return
		case err != nil:
			return
		}
	}
}

// judge says whether the end of a turn of shipping ends the round.
func (r *replicator) judge(ctx workflow.Context, err error) event {
	if err == nil {
		long := r.turns >= workspaceRun || workflow.GetInfo(ctx).GetContinueAsNewSuggested()
		return event{full: long && !r.taking}
	}
	if ctx.Err() != nil || temporal.IsCanceledError(err) {
		return event{}
	}
	switch f := FailureOf(err); f.Type {
	case HoleType:
		return event{hole: f.Message}
	case string(fault.Fenced):
		return event{fenced: err}
	}
	return event{stuck: err}
}

// snapshots keeps a snapshot of the lineage in every bucket that is as young as the group's schedule wants it and brings back all that is chosen.
func (r *replicator) snapshots(ctx workflow.Context, _ workflow.Channel) {
	for ctx.Err() == nil {
		taken, err := r.snapshot(ctx)
		if err == nil {
			r.say(ctx, "snapshot", fmt.Sprintf("%s in %s", taken.ID, strings.Join(taken.Complete, " and ")))
			err = r.watch(ctx, taken.Due)
		}
		if err != nil && r.pause(ctx, "snapshot", err) != nil {
			return // cancelled, or fenced: shipping notices that too and ends the round
		}
	}
}

// watch waits until another snapshot is due: the last one is too old, it does not bring back all that is chosen now, or
// somebody says that the choice, or the schedule, has changed. One that is under way is never cut short for that.
func (r *replicator) watch(ctx workflow.Context, due time.Time) error {
	ctx, cancel := workflow.WithCancel(ctx)
	defer cancel()
	timer := workflow.NewTimer(ctx, max(due.Sub(workflow.Now(ctx)), time.Minute))
	for over := false; !over; {
		var err error
		watched := workflow.ExecuteActivity(r.beside(ctx, "does the snapshot bring back all that is chosen?"), source.WatchSnapshot, r.sourceInput())
		workflow.NewSelector(ctx).
			AddFuture(watched, func(f workflow.Future) {
				var result activities.WatchSnapshotResult
				err = f.Get(ctx, &result)
				over = result.Reason != ""
			}).
			AddFuture(timer, func(f workflow.Future) { over, err = true, f.Get(ctx, nil) }).
			AddReceive(workflow.GetSignalChannel(ctx, LookSignal), func(c workflow.ReceiveChannel, _ bool) {
				c.Receive(ctx, nil)
				over = true
			}).
			Select(ctx)
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *replicator) snapshot(ctx workflow.Context) (taken activities.TakeSnapshotResult, err error) {
	r.taking = true
	defer func() { r.taking = false }()
	r.say(ctx, "snapshot", "being taken")
	in := activities.TakeSnapshotInput{SourceInput: r.sourceInput(), Scheduled: true}
	err = workflow.ExecuteActivity(r.beside(ctx, "base backup to both buckets"), source.TakeSnapshot, in).Get(ctx, &taken)
	if err != nil || len(taken.Lacking) == 0 {
		return taken, err
	}
	r.say(ctx, "snapshot", fmt.Sprintf("%s in %s, on its way to %s", taken.ID, strings.Join(taken.Complete, " and "), strings.Join(taken.Lacking, " and ")))
	mirror := activities.MirrorSnapshotInput{SourceInput: r.sourceInput(), ID: taken.ID}
	err = workflow.ExecuteActivity(r.beside(ctx, "snapshot to the other bucket"), source.MirrorSnapshot, mirror).Get(ctx, nil)
	taken.Complete = append(taken.Complete, taken.Lacking...)
	return taken, err
}

// capture keeps what the physical copy lacks: settings, hba rules, extensions.
func (r *replicator) capture(ctx workflow.Context, _ workflow.Channel) {
	r.turnAfterTurn(ctx, "metadata", source.CaptureMetadata, "settings, hba rules, extensions")
}

// merge keeps the number of small objects low.
func (r *replicator) merge(ctx workflow.Context, _ workflow.Channel) {
	r.turnAfterTurn(ctx, "merging", source.MergeSegments, "small segments into larger ones")
}

func (r *replicator) turnAfterTurn(ctx workflow.Context, part string, activity any, summary string) {
	for ctx.Err() == nil {
		r.say(ctx, part, "since "+clock(ctx))
		err := workflow.ExecuteActivity(r.beside(ctx, summary), activity, r.sourceInput()).Get(ctx, nil)
		if err != nil && r.pause(ctx, part, err) != nil {
			return
		}
	}
}

// say shows what a part does in the workflow's current details.
func (r *replicator) say(ctx workflow.Context, part, what string) {
	r.doing[part] = what
	var b strings.Builder
	fmt.Fprintf(&b, "Workspace **%s** of %s, in %s, epoch %d\n\n| | |\n|---|---|\n", r.in.Workspace, r.in.Group, r.in.Region, r.in.Epoch)
	for _, part := range parts {
		fmt.Fprintf(&b, "| %s | %s |\n", part, r.doing[part])
	}
	workflow.SetCurrentDetails(ctx, b.String())
}

// parts in the order in which they are shown.
var parts = []string{"server", "shipping", "snapshot", "metadata", "merging"}

func clock(ctx workflow.Context) string {
	return workflow.Now(ctx).UTC().Format("2006-01-02 15:04:05 MST")
}
