package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/smartdr/smartdr/internal/api"
	"github.com/smartdr/smartdr/internal/cli/render"
)

const costLong = `Show what a group's object storage costs, by region.

What lies in the buckets is listed now. Requests and bytes are those that the workers have counted this month, each
attempt, and added to their accounts in the buckets every five minutes; a worker that is killed loses the counts of
that time. Requests of this command line are not among them. What leaves a region is counted apart, since it is
paid for.

Prices are Amazon S3's of 2025 in US East (N. Virginia) unless regions.<name>.prices in smartdr.yaml says otherwise.
PROJECTED is the whole month at the present size and at the rate seen so far.`

const costExample = `  smartdr cost
  smartdr cost prod
  smartdr cost prod -o json | jq '.regions[] | {region, projected}'`

func (a *app) costCommand() *cobra.Command {
	var group string
	cmd := &cobra.Command{
		Use: "cost [GROUP]", Short: "Show what a group's object storage costs", Args: cobra.MaximumNArgs(1),
		Long: costLong, Example: costExample, ValidArgsFunction: a.completeGroups,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				group = args[0]
			}
			return a.readGroup(cmd, group, func(ctx context.Context, s *api.Service, name string) error {
				c, err := s.Cost(ctx, name)
				if err != nil {
					return err
				}
				return a.show(c, func(style render.Style) string { return render.Cost(c, style) })
			})
		},
	}
	a.groupFlag(cmd, &group)
	return cmd
}
