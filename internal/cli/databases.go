package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/smartdr/smartdr/internal/api"
	"github.com/smartdr/smartdr/internal/cli/render"
)

const databasesLong = `List a group's databases: how far each is replicated, and which are left out and why. A database that is left out is not
stored in the other region, and is absent after a failover.

After a failover there is a second one beside each database that served: app_20261122T221000Z is the continuation of app in the region
that was lost. It is system-managed: attached to nothing, it goes on receiving what its server wrote and had not been replicated.
"smartdr missing-rows" lists what it has and the one that serves lacks, and merges it; to see into it, make a branch of it. Branches are
listed too.

Names are as in "app", for every workspace that has a database of that name, or "main/app" for the one of workspace main.`

func (a *app) databasesCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "databases", Short: "List a group's databases, and choose which are replicated", Args: cobra.NoArgs, Long: databasesLong,
		Example: "  smartdr databases --group prod\n  smartdr databases add --group prod billing\n  smartdr databases -o json | jq -r '.[] | select(.replicated) | .name'",
	}
	a.listsDatabases(cmd)
	cmd.AddCommand(
		a.listsDatabases(&cobra.Command{
			Use: "list", Short: "List a group's databases and whether they are replicated", Args: cobra.NoArgs,
			Example: "  smartdr databases list --group prod",
		}),
		a.databasesChangeCommand(&cobra.Command{
			Use: "add DATABASE ...", Short: "Replicate these databases too, while replication runs", Args: cobra.MinimumNArgs(1),
			Example: "  smartdr databases add --group prod billing\n  smartdr databases add --group prod main/audit reports/audit",
		}, func(req *api.DatabasesChange, names []string) { req.Add = names }),
		a.databasesChangeCommand(&cobra.Command{
			Use: "remove DATABASE ...", Short: "Replicate these databases no longer", Args: cobra.MinimumNArgs(1),
			Example: "  smartdr databases remove --group prod scratch",
		}, func(req *api.DatabasesChange, names []string) { req.Remove = names }),
		a.databasesChangeCommand(&cobra.Command{
			Use: "all", Short: "Replicate all databases, present and future", Args: cobra.NoArgs,
			Example: "  smartdr databases all --group prod",
		}, func(req *api.DatabasesChange, _ []string) { req.All = true }),
	)
	return cmd
}

// listsDatabases makes cmd list a group's databases.
func (a *app) listsDatabases(cmd *cobra.Command) *cobra.Command {
	var group, workspace string
	a.groupFlag(cmd, &group)
	cmd.Flags().StringVar(&workspace, "workspace", "", "only those of this workspace")
	_ = cmd.RegisterFlagCompletionFunc("workspace", a.completeWorkspaces(&group))
	list := func(s *api.Service, ctx context.Context, group string) ([]api.Database, error) {
		return s.DatabasesOf(ctx, group, workspace)
	}
	cmd.RunE = readsGroup(a, &group, list, render.Databases)
	return cmd
}

// databasesChangeCommand makes cmd ask for other databases than now; ask puts its arguments into the request.
func (a *app) databasesChangeCommand(cmd *cobra.Command, ask func(req *api.DatabasesChange, names []string)) *cobra.Command {
	var req api.DatabasesChange
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		ask(&req, args)
		return a.changes(cmd, req.Group, func(ctx context.Context, s *api.Service) error {
			done, err := s.ChangeDatabases(ctx, req)
			return a.changedGroup(done, err, "the databases of group %s are chosen; smartdr databases --group %s shows how far they are", req.Group, req.Group)
		})
	}
	a.groupFlag(cmd, &req.Group)
	cmd.ValidArgsFunction = a.completeDatabases(&req.Group)
	return cmd
}
