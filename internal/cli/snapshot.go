package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/smartdr/smartdr/internal/api"
	"github.com/smartdr/smartdr/internal/cli/render"
)

func (a *app) snapshotCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "snapshot", Short: "Take a snapshot now, or list those that there are", Args: cobra.NoArgs, RunE: showHelp,
		Long: `Snapshots are what a restore begins with. They are taken on the schedule that smartdr retention shows; chunks that have not changed are
neither stored nor sent again.`,
		Example: "  smartdr snapshot take --group prod\n  smartdr snapshot list --group prod",
	}
	cmd.AddCommand(a.snapshotTake(), a.snapshotList())
	return cmd
}

func (a *app) snapshotTake() *cobra.Command {
	var req api.SnapshotsRequest
	cmd := &cobra.Command{
		Use: "take", Short: "Take a snapshot now, and wait for it", Args: cobra.NoArgs,
		Example: "  smartdr snapshot take --group prod --workspace main",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.changes(cmd, req.Group, func(ctx context.Context, s *api.Service) error {
				done, err := s.TakeSnapshot(ctx, req)
				if err != nil {
					return err
				}
				a.warn(done.Warnings)
				a.advise("The snapshot is taken. See: smartdr snapshot list --group %s", req.Group)
				return a.show(done, func(render.Style) string { return "" })
			})
		},
	}
	a.groupFlag(cmd, &req.Group)
	cmd.Flags().StringVar(&req.Workspace, "workspace", "", "workspace (default: all that serve)")
	return cmd
}

func (a *app) snapshotList() *cobra.Command {
	var req api.SnapshotsRequest
	cmd := &cobra.Command{
		Use: "list", Short: "List the snapshots in the buckets", Args: cobra.NoArgs,
		Example: "  smartdr snapshot list --group prod -o json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.readGroup(cmd, req.Group, func(ctx context.Context, s *api.Service, name string) error {
				found, err := s.Snapshots(ctx, api.SnapshotsRequest{Group: name, Workspace: req.Workspace})
				if err != nil {
					return err
				}
				a.warn(found.Notes)
				return a.show(found, func(st render.Style) string { return render.Snapshots(found, st) })
			})
		},
	}
	a.groupFlag(cmd, &req.Group)
	cmd.Flags().StringVar(&req.Workspace, "workspace", "", "workspace (default: all)")
	return cmd
}
