package cli

import (
	"cmp"
	"context"

	"github.com/spf13/cobra"

	"github.com/smartdr/smartdr/internal/api"
	"github.com/smartdr/smartdr/internal/cli/render"
	"github.com/smartdr/smartdr/internal/topology"
)

const failoverLong = `Serve a group from its other region, from what the bucket there holds. It needs a worker in that region, and nothing of
the region that is left.

What would be brought back and what would be lost is shown first; typing the group's name (or --yes) agrees to it.
Commits that the lost region acknowledged after the recovery point are not there afterwards.

While the serving region still seems alive, a failover would lose what a moment later would have arrived, and leave two
sides that take writes: it is refused without --force. SmartDR cannot stop a server that it cannot reach.

--to-time and --to-lsn go to an earlier point: no transaction comes back that committed after the time, and no record that ends
after the LSN. What lies behind the point stays in the bucket. --max-data-loss refuses a failover that would lose more: the known
loss counts, and while nothing is heard of the serving region everything since the bucket was last complete, unless --force says
to go by what is known. With --preview nothing is changed, and the exit code is 7 when the failover would be refused; that the region
still seems alive does not count.

Workspaces are restored side by side on the hosts that have room, and each one serves as soon as it is ready. One that cannot be
brought up does not keep the others down: the command then ends with exit code 8 and says which and why. When that was put
right, --resume goes on with the same failover for what does not serve, to the same recovery point.

Interrupting this command does not stop the failover: it goes on, and ` + "`smartdr operations`" + ` shows it. ` + "`smartdr cancel`" + ` stops it,
until it has claimed the epoch.`

const failoverExample = `  smartdr failover prod --preview                # what would be lost now, and how long would it take?
  smartdr failover prod --to-time 2026-11-23T10:00:00Z   # before somebody dropped the table
  smartdr failover prod --max-data-loss 30s      # refuse to lose more
  smartdr failover --group prod                  # asks
  smartdr failover --group prod --yes -o json    # for scripts: prints the operation when it has ended
  smartdr failover --group prod --yes --wait=false
  smartdr failover --group prod --resume         # for workspaces that did not come up`

// failoverFlags is what was asked for besides the request.
type failoverFlags struct {
	yes, wait, preview bool
	toTime, toLSN      string
}

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
		Use: "failover [GROUP]", Short: "Serve a group from its other region", Args: cobra.MaximumNArgs(1), ValidArgsFunction: a.completeGroups,
		Long: failoverLong, Example: failoverExample,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				req.Group = args[0]
			}
			if err := needGroup(cmd, req.Group); err != nil {
				return err
			}
			req.Point = cmp.Or(req.Point, flags.toTime, flags.toLSN)
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
	f.BoolVar(&flags.preview, "preview", false, "only show what would be brought back and lost, and how long it would take")
	f.BoolVar(&flags.preview, "dry-run", false, "the same as --preview")
	a.pointFlags(cmd, &req, &flags)
	a.completeRegionFlags(cmd, "to")
	for _, other := range []string{"force", "preview", "dry-run", "to-time", "to-lsn", "point", "max-data-loss"} {
		cmd.MarkFlagsMutuallyExclusive("resume", other)
	}
	return cmd
}

// pointFlags say how far to go, and how much may be lost.
func (a *app) pointFlags(cmd *cobra.Command, req *api.FailoverRequest, flags *failoverFlags) {
	f := cmd.Flags()
	f.StringVar(&flags.toTime, "to-time", "", "last moment that is wanted, as 2026-11-23T10:00:00Z (default: the latest recovery point)")
	f.StringVar(&flags.toLSN, "to-lsn", "", "last WAL position that is wanted, as 0/3000148, or main=0/3000148,side=1/0")
	f.StringVar(&req.Point, "point", "", `"latest", a time or an LSN`)
	f.StringVar(&req.MaxDataLoss, "max-data-loss", "", "refuse when more would be lost, as 30s, 16MB or 0")
	cmd.MarkFlagsMutuallyExclusive("to-time", "to-lsn", "point")
}

func (a *app) failover(ctx context.Context, req api.FailoverRequest, flags failoverFlags) error {
	s, err := a.service()
	if err != nil {
		return err
	}
	if req.Resume { // nothing is lost by it that is not lost already: there is nothing to agree to
		return a.startFailover(ctx, s, req, api.FailoverPreview{}, flags.wait)
	}
	if flags.preview {
		p, err := s.ForecastFailover(ctx, req)
		if err != nil {
			return err
		}
		err = a.show(p, func(st render.Style) string { return render.Forecast(p, a.now(), st) })
		if err == nil && p.Blocked(req.Force) {
			return exited(exitBlocked)
		}
		return err
	}
	p, err := s.PreviewFailover(ctx, req)
	if err != nil {
		return err
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
	op, err := a.awaitOperation(ctx, s, started, func(op *topology.Operation) any {
		return FailoverReport{Preview: p, Started: &started, Operation: op}
	})
	if err == nil {
		a.adviseConnect(op)
	}
	return err
}
