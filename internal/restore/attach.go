package restore

import (
	"context"
	"errors"
	"log/slog"
	"slices"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/wal"
)

const opAttach = "attach"

// Plan is the point that recovery must reach, no less and no more.
type Plan struct {
	Timeline  wal.Timeline `json:"timeline"`  // the one RecordEnd is on; its history files lie in pg_wal
	RecordEnd wal.LSN      `json:"recordEnd"` // end of the last complete record
}

// AttachInput says which restored data directory to attach, and how. pg_wal must hold all WAL up to the plan's end, in
// whole segment files with zeros at their end, and the history files of the plan's timeline.
type AttachInput struct {
	Server           *postgres.Server
	Superuser        string // a role of the restored cluster; replaces Server.Superuser
	Plan             Plan
	Minimums         wal.Parameters      // the highest settings that the WAL asks for
	Overrides        map[string]string   // settings for this place; they win over the restored files, not over those that recovery needs
	SlotName         string              // physical slot to create for the new lineage; empty for none
	OmittedDatabases []uint32            // OIDs of databases that were restored as zeros
	ReplayFrom       wal.LSN             // where recovery begins: the snapshot's start
	Tablespaces      []CreatedTablespace // made by the WAL
	FileCopies       []wal.FileCopy      // databases that the WAL copies file by file
	ReadOnly         bool                // it stays a standby at the plan's end, which clients can read from
	Progress         func(AttachProgress)
	Log              *slog.Logger
}

// Phase names a part of an attach.
type Phase string

// The phases of an attach, in their order.
const (
	Starting   Phase = "starting"
	Recovering Phase = "recovering"
	Promoting  Phase = "promoting"
	Promoted   Phase = "promoted"
)

// AttachProgress says how far an attach is.
type AttachProgress struct {
	Phase    Phase   `json:"phase"`
	Replayed wal.LSN `json:"replayed"` // 0 while the server does not say
	Target   wal.LSN `json:"target"`
}

// Attached is the promoted server.
type Attached struct {
	Fork     wal.Position `json:"fork"`     // the old timeline, and the first LSN that is not on it
	Timeline wal.Timeline `json:"timeline"` // the new one
	Start    wal.Position `json:"start"`    // the new timeline, at the start of the segment file that holds the fork
	SystemID string       `json:"systemID"`
	Notes    []string     `json:"notes,omitempty"` // settings of the primary that are impossible here
}

// Attach starts a restored data directory as a standby without a primary, waits until it has replayed exactly the plan's
// WAL, promotes it, checks that the new timeline forks where planned, and makes a slot that keeps the new WAL.
// Only this host gets in until somebody writes other rules with Server.WriteHBA. With ReadOnly it is not promoted: it stays
// where replay ended, also when it is started again.
//
// It may be killed at any moment and called again, and comes to the same end; so it does when PostgreSQL is killed. A
// promotion counts once pg_control says so: before, it is begun anew; after, it is never repeated.
//
// Errors: fault.Corrupt when replay ends before the planned point or damaged pages turn up (it is not promoted then),
// fault.Diverged when the server is found on a timeline that the plan did not lead to, fault.Invalid when the server
// refuses to start, fault.Full.
func Attach(ctx context.Context, in AttachInput) (Attached, error) {
	a := &attach{AttachInput: in}
	if a.Log == nil {
		a.Log = slog.New(slog.DiscardHandler)
	}
	if a.Plan.Timeline == 0 || a.Plan.RecordEnd == 0 {
		return Attached{}, fault.Newf(fault.Invalid, opAttach, "the plan names no place: %s on timeline %d", a.Plan.RecordEnd, a.Plan.Timeline)
	}
	unlock, err := a.lock(opAttach)
	if err != nil {
		return Attached{}, err
	}
	defer unlock()
	attached, err := a.attach(ctx)
	return attached, interrupted(ctx, opAttach, err)
}

