package restore

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

const (
	// retryInterval is how often the server looks for more WAL.
	retryInterval = "100ms"
	// stuckAfter is how long a server may wait for WAL that is there.
	stuckAfter = 10 * time.Second
	// endsAtMost is how often the server may end by itself, or be killed, without having replayed anything.
	endsAtMost = 5
	tellEvery  = 500 * time.Millisecond
)

// loadState reads what an earlier call left, and refuses what it forbids.
func (f *follow) loadState(ctx context.Context) error {
	if _, err := os.Stat(filepath.Join(f.Server.InstanceDir(), attachFile)); err == nil {
		return fault.Newf(fault.Conflict, opFollow, "the server in %s is being promoted, or was", f.Server.InstanceDir())
	}
	f.Server.Superuser = f.Superuser
	control, err := f.Server.ControlData(ctx)
	if err != nil {
		return err
	}
	f.server.segmentSize, f.minimums = control.SegmentSize, control.Minimums
	state := &f.server.state
	if err := f.server.readState(); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	limit := f.writer.grow.limit
	if limit != 0 && state.FedRecord.LSN > limit {
		if !f.AtLeast {
			return fault.Newf(fault.Diverged, opFollow, "this standby has WAL up to %s, beyond %s", state.FedRecord, limit).WithHint(hintRemake)
		}
		f.writer.grow.limit = max(state.Fed, state.FedRecord.LSN)
	}
	return nil
}

// timeline is the one that the server is to recover along: the newest that the way reaches and that is known to the server, up to
// the target. Later ones have their numbers taken, and are not followed.
func (f *follow) timeline() wal.Timeline {
	limit := f.writer.grow.limit
	t := f.Legs[0].Lineage.Start.Timeline
	for i, line := range f.writer.lines {
		if i > 0 && limit != 0 && limit <= f.Legs[i-1].To {
			break
		}
		newest := line.Timeline
		if limit != 0 {
			newest = line.At(limit)
		}
		if i == 0 || f.written[newest] {
			t = newest
		}
	}
	return t
}

// serve has the server run, with the settings that what was written needs.
func (f *follow) serve(ctx context.Context) error {
	if f.writer.leg < 0 {
		return nil // nothing to replay yet
	}
	_, running := f.Server.Running(ctx)
	if running && f.suits() {
		f.launched = true
		return nil
	}
	if running {
		if err := f.stop(ctx); err != nil {
			return err
		}
	} else if f.launched {
		if err := f.ended(); err != nil {
			return err
		}
	}
	return f.launch(ctx)
}

// ended judges why the server is gone: what kills it may pass, and what it met will be there again.
func (f *follow) ended() error {
	err := f.Server.WhyEnded()
	if f.failures++; !fault.Is(err, fault.Transient) || f.failures > endsAtMost {
		return err
	}
	f.Log.Warn("the standby's server ended: starting it again", "error", err)
	return nil
}

// suits reports whether the running server was started with what it needs now. It is described while it is down alone, so that the
// description is that of the one that runs.
func (f *follow) suits() bool {
	if f.runs == nil {
		s, err := postgres.Load(f.Server.InstanceDir())
		if err != nil {
			return false
		}
		f.runs = s.Settings
	}
	wanted := f.settings()
	for name := range f.runs {
		if _, ok := wanted[name]; !ok {
			return false
		}
	}
	least := minimums(wal.Parameters{})
	for name, value := range wanted {
		if _, more := least[name]; f.runs[name] != value && !(more && atLeast(f.runs[name], value)) {
			return false
		}
	}
	return true
}

func atLeast(has, value string) bool {
	n, err1 := strconv.Atoi(has)
	least, err2 := strconv.Atoi(value)
	return err1 == nil && err2 == nil && n >= least
}

// settings are what the server should run with now.
func (f *follow) settings() map[string]string {
	a := f.server
	a.Plan.Timeline, a.Server.Settings = f.timeline(), f.base
	s := a.recoverySettings(f.minimums)
	s["wal_retrieve_retry_interval"] = retryInterval
	return s
}

func (f *follow) stop(ctx context.Context) error {
	f.Log.Info("the standby's server is started anew, with other settings", "timeline", f.timeline())
	f.server.disconnect()
	f.launched = false
	return f.Server.Stop(ctx, postgres.Fast)
}

