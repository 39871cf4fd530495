package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/smartdr/smartdr/internal/api"
	"github.com/smartdr/smartdr/internal/cli/render"
	"github.com/smartdr/smartdr/internal/fault"
)

const hooksLong = `Hooks tell DNS, a proxy or people when the state of a group changes: by a signed request to a URL, or by a command. They stand in the
workers' smartdr.yaml (docs/hooks.md).`

func (a *app) hooksCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "hooks", Short: "Try who is told when the state of a group changes", Long: hooksLong, Args: cobra.NoArgs, RunE: showHelp,
		Example: "  smartdr hooks test --group prod",
	}
	cmd.AddCommand(a.hooksTestCommand())
	return cmd
}

func (a *app) hooksTestCommand() *cobra.Command {
	var group string
	cmd := &cobra.Command{
		Use: "test [GROUP]", Short: "Send a test event to every hook of a group, and show what became of it",
		Long: "Send an event of type hook.test to every hook of a group, whatever events it wants: once, without another attempt. The workers deliver it.\nThe exit code is 1 when a hook did not take it.",
		Args: cobra.MaximumNArgs(1), ValidArgsFunction: a.completeGroups,
		Example: "  smartdr hooks test --group prod\n  smartdr hooks test prod -o json | jq '.deliveries[] | {hook, delivered, error}'",
	}
	a.groupFlag(cmd, &group)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if len(args) == 1 {
			group = args[0]
		}
		return a.changes(cmd, group, func(ctx context.Context, s *api.Service) error {
			tested, err := s.TestHooks(ctx, group)
			if err != nil {
				return err
			}
			if err := a.show(tested, func(st render.Style) string { return render.Hooks(tested, st) }); err != nil {
				return err
			}
			if n := tested.Failed(); n > 0 {
				return api.As(api.Failed, fault.Newf(fault.Transient, "test hooks", "%d of %d hooks did not take the event", n, len(tested.Deliveries)).
					WithHint("What a receiver said is in the log of the worker that delivered."))
			}
			return nil
		})
	}
	return cmd
}