// interrupted says that ctx ended where what failed may have failed for that alone: a question cut short, or one that
// was the last there was time for.
func interrupted(ctx context.Context, op string, err error) error {
	if ctx.Err() == nil || errors.Is(err, ctx.Err()) || !fault.Is(err, fault.Transient) {
		return err
	}
	return fault.New(fault.Transient, op, errors.Join(ctx.Err(), err))
}

func (a *attach) attach(ctx context.Context) (Attached, error) {
	if err := a.prepare(ctx); err != nil {
		return Attached{}, err
	}
	defer a.disconnect()
	if a.state.Attached != nil { // and others may serve and ship from it since
		return *a.state.Attached, a.Server.Start(ctx)
	}
	if a.ReadOnly {
		return a.standBy(ctx)
	}
	attached, err := a.recoverAndPromote(ctx)
	if err != nil {
		return Attached{}, err
	}
	if err := a.keepWAL(ctx, attached.Start); err != nil {
		return Attached{}, err
	}
	if err := a.leaveRecovery(ctx); err != nil {
		return Attached{}, err
	}
	spaces, err := a.settleTablespaces()
	if err != nil {
		return Attached{}, err
	}
	attached.Notes = append(attached.Notes, spaces...)
	return attached, a.finish(ctx, attached)
}

// attach is one call of Attach.
type attach struct {
	AttachInput
	state       attachState
	conn        connection
	segmentSize wal.SegmentSize
	stateFile   string // default attachFile
}

// prepare reads what an earlier call left, and settles the server's configuration.
func (a *attach) prepare(ctx context.Context) error {
	a.Server.Superuser = a.Superuser
	control, err := a.Server.ControlData(ctx)
	if err != nil {
		return err
	}
	a.segmentSize = control.SegmentSize
	if err := a.loadState(); err != nil {
		return err
	}
	a.keepQuiet()
	if a.state.Attached != nil && !a.ReadOnly {
		a.Server.Settings = a.lastingSettings(control.Minimums)
		return nil
	}
	a.Server.Settings = a.recoverySettings(control.Minimums)
	if err := a.stopOnOther(ctx); err != nil {
		return err
	}
	return a.Server.Save()
}

// stopOnOther ends a server that Follow has started otherwise than a promotion allows: along another timeline than the plan's, which
// would be the parent of the new one, or with subscriptions that would run.
func (a *attach) stopOnOther(ctx context.Context) error {
	before, err := postgres.Load(a.Server.InstanceDir())
	if fault.Is(err, fault.Missing) {
		return nil
	}
	if err != nil {
		return err
	}
	is, wanted := before.Settings, a.Server.Settings
	if is[targetTimeline] == wanted[targetTimeline] && (is[workersSetting] == "0" || wanted[workersSetting] != "0") {
		return nil
	}
	if committed, err := a.promotionCounts(ctx); committed || err != nil {
		return err
	}
	return a.Server.Stop(ctx, postgres.Fast)
}

// recoverAndPromote brings the server from wherever it is to the new timeline.
func (a *attach) recoverAndPromote(ctx context.Context) (Attached, error) {
	a.say(Starting, 0)
	if err := a.launch(ctx); err != nil {
		return Attached{}, err
	}
	promoted, err := a.awaitReplay(ctx)
	if err != nil {
		return Attached{}, err
	}
	if !promoted {
		if err := a.quiet(ctx); err != nil {
			return Attached{}, err
		}
		if err := a.promote(ctx); err != nil {
			return Attached{}, err
		}
	}
	return a.verify(ctx)
}

// launch starts the server as a standby, or, if an earlier promotion has counted, as a primary.
func (a *attach) launch(ctx context.Context) error {
	if _, running := a.Server.Running(ctx); running {
		return nil
	}
	committed, err := a.promotionCounts(ctx)
	if err != nil {
		return err
	}
	if committed {
		if err := a.Server.RemoveStandbySignal(); err != nil {
			return err
		}
		return a.Server.Launch(ctx)
	}
	if err := a.placeTablespaces(); err != nil {
		return err
	}
	if err := a.makeStandby(); err != nil {
		return err
	}
	return a.start(ctx)
}

