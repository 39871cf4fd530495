package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/smartdr/smartdr/internal/api"
	"github.com/smartdr/smartdr/internal/cli/render"
)

const preprovisionLong = `Keep servers of a group in the region that does not serve: each follows what its bucket receives, takes no clients, and is promoted
by the next failover or switchover, which then takes seconds, however large the databases are.

Without them nothing runs there, and a failover first has to bring the files. They cost what servers cost: what they take of the hosts there,
and where smartdr.yaml has prices for servers, what that is in a month, is shown before they are started.`

func (a *app) preprovisionCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "preprovision", Short: "Keep servers following in the region that does not serve, for a failover in seconds", Long: preprovisionLong,
		Args: cobra.NoArgs, RunE: showHelp,
		Example: "  smartdr preprovision start --group prod\n  smartdr preprovision stop --group prod",
	}
	cmd.AddCommand(a.preprovisionVerb(false), a.preprovisionVerb(true))
	return cmd
}

func (a *app) preprovisionVerb(stop bool) *cobra.Command {
	var group string
	var yes, preview bool
	cmd := &cobra.Command{
		Use: "start [GROUP]", Short: "Start servers that follow, and keep them", Args: cobra.MaximumNArgs(1), ValidArgsFunction: a.completeGroups,
		Long:    preprovisionLong,
		Example: "  smartdr preprovision start --group prod\n  smartdr preprovision start --group prod --preview  # what would it cost?",
	}
	if stop {
		cmd.Use, cmd.Short = "stop [GROUP]", "End the servers that follow, and remove their files"
		cmd.Long, cmd.Example = "End the servers that follow, and remove their files. The next failover brings the files anew.", "  smartdr preprovision stop --group prod"
	} else {
		cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
		cmd.Flags().BoolVar(&preview, "preview", false, "only show what it takes and costs")
	}
	a.groupFlag(cmd, &group)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		req := api.PreprovisionRequest{Group: group, Stop: stop}
		if len(args) == 1 {
			req.Group = args[0]
		}
		return a.changes(cmd, req.Group, func(ctx context.Context, s *api.Service) error { return a.preprovision(ctx, s, req, yes, preview) })
	}
	return cmd
}

func (a *app) preprovision(ctx context.Context, s *api.Service, req api.PreprovisionRequest, yes, preview bool) error {
	p, err := s.PreviewPreprovision(ctx, req)
	if err != nil {
		return err
	}
	if preview {
		return a.show(p, func(st render.Style) string { return render.Preprovision(p, st) })
	}
	if !req.Stop && !yes && p.Since.IsZero() {
		if err := a.consents("keep servers there", render.Preprovision(p, render.Style{}), "group", p.Group); err != nil {
			return err
		}
	}
	done, err := s.Preprovision(ctx, req)
	if req.Stop {
		return a.changedGroup(done, err, "nothing of group %s runs in %s any more", p.Group, p.Region)
	}
	return a.changedGroup(done, err, "servers of group %s are kept following in %s"+already(done)+"; see: smartdr status --group %s", p.Group, p.Region, p.Group)
}
