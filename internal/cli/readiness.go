package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/smartdr/smartdr/internal/api"
	"github.com/smartdr/smartdr/internal/cli/render"
	"github.com/smartdr/smartdr/internal/topology"
)

const readinessLong = `Check whether a failover would work now.

  ok        as it should be
  warning   a failover works, with something to know or to do
  blocking  a failover would fail, or lose what it should not

Everything is looked at anew, with this process's keys to the buckets: snapshots, the unbroken WAL, lag, slots, hosts
of the other region and what is installed there, keys, clocks, Temporal, and when a restore was last really tried.
What cannot be looked at is a warning and not left out. Workers make the same check every five minutes, and try
from the other region whether they may write; smartdr status shows its result.

--drift lists what would differ between the servers after a failover.
The exit code is 0 for ok and warnings, and 7 when something is blocking.`

const readinessExample = `  smartdr readiness
  smartdr readiness prod
  smartdr readiness prod --drift
  smartdr readiness -o json | jq '.items[] | select(.state != "ok")'`

func (a *app) readinessCommand() *cobra.Command {
	var group string
	var drift bool
	cmd := &cobra.Command{
		Use: "readiness [GROUP]", Short: "Check whether a failover would work now", Args: cobra.MaximumNArgs(1),
		Long: readinessLong, Example: readinessExample, ValidArgsFunction: a.completeGroups,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				group = args[0]
			}
			return a.readGroup(cmd, group, func(ctx context.Context, s *api.Service, name string) error {
				r, err := s.Readiness(ctx, name)
				if err != nil {
					return err
				}
				return a.showReadiness(r, drift)
			})
		},
	}
	a.groupFlag(cmd, &group)
	cmd.Flags().BoolVar(&drift, "drift", false, "show what would differ between the servers after a failover")
	return cmd
}

func (a *app) showReadiness(r topology.Readiness, drift bool) error {
	err := a.show(r, func(style render.Style) string {
		if drift {
			return render.Drift(r, style)
		}
		return render.Readiness(r, style)
	})
	if err == nil && r.State == topology.ReadinessBlocking && !drift {
		return exited(exitBlocked)
	}
	return err
}

// readinessLine is what the workers' last check found, for the status; nothing when there was none, or when it cannot be
// read: the status itself is what was asked for.
func (a *app) readinessLine(ctx context.Context, s *api.Service, group string, style render.Style) string {
	r, err := s.LastReadiness(ctx, group)
	if err != nil {
		return ""
	}
	return "\n" + render.ReadinessLine(r, a.now(), style)
}