// launch starts the server as a standby.
func (f *follow) launch(ctx context.Context) error {
	a, t := f.server, f.timeline()
	control, err := f.Server.ControlData(ctx)
	if err != nil {
		return err
	}
	if control.Timeline() > t {
		return fault.Newf(fault.Diverged, opFollow, "the server in %s is on timeline %d, and the way leads to %d", f.Server.DataDir, control.Timeline(), t).
			WithHint(hintRemake)
	}
	f.minimums = f.minimums.Max(control.Minimums)
	f.runs = f.settings()
	f.Server.Settings = f.runs
	if err := f.Server.Save(); err != nil {
		return err
	}
	if err := a.placeTablespaces(); err != nil {
		return err
	}
	if a.state.Histories, err = a.listHistories(); err != nil {
		return err
	}
	if err := a.makeStandby(); err != nil {
		return err
	}
	f.launched, f.stuck = true, time.Time{}
	return a.start(ctx)
}

// watch asks the server how far it is, and reports whether the call has reached what it is for.
func (f *follow) watch(ctx context.Context) (reached bool, err error) {
	if f.writer.leg < 0 {
		f.tell()
		return false, nil
	}
	waiting, err := f.ask(ctx)
	if err != nil {
		return false, err
	}
	end := f.fetch.out.RecordEnd
	done := f.replayed != 0 && end != 0 && (f.replayed >= end || samePlace(f.replayed, end))
	f.settle(done)
	f.caughtUp = f.caughtUp || done && f.tip
	f.tell()
	switch {
	case f.Target != nil:
		reached = done && f.complete()
	case f.LagBelow > 0:
		reached = f.tip && len(f.pending) == 0 && f.replayed != 0 && (done || len(f.fed) > 0 && time.Since(f.fed[0].seen) < f.LagBelow)
	}
	if f.waitsInVain(waiting && !done && f.writer.at >= f.server.state.Fed, time.Now()) && !reached {
		f.server.Plan.RecordEnd = end
		return false, f.server.endError(f.replayed)
	}
	return reached, nil
}

// ask updates how far the server has replayed. One that takes no connections says it in its log alone, and only once it is
// consistent does that count.
func (f *follow) ask(ctx context.Context) (waiting bool, err error) {
	l, err := f.server.look(ctx)
	switch {
	case err == nil && !l.inRecovery:
		return false, fault.Newf(fault.Diverged, opFollow, "the server in %s was promoted", f.Server.DataDir).WithHint(hintRemake)
	case err == nil && l.paused && f.writer.at >= f.server.state.Fed:
		return false, f.server.pausedError()
	case err == nil:
		f.advance(l.replayed)
		return l.waiting, f.trimLog()
	case ctx.Err() != nil:
		return false, fault.New(fault.Transient, opFollow, ctx.Err())
	case !fault.Is(err, fault.Transient):
		return false, err
	}
	if seen := readRecoveryLog(f.Server.Log(), f.SegmentSize); seen.ended && seen.consistent {
		f.advance(seen.end)
	}
	return false, nil
}

func (f *follow) advance(to wal.LSN) {
	if to > f.replayed {
		f.replayed, f.stuck, f.failures = to, time.Time{}, 0
	}
}

// waitsInVain reports whether the server has waited for too long for WAL that is there. That it has replayed nothing for long says
// nothing by itself: there may have been nothing, and what came a moment ago it may not have looked for yet.
func (f *follow) waitsInVain(waits bool, now time.Time) bool {
	switch {
	case !waits:
		f.stuck = time.Time{}
	case f.stuck.IsZero():
		f.stuck = now
	}
	return waits && now.Sub(f.stuck) > stuckAfter
}

// settle forgets the objects that are replayed. Of the last one the server replays no more than its whole records.
func (f *follow) settle(done bool) {
	for len(f.fed) > 0 && (f.fed[0].end <= f.replayed || done && f.fed[0].end <= f.writer.at) {
		f.fed = f.fed[1:]
	}
}

func (f *follow) tell() {
	if f.Progress == nil || time.Since(f.told) < tellEvery {
		return
	}
	f.told = time.Now()
	p := topology.StandbyProgress{
		ID: f.ID, Lineage: f.Legs[max(f.writer.leg, 0)].Lineage.ID, Phase: "replaying", Received: f.followed(false).End, Replayed: f.replayed, MeasuredAt: f.told.UTC(),
	}
	if f.caughtUp {
		p.Phase = "following"
	}
	if len(f.fed) > 0 {
		p.LagSeconds = max(0, f.told.Sub(f.fed[0].age()).Seconds())
	}
	f.Progress(p)
}

func (o object) age() time.Time {
	if o.created.IsZero() {
		return o.seen
	}
	return o.created
}
