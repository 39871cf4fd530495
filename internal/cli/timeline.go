package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/smartdr/smartdr/internal/api"
	"github.com/smartdr/smartdr/internal/cli/render"
)

const timelineLong = `Show what can be restored of a group, from each region's bucket.

A window is a stretch of a lineage of which every moment, LSN and transaction can be restored. It begins with a
snapshot, or where its lineage went on from another one. A gap is what cannot be restored although something lies behind
it, with the reason. GOES ON says what is still written to: the workspace that serves, a system-managed database, a branch.

It is found from the buckets alone, also when Temporal is down or a bucket does not answer. Times are the primary's.`

const timelineExample = `  smartdr timeline
  smartdr timeline --group prod --workspace orders --region west
  smartdr timeline --group prod --restore-points
  smartdr timeline --group prod -o json | jq '.timelines[].windows[] | {region, fromTime, toTime}'`

func (a *app) timelineCommand() *cobra.Command {
	var in api.TimelineInput
	cmd := &cobra.Command{
		Use: "timeline", Short: "Show what can be restored, and the gaps there are", Args: cobra.NoArgs,
		Long: timelineLong, Example: timelineExample,
	}
	cmd.RunE = readsGroup(a, &in.Group, func(s *api.Service, ctx context.Context, group string) (api.Timelines, error) {
		in.Group = group
		return s.Timeline(ctx, in)
	}, func(t api.Timelines, style render.Style) string { return render.Timelines(t, style) })
	a.groupFlag(cmd, &in.Group)
	f := cmd.Flags()
	f.StringVar(&in.Workspace, "workspace", "", "show this workspace alone")
	f.StringVar(&in.Region, "region", "", "show what this region's bucket has alone")
	f.BoolVar(&in.RestorePoints, "restore-points", false, "list the restore points that somebody named, which reads all WAL")
	_ = cmd.RegisterFlagCompletionFunc("workspace", a.completeWorkspaces(&in.Group))
	a.completeRegionFlags(cmd, "region")
	cmd.AddCommand(a.timelineSearchCommand())
	return cmd
}
