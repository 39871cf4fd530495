package workflows

import (
	"errors"
	"fmt"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/temporal"

	"github.com/smartdr/smartdr/internal/fault"
)

// The failure types besides those of fault.Kind.
const (
	// HoleType: the server no longer has the WAL that comes next.
	HoleType = "Hole"
	// NoWorkerType: no worker polls the queue of a region.
	NoWorkerType = "NoWorker"
	// CanceledType: somebody stopped it before it had changed anything for good.
	CanceledType = "Canceled"
)

// Failure is why a workflow failed, in words for an operator.
type Failure struct {
	Type    string `json:"type"` // a fault.Kind, HoleType or NoWorkerType
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
}

func (f Failure) Error() string { return f.Message }

// FailureOf reads the failure out of an error that a workflow or its client returned. An error that is none of ours
// is Transient, with its text.
func FailureOf(err error) Failure {
	var timeout *temporal.TimeoutError
	var app *temporal.ApplicationError
	switch {
	case errors.As(err, &app):
		f := Failure{Type: app.Type(), Message: app.Message()}
		_ = app.Details(&f.Hint) // an application error without details has no hint
		return f
	case errors.As(err, &timeout):
		return Failure{Type: string(fault.Transient), Message: timeoutText(err)}
	}
	return Failure{Type: string(fault.Transient), Message: err.Error()}
}

func timeoutText(err error) string {
	var activity *temporal.ActivityError
	if errors.As(err, &activity) {
		return activity.ActivityType().GetName() + " did not end in time"
	}
	return err.Error()
}

// noWorker reports whether an activity was never picked up.
func noWorker(err error) bool {
	var timeout *temporal.TimeoutError
	return errors.As(err, &timeout) && timeout.TimeoutType() == scheduleToStart
}

// refuse makes err the failure of a workflow: one sentence with its type and hint, and no retry.
func refuse(err error) error {
	if err == nil || temporal.IsCanceledError(err) {
		return err
	}
	f := FailureOf(err)
	return temporal.NewNonRetryableApplicationError(f.Message, f.Type, nil, f.Hint)
}

// refuseAt is refuse for an activity that a region's workers should have done.
func refuseAt(region string, err error) error {
	if !noWorker(err) {
		return refuse(err)
	}
	return temporal.NewNonRetryableApplicationError(
		fmt.Sprintf("no worker of region %q answers", region), NoWorkerType, nil,
		fmt.Sprintf("start one there: smartdr-worker --region %s", region))
}

// refuseOn is refuse for an activity that one host's worker should have done; no host stands for any of the region.
func refuseOn(region, host string, err error) error {
	if host == "" || !noWorker(err) {
		return refuseAt(region, err)
	}
	return temporal.NewNonRetryableApplicationError(
		fmt.Sprintf("the worker of host %q in region %q does not answer", host, region), NoWorkerType, nil,
		fmt.Sprintf("start it there: smartdr-worker --region %s --host %s", region, host))
}

// refuseInvalid makes what a pure check of the lower floors said the failure of a workflow.
func refuseInvalid(err error) error {
	if err == nil {
		return nil
	}
	return temporal.NewNonRetryableApplicationError(err.Error(), string(fault.KindOf(err)), nil, fault.HintOf(err))
}

// invalid is a refusal of the request itself.
func invalid(hint, format string, args ...any) error {
	return temporal.NewNonRetryableApplicationError(fmt.Sprintf(format, args...), string(fault.Invalid), nil, hint)
}

const scheduleToStart = enumspb.TIMEOUT_TYPE_SCHEDULE_TO_START
