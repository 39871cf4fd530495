package restore

import (
	"context"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/wal"
)

// standBy brings the server to the plan's end and leaves it there, as a standby that has no source. It keeps what it was started with for
// its recovery: each of its starts is a recovery.
func (a *attach) standBy(ctx context.Context) (Attached, error) {
	a.say(Starting, 0)
	if err := a.launch(ctx); err != nil {
		return Attached{}, err
	}
	promoted, err := a.awaitReplay(ctx)
	if err == nil && promoted {
		err = fault.Newf(fault.Diverged, opAttach, "the server was promoted, and is to be a standby").WithHint("Restore again into an empty folder.")
	}
	if err == nil {
		err = a.readable(ctx)
	}
	if err == nil {
		err = a.checkPages()
	}
	if err != nil {
		return Attached{}, err
	}
	control, err := a.Server.ControlData(ctx)
	if err != nil {
		return Attached{}, err
	}
	at := wal.Position{Timeline: a.Plan.Timeline, LSN: a.Plan.RecordEnd}
	attached := Attached{Fork: at, Timeline: at.Timeline, Start: at, SystemID: control.SystemID, Notes: a.state.Notes}
	a.state.Attached = &attached
	return attached, a.saveState()
}

// readable refuses a point at which a standby lets nobody in: it begins with a snapshot that was taken during a transaction with more than 64
// subtransactions, and that transaction had not ended. Replay is over, so nothing will change that.
func (a *attach) readable(ctx context.Context) error {
	err := a.connect(ctx)
	if fault.Is(err, fault.Transient) && ctx.Err() == nil {
		return fault.Newf(fault.Invalid, opAttach, "a standby lets nobody in at %s: %w", a.Plan.RecordEnd, err).
			WithHint("A transaction with many subtransactions was open there. Attach it read-write, or choose a later point.")
	}
	return err
}
