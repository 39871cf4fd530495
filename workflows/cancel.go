package workflows

import (
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
)

// cancelable lets CancelUpdate stop the operation until its point of no return, which is when f.op.ClaimedAt is set: whoever
// claims sets it before the claim is ordered, since nobody can know whether an order that was taken back was carried out. The
// returned context ends with an accepted cancellation, and with Temporal's own.
func (f *failover) cancelable(ctx workflow.Context) (workflow.Context, error) {
	ctx, cancel := workflow.WithCancel(ctx)
	stop := func(_ workflow.Context, in CancelInput) error {
		if f.canceledBy = in.By; f.canceledBy == "" {
			f.canceledBy = "somebody"
		}
		cancel()
		return nil
	}
	return ctx, workflow.SetUpdateHandlerWithOptions(ctx, CancelUpdate, stop, workflow.UpdateHandlerOptions{
		Validator:   func(CancelInput) error { return f.refuseCancel() },
		Description: "stops the operation and puts everything back; refused after the point of no return",
	})
}

// refuseCancel says why the operation cannot be stopped any more; nil while it can.
func (f *failover) refuseCancel() error {
	switch {
	case f.op.State != topology.OperationActive:
		return invalid("", "%s %s has ended: it is %s", f.op.Kind, f.op.ID, f.op.State)
	case !f.op.ClaimedAt.IsZero():
		return temporal.NewNonRetryableApplicationError(pastReturn(f.op), string(fault.Taken), nil,
			"wait until it has ended: smartdr operations --group "+f.op.Group+" "+f.op.ID)
	}
	return nil
}

func pastReturn(op topology.Operation) string {
	if op.Kind == RestoreType {
		return op.Kind + " " + op.ID + " passed its point of no return at " + op.ClaimedAt.UTC().Format(time.RFC3339) + ": the restored server is taking over"
	}
	return op.Kind + " " + op.ID + " passed its point of no return at " + op.ClaimedAt.UTC().Format(time.RFC3339) +
		": region " + op.To + " has the epoch or is getting it, and only going on brings the group up"
}

// canceledText says what a cancellation left: nothing.
func (f *failover) canceledText() string {
	by := f.canceledBy
	if by == "" {
		by = "Temporal's own cancellation"
	}
	return "it was canceled by " + by + " before its point of no return: nothing was changed"
}

// ended is how a run of the workflow ends. One that was stopped by CancelUpdate has failed for whoever waits for it; one that
// Temporal was told to cancel is canceled.
func (f *failover) ended(ctx workflow.Context, err error) error {
	if f.canceledBy == "" || !f.canceled(err) {
		return refuseAt(f.op.To, err)
	}
	f.op.State = topology.OperationCanceled
	return temporal.NewNonRetryableApplicationError(f.canceledText(), CanceledType, nil)
}

// canceled reports whether err says that the operation was stopped while it still could be.
func (f *failover) canceled(err error) bool {
	return temporal.IsCanceledError(err) && f.op.ClaimedAt.IsZero()
}
