package cli

import (
	"context"
	"fmt"
	"os"
	"os/user"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/smartdr/smartdr/internal/api"
	"github.com/smartdr/smartdr/internal/cli/render"
	"github.com/smartdr/smartdr/internal/topology"
)

const cancelLong = `Stop the failover, switchover or failback of a group that is under way, and put everything back.

That works until the operation claims the epoch, its point of no return; afterwards it is refused, since only going on brings the
group up. Nothing is left of an operation that was canceled but its account: no folder, no lock, no epoch.`

const cancelExample = `  smartdr cancel prod
  smartdr cancel --group prod 0198c9f2-7c1e-7d3f-a3c4-6a52e1b8a001   # only if it is that one`

func (a *app) cancelCommand() *cobra.Command {
	var req api.CancelRequest
	cmd := &cobra.Command{
		Use: "cancel [GROUP] [OPERATION]", Short: "Stop an operation before its point of no return", Args: cobra.MaximumNArgs(2),
		Long: cancelLong, Example: cancelExample, ValidArgsFunction: a.completeGroups,
		RunE: func(cmd *cobra.Command, args []string) error {
			asked, err := named(cmd, req, args)
			if err != nil {
				return err
			}
			ctx, cancel := a.waiting(cmd.Context())
			defer cancel()
			return a.cancel(ctx, asked)
		},
	}
	a.groupFlag(cmd, &req.Group)
	return cmd
}

// named puts the arguments where they belong: GROUP, OPERATION, or both. An operation's id is a UUID, which no group is called.
func named(cmd *cobra.Command, req api.CancelRequest, args []string) (api.CancelRequest, error) {
	if n := len(args); n > 0 && uuid.Validate(args[n-1]) == nil {
		req.Operation, args = args[n-1], args[:n-1]
	}
	switch {
	case len(args) == 2:
		return req, usage(cmd, "%q is no id of an operation: `smartdr operations --group %s` lists them", args[1], args[0])
	case len(args) == 1 && cmd.Flags().Changed("group") && args[0] != req.Group:
		return req, twoGroups(cmd, req.Group, args[0])
	case len(args) == 1:
		req.Group = args[0]
	}
	return req, needGroup(cmd, req.Group)
}

func (a *app) cancel(ctx context.Context, req api.CancelRequest) error {
	s, err := a.service()
	if err != nil {
		return err
	}
	req.By = who()
	op, started, err := s.Cancel(ctx, req)
	if err != nil {
		return err
	}
	a.advise("%s %s is being put back", op.Kind, op.ID)
	for now, err := range s.WatchOperation(ctx, started) {
		if err != nil && now.ID == "" {
			break // it ended before it had an account to keep
		}
		op = now
	}
	if op.State == topology.OperationActive {
		op.State = topology.OperationCanceled
	}
	return a.show(op, func(render.Style) string { return fmt.Sprintf("%s %s of %s: %s\n", op.Kind, op.ID, op.Group, op.State) })
}

// who names the person at the keyboard, for the account.
func who() string {
	name := "somebody"
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	if host, err := os.Hostname(); err == nil {
		name += " on " + host
	}
	return name
}
