package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/smartdr/smartdr/internal/api"
	"github.com/smartdr/smartdr/internal/cli/render"
	"github.com/smartdr/smartdr/internal/topology"
)

const switchoverLong = `Move a group to its other region while both are there, without losing anything.

Servers are made there and follow while the others serve; what an older server of the workspace left on that host is used again where
its content is still what is wanted. When they are less than a second behind, the clients are disconnected and the servers that served
are fenced, the rest is shipped, and the new ones take over. The time in which nobody can write is measured and shown. When it would
become longer than --max-gap, everything goes back to where it was, nothing is lost, and the command ends with exit code 9.

What would happen is shown first; typing the group's name (or --yes) agrees to it. Interrupting this command does not stop the
switchover: it goes on, and ` + "`smartdr operations`" + ` shows it; ` + "`smartdr cancel`" + ` stops it until its point of no return.`

const switchoverExample = `  smartdr switchover --group prod                    # asks
  smartdr switchover --group prod --preview          # what would happen?
  smartdr switchover --group prod --max-gap 10s --yes
  smartdr switchover --group prod --yes --wait=false -o json`

const failbackLong = `Bring a group home to its primary region without losing anything, and take down what served it elsewhere.

It is a switchover to the primary region: what the old primary left there is used again where its content is still what is wanted,
and a full copy is made where nothing is left. Users, permissions, settings and all else that was changed in the other region comes along.
At the end the primary region serves, the servers in the other region are removed and their addresses refuse connections, and replication
runs in the first direction again.

What the old primary wrote last, and nobody has, is brought home before anything of it is touched. Where that cannot be, because its server and
its bucket are gone for good, --force goes on without it.`

const failbackExample = `  smartdr failback --group prod            # asks
  smartdr failback --group prod --preview  # what would happen?
  smartdr failback --group prod --max-gap 10s --yes`

// switchoverFlags is what was asked for besides the request.
type switchoverFlags struct{ yes, wait, preview bool }

// SwitchoverReport is what `smartdr switchover -o json` and `smartdr failback -o json` print.
type SwitchoverReport struct {
	Preview   api.SwitchoverPreview `json:"preview"`
	Started   *api.Started          `json:"started,omitempty"`
	Operation *topology.Operation   `json:"operation,omitempty"` // with --wait
}

func (a *app) switchoverCommand() *cobra.Command {
	req := &api.SwitchoverRequest{}
	cmd := a.moveCommand(req, &cobra.Command{
		Use: "switchover [GROUP]", Short: "Move a group to its other region without losing anything",
		Long: switchoverLong, Example: switchoverExample,
	})
	cmd.Flags().StringVar(&req.To, "to", "", "region to serve from (default: the one that does not serve now)")
	a.completeRegionFlags(cmd, "to")
	return cmd
}

func (a *app) failbackCommand() *cobra.Command {
	return a.moveCommand(&api.SwitchoverRequest{Home: true}, &cobra.Command{
		Use: "failback [GROUP]", Short: "Bring a group home to its primary region without losing anything",
		Long: failbackLong, Example: failbackExample,
	})
}

// moveCommand is what switchover and failback have in common.
func (a *app) moveCommand(req *api.SwitchoverRequest, cmd *cobra.Command) *cobra.Command {
	var flags switchoverFlags
	cmd.Args, cmd.ValidArgsFunction = cobra.MaximumNArgs(1), a.completeGroups
	a.groupFlag(cmd, &req.Group)
	f := cmd.Flags()
	f.StringVar(&req.MaxGap, "max-gap", "", "longest time without a writer; when it has passed everything goes back (default 30s)")
	f.BoolVar(&req.Force, "force", false, "although what an old server there wrote last was not brought home, since it is gone for good")
	f.BoolVarP(&flags.yes, "yes", "y", false, "do not ask")
	f.BoolVar(&flags.wait, "wait", true, "wait until it has ended, and show its phases")
	f.BoolVar(&flags.preview, "preview", false, "only show what would happen")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		asked := *req
		if len(args) == 1 {
			asked.Group = args[0]
		}
		return a.changes(cmd, asked.Group, func(ctx context.Context, s *api.Service) error { return a.move(ctx, s, asked, flags) })
	}
	return cmd
}

func (a *app) move(ctx context.Context, s *api.Service, req api.SwitchoverRequest, flags switchoverFlags) error {
	p, err := s.PreviewSwitchover(ctx, req)
	if err != nil {
		return err
	}
	if flags.preview {
		return a.show(p, func(st render.Style) string { return render.Switchover(p, a.now(), st) })
	}
	if !flags.yes {
		doing := "switch over"
		if req.Home {
			doing = "fail back"
		}
		if err := a.consents(doing, render.Switchover(p, a.now(), render.Style{}), "group", p.Group); err != nil {
			return err
		}
	}
	started, err := s.StartSwitchover(ctx, req)
	if err != nil {
		return err
	}
	begun := "has begun"
	if p.GoesOn != "" {
		begun = "goes on"
	}
	a.advise("%s %s %s", p.Kind, started.Operation, begun)
	report := SwitchoverReport{Preview: p, Started: &started}
	if !flags.wait {
		return a.show(report, func(render.Style) string { return started.Operation + "\n" })
	}
	op, err := a.awaitOperation(ctx, s, started, func(op *topology.Operation) any { report.Operation = op; return report })
	if err == nil {
		a.adviseConnect(op)
	}
	return err
}
