package activities

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"go.temporal.io/sdk/temporal"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/ship"
)

func TestJudge(t *testing.T) {
	for _, c := range []struct {
		err   error
		kind  string
		final bool
	}{
		{errors.New("connection refused"), "Transient", false},
		{fault.Newf(fault.Transient, "get", "slow"), "Transient", false},
		{fault.Newf(fault.Conflict, "put", "lost"), "Conflict", false},
		{fault.Newf(fault.Full, "write", "no space"), "Full", false},
		{fault.Newf(fault.Fenced, "check", "epoch 2"), "Fenced", true},
		{fault.Newf(fault.Diverged, "put", "other bytes"), "Diverged", true},
		{fault.Newf(fault.Corrupt, "get", "other digest"), "Corrupt", true},
		{fault.Newf(fault.Missing, "get", "no such key"), "Missing", true},
		{fmt.Errorf("ship: %w", fault.Newf(fault.Invalid, "connect", "wrong password").WithHint("put it right")), "Invalid", true},
		{fmt.Errorf("ship: %w", &ship.Hole{Err: errors.New("WAL was removed")}), "Hole", true},
	} {
		var app *temporal.ApplicationError
		if !errors.As(judge(t.Context(), c.err), &app) || app.Type() != c.kind || app.NonRetryable() != c.final {
			t.Errorf("%v is judged %+v, want %s, final %v", c.err, app, c.kind, c.final)
			continue
		}
		var hint string
		if app.HasDetails() {
			_ = app.Details(&hint)
		}
		if hint != fault.HintOf(c.err) {
			t.Errorf("%v: hint %q", c.err, hint)
		}
	}
}

func TestJudgeCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := judge(ctx, fault.New(fault.Invalid, "connect", ctx.Err())); !temporal.IsCanceledError(err) {
		t.Errorf("judged %v", err)
	}
	if err := judge(ctx, nil); err != nil {
		t.Errorf("judged %v", err)
	}
}
