package cli

import (
	"context"
	"slices"
	"strings"

	"github.com/smartdr/smartdr/internal/api"
	"github.com/smartdr/smartdr/internal/cli/render"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
)

// awaitOperation shows an operation's phases as they come and its account at the end. The error says what became of it, unless it did
// what was asked. report is what is printed as JSON.
func (a *app) awaitOperation(ctx context.Context, s *api.Service, started api.Started, report func(*topology.Operation) any) (topology.Operation, error) {
	op, err := a.follow(ctx, s.WatchOperation(ctx, started))
	if err != nil {
		if ctx.Err() != nil {
			a.advise("It goes on. See: smartdr operations --group %s %s", started.Group, started.Operation)
		}
		return op, err
	}
	shown := op
	shown.Error, shown.Hint = "", "" // the command's own error says it
	if err := a.show(report(&op), func(st render.Style) string { return "\n" + render.Operation(shown, a.now(), st) }); err != nil {
		return op, err
	}
	return op, outcomeOf(op)
}

// outcomeOf is why a command that ordered an operation fails; nil when that did what was asked.
func outcomeOf(op topology.Operation) error {
	class, text := api.Failed, op.Error
	switch op.State {
	case topology.OperationCompleted, topology.OperationActive:
		return nil
	case topology.OperationReverted, topology.OperationCanceled:
		class = api.Undone
		if text == "" {
			text = "it was canceled, and everything is as it was"
		}
	case topology.OperationFailed:
		if slices.ContainsFunc(op.Workspaces, func(w topology.Recovered) bool { return w.Serves }) {
			class = api.Partly
		}
	}
	return api.As(class, fault.Newf(fault.Invalid, strings.ToLower(op.Kind), "%s", text).WithHint("%s", op.Hint))
}

func (a *app) adviseConnect(op topology.Operation) {
	which := ""
	if len(op.Workspaces) > 1 {
		which = " --workspace NAME"
	}
	a.advise("\nConnect: smartdr connect --group %s%s", op.Group, which)
}
