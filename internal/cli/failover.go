package cli

import (
	"context"
	"slices"

	"github.com/spf13/cobra"

	"github.com/smartdr/smartdr/internal/api"
	"github.com/smartdr/smartdr/internal/cli/render"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
)

const failoverLong = `Serve a group from its other region, from what the bucket there holds. It needs a worker in that region, and nothing of
the region that is left.

What would be brought back and what would be lost is shown first; typing the group's name (or --yes) agrees to it.
Commits that the lost region acknowledged after the recovery point are not there afterwards.

While the serving region still seems alive, a failover would lose what a moment later would have arrived, and leave two
sides that take writes: it is refused without --force. SmartDR cannot stop a server that it cannot reach.

Workspaces are restored side by side on the hosts that have room, and each one serves as soon as it is ready. One that cannot be
brought up does not keep the others down: the command then ends with exit code 8 and says which and why. When that was put
right, --resume goes on with the same failover for what does not serve, to the same recovery point.

Interrupting this command does not stop the failover: it goes on, and ` + "`smartdr operations`" + ` shows it.`

const failoverExample = `  smartdr failover --group prod --dry-run        # what would be lost now?
  smartdr failover --group prod                  # asks
  smartdr failover --group prod --yes -o json    # for scripts: prints the operation when it has ended
  smartdr failover --group prod --yes --wait=false
  smartdr failover --group prod --resume         # for workspaces that did not come up`

// failoverFlags is what was asked for besides the request.
type failoverFlags struct{ yes, wait, dryRun bool }

// FailoverReport is what `smartdr failover -o json` prints.
type FailoverReport struct {
	Preview   api.FailoverPreview `json:"preview,omitzero"` // not with --resume
	Started   *api.Started        `json:"started,omitempty"`
	Operation *topology.Operation `json:"operation,omitempty"` // with --wait
}

func (a *app) failoverCommand() *cobra.Command {
	var req api.FailoverRequest
	var flags failoverFlags
	cmd := &cobra.Command{
		Use: "failover", Short: "Serve a group from its other region", Args: cobra.NoArgs,
		Long: failoverLong, Example: failoverExample,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := needGroup(cmd, req.Group); err != nil {
				return err
			}
			ctx, cancel := a.waiting(cmd.Context())
			defer cancel()
			return a.failover(ctx, req, flags)
		},
	}
	a.groupFlag(cmd, &req.Group)
	f := cmd.Flags()
	f.StringVar(&req.To, "to", "", "region to serve from (default: the one that does not serve now)")
	f.BoolVar(&req.Force, "force", false, "even if the serving region still seems alive, or without workspaces that cannot be brought back")
	f.BoolVar(&req.Resume, "resume", false, "go on with the last failover for the workspaces that do not serve")
	f.BoolVarP(&flags.yes, "yes", "y", false, "do not ask")
	f.BoolVar(&flags.wait, "wait", true, "wait until it has ended, and show its phases")
	f.BoolVar(&flags.dryRun, "dry-run", false, "only show what would be brought back and lost")
	a.completeRegionFlags(cmd, "to")
	cmd.MarkFlagsMutuallyExclusive("resume", "force")
	cmd.MarkFlagsMutuallyExclusive("resume", "dry-run")
	return cmd
}

func (a *app) failover(ctx context.Context, req api.FailoverRequest, flags failoverFlags) error {
	s, err := a.service()
	if err != nil {
		return err
	}
	if req.Resume { // nothing is lost by it that is not lost already: there is nothing to agree to
		return a.startFailover(ctx, s, req, api.FailoverPreview{}, flags.wait)
	}
	p, err := s.PreviewFailover(ctx, req)
	if err != nil {
		return err
	}
	if flags.dryRun {
		return a.show(p, func(st render.Style) string { return render.Preview(p, a.now(), st) })
	}
	if err := p.Refusal(req.Force); err != nil {
		return err
	}
	if !flags.yes {
		if err := a.consents("fail over", render.Preview(p, a.now(), render.Style{}), "group", p.Group); err != nil {
			return err
		}
	}
	return a.startFailover(ctx, s, req, p, flags.wait)
}

func (a *app) startFailover(ctx context.Context, s *api.Service, req api.FailoverRequest, p api.FailoverPreview, wait bool) error {
	started, err := s.StartFailover(ctx, req)
	if err != nil {
		return err
	}
	begun := "has begun"
	if req.Resume {
		begun = "goes on"
	}
	a.advise("Failover %s %s", started.Operation, begun)
	if !wait {
		return a.show(FailoverReport{Preview: p, Started: &started}, func(render.Style) string { return started.Operation + "\n" })
	}
	return a.awaitFailover(ctx, s, p, started)
}

func (a *app) awaitFailover(ctx context.Context, s *api.Service, p api.FailoverPreview, started api.Started) error {
	op, err := a.follow(ctx, s.WatchOperation(ctx, started))
	if err != nil {
		if ctx.Err() != nil {
			a.advise("The failover goes on. See: smartdr operations --group %s %s", started.Group, started.Operation)
		}
		return err
	}
	report := FailoverReport{Preview: p, Started: &started, Operation: &op}
	shown := op
	shown.Error, shown.Hint = "", "" // the command's own error says it
	err = a.show(report, func(st render.Style) string { return "\n" + render.Operation(shown, a.now(), st) })
	if err != nil {
		return err
	}
	if op.State == topology.OperationFailed {
		class := api.Failed
		if slices.ContainsFunc(op.Workspaces, func(w topology.Recovered) bool { return w.Serves }) {
			class = api.Partly
		}
		return api.As(class, fault.Newf(fault.Invalid, "failover", "%s", op.Error).WithHint("%s", op.Hint))
	}
	which := ""
	if len(op.Workspaces) > 1 {
		which = " --workspace NAME"
	}
	a.advise("\nConnect: smartdr connect --group %s%s", op.Group, which)
	return nil
}
