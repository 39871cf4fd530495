package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/smartdr/smartdr/internal/api"
	"github.com/smartdr/smartdr/internal/cli/render"
)

func (a *app) regionsCommand() *cobra.Command {
	return &cobra.Command{
		Use: "regions", Short: "List the configured regions and whether their buckets and workers answer", Args: cobra.NoArgs,
		Example: "  smartdr regions\n  smartdr regions -o json | jq -r '.[] | select(.reachable) | .name'",
		RunE: reads(a, func(s *api.Service, ctx context.Context) ([]api.Region, error) {
			return s.Regions(ctx), nil
		}, render.Regions),
	}
}

const hostsLong = `List the hosts that workers have announced, with what they have and what is placed on them.

MEMORY and CPUS are what is promised to the servers there, of what the host has. A host announces itself once a minute; one
that is silent for three gets no server.`

func (a *app) hostsCommand() *cobra.Command {
	var region string
	cmd := &cobra.Command{
		Use: "hosts", Short: "List the hosts that servers can be placed on, and what they have left", Args: cobra.NoArgs, Long: hostsLong,
		Example: "  smartdr hosts\n  smartdr hosts --region west\n  smartdr hosts -o json | jq -r '.hosts[] | select(.fresh) | .name'",
		RunE: reads(a, func(s *api.Service, ctx context.Context) (api.Hosts, error) {
			return s.Hosts(ctx, region)
		}, func(h api.Hosts, st render.Style) string { return render.Hosts(h, a.now(), st) }),
	}
	cmd.Flags().StringVar(&region, "region", "", "only those of this region")
	a.completeRegionFlags(cmd, "region")
	return cmd
}
