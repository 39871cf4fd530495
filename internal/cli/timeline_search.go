package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/smartdr/smartdr/internal/api"
	"github.com/smartdr/smartdr/internal/cli/render"
)

const searchLong = `Find the last moment at which a query returned rows, as before somebody deleted them.

A snapshot from before the range is restored into a folder of its own on a host of the region, replayed to moments all over
the range, and the query is run at each, read-only. Where rows went away, it looks closer, commit by commit at the end. The folder is
removed afterwards. What serves is not touched.

Rows that came and went again between two moments that were looked at are not seen: give a narrower range. A table or database that is not
there counts as no rows. The query is one SELECT; do not put secrets into it, since it is kept in the history of Temporal.`

const searchExample = `  smartdr timeline search --group prod --database app --query "select from users where id = 7"
  smartdr timeline search --group prod --database app --query "select from orders limit 1" --from 2026-11-23T09:00:00Z --to 2026-11-23T10:00:00Z`

func (a *app) timelineSearchCommand() *cobra.Command {
	var req api.SearchRequest
	cmd := &cobra.Command{
		Use: "search", Short: "Find the last moment at which a query returned rows", Args: cobra.NoArgs, Long: searchLong, Example: searchExample,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if req.Database == "" || req.Query == "" {
				return usage(cmd, "name the database with --database, and what to look for with --query")
			}
			return a.changes(cmd, req.Group, func(ctx context.Context, s *api.Service) error {
				found, err := s.Search(ctx, req)
				if err != nil {
					return err
				}
				return a.show(found, func(style render.Style) string { return render.Search(found, req.Group, style) })
			})
		},
	}
	a.groupFlag(cmd, &req.Group)
	f := cmd.Flags()
	f.StringVar(&req.Workspace, "workspace", "", "workspace that has the database (may be left out when the group has one)")
	f.StringVar(&req.Database, "database", "", "database in which the query runs")
	f.StringVar(&req.Query, "query", "", "one SELECT")
	f.StringVar(&req.Region, "region", "", "whose bucket and hosts (default: the region that serves)")
	f.StringVar(&req.From, "from", "", "first moment, as 2026-11-23T09:00:00Z (default: the first that can be restored)")
	f.StringVar(&req.To, "to", "", "last moment (default: the newest)")
	_ = cmd.RegisterFlagCompletionFunc("workspace", a.completeWorkspaces(&req.Group))
	a.completeRegionFlags(cmd, "region")
	return cmd
}