// makeStandby makes the next start recover along the plan's timeline, also when an earlier promotion got as far as a
// history file and died: that timeline holds nothing, and following it, or numbering past it, would be wrong.
func (a *attach) makeStandby() error {
	if err := a.removeStrayHistories(); err != nil {
		return err
	}
	if err := a.ensureConfigFile(); err != nil {
		return err
	}
	if err := a.Server.WriteHBA(""); err != nil {
		return err
	}
	if err := a.Server.OwnTree(a.walPath("")); err != nil {
		return err
	}
	return a.Server.WriteStandbySignal()
}

// promotionCounts reports whether the server has committed itself to a timeline of its own. The server says so in pg_control
// after it has written the new timeline's first record, and before anyone can write to it.
func (a *attach) promotionCounts(ctx context.Context) (bool, error) {
	control, err := a.Server.ControlData(ctx)
	return control.Timeline() > a.Plan.Timeline, err
}

// promote ends recovery. The slot comes first where it can, so that no WAL of the new timeline can go before it.
func (a *attach) promote(ctx context.Context) error {
	a.say(Promoting, a.Plan.RecordEnd)
	if err := a.checkPages(); err != nil {
		return err
	}
	if a.conn.open() {
		if err := a.ensureSlot(ctx); err != nil {
			return err
		}
	}
	return a.Server.Promote(ctx)
}

// verify checks that the new timeline left the old one exactly where planned.
func (a *attach) verify(ctx context.Context) (Attached, error) {
	control, err := a.Server.ControlData(ctx)
	if err != nil {
		return Attached{}, err
	}
	tli := control.Timeline()
	if tli <= a.Plan.Timeline {
		return Attached{}, fault.Newf(fault.Diverged, opAttach, "the server writes to timeline %d itself, without a promotion", tli)
	}
	history, err := a.readHistory(tli)
	if err != nil {
		return Attached{}, err
	}
	if len(history) == 0 || history[len(history)-1].Timeline != a.Plan.Timeline || !samePlace(history[len(history)-1].LSN, a.Plan.RecordEnd) {
		return Attached{}, fault.Newf(fault.Diverged, opAttach, "timeline %d forked off at %v instead of %s on timeline %d", tli, history, a.Plan.RecordEnd, a.Plan.Timeline).
			WithHint("Restore again into an empty folder.")
	}
	fork := history[len(history)-1].LSN
	return Attached{
		Fork: wal.Position{Timeline: a.Plan.Timeline, LSN: fork}, Timeline: tli,
		Start: wal.Position{Timeline: tli, LSN: control.SegmentSize.Start(fork)}, SystemID: control.SystemID, Notes: a.state.Notes,
	}, nil
}

// finish leaves the server with the settings that it should be started with from now on, and remembers that all is done.
func (a *attach) finish(ctx context.Context, attached Attached) error {
	if err := a.checkPages(); err != nil {
		return err
	}
	control, err := a.Server.ControlData(ctx)
	if err != nil {
		return err
	}
	a.Server.Settings = a.lastingSettings(control.Minimums)
	if err := a.Server.Save(); err != nil {
		return err
	}
	a.state.Attached = &attached
	if err := a.saveState(); err != nil {
		return err
	}
	a.say(Promoted, attached.Fork.LSN)
	return nil
}

func (a *attach) say(phase Phase, replayed wal.LSN) {
	a.Log.Debug("attach", "phase", phase, "replayed", replayed, "target", a.Plan.RecordEnd)
	if a.Progress != nil {
		a.Progress(AttachProgress{Phase: phase, Replayed: replayed, Target: a.Plan.RecordEnd})
	}
}

// samePlace reports whether two LSNs are the same but for the header of the page that one of them ends before.
func samePlace(p, q wal.LSN) bool {
	lo, hi := min(p, q), max(p, q)
	return lo == hi || lo%walPage == 0 && slices.Contains([]wal.LSN{shortPageHeader, longPageHeader}, hi-lo)
}

// Sizes in WAL (src/include/access/xlog_internal.h).
const (
	walPage         = 8192
	shortPageHeader = 24
	longPageHeader  = 40
)
