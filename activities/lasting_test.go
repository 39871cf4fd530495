package activities

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/temporal"
)

func TestTemporalsSilenceEndsNothingUntilItAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, lose := context.WithCancelCause(t.Context())
		away := true
		last, cancel := lasting(ctx, func(context.Context) error {
			if away {
				return errors.New("nobody listens")
			}
			return nil
		})
		defer cancel()
		lose(serviceerror.NewUnavailable("nobody listens"))
		time.Sleep(time.Hour) // of the bubble's clock
		if last.Err() != nil {
			t.Fatal("it ended although Temporal had said nothing")
		}
		away = false
		time.Sleep(handover - time.Second)
		if last.Err() != nil {
			t.Fatal("it ended before another attempt could take it over")
		}
		time.Sleep(time.Second + 2*heartbeatEvery)
		if last.Err() == nil {
			t.Fatal("it goes on although Temporal has answered for long")
		}
	})
}

func TestWhatTemporalSaysEndsAtOnce(t *testing.T) {
	for name, cause := range map[string]error{
		"cancelled": temporal.NewCanceledError(), "given up": serviceerror.NewNotFound("activity"), "the worker stops": context.Canceled,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, end := context.WithCancelCause(t.Context())
				last, cancel := lasting(ctx, func(context.Context) error { return errors.New("nobody asks") })
				defer cancel()
				end(cause)
				synctest.Wait()
				if last.Err() == nil {
					t.Error("it goes on")
				}
			})
		})
	}
}
