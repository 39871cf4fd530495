package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/smartdr/smartdr/internal/api"
	"github.com/smartdr/smartdr/internal/cli/render"
)

const retentionLong = `What a region's bucket keeps: every moment of a window, the newest point in any case, and all that branches and system-managed
databases need, however old. Workers look through each bucket once an hour and remove the rest.

Snapshots are taken on a schedule: an interval, or a line of cron in UTC. They are what a restore begins with, so fewer of them
mean longer restores, and a window begins with the newest one before it.`

func (a *app) retentionCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "retention", Short: "Say how far back a region can be restored, and when snapshots are taken", Long: retentionLong,
		Args: cobra.NoArgs, RunE: showHelp,
		Example: "  smartdr retention show --group prod\n  smartdr retention set --group prod --region west --window 30d --snapshots \"0 3 * * *\"\n  smartdr retention run --group prod --dry-run",
	}
	cmd.AddCommand(a.retentionShow(), a.retentionSet(), a.retentionRun())
	return cmd
}

func (a *app) retentionShow() *cobra.Command {
	var group string
	cmd := &cobra.Command{
		Use: "show [GROUP]", Short: "Show what each region keeps, and what the last look through its bucket did", Args: cobra.MaximumNArgs(1),
		Example: "  smartdr retention show --group prod", ValidArgsFunction: a.completeGroups,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				group = args[0]
			}
			return a.readGroup(cmd, group, func(ctx context.Context, s *api.Service, name string) error {
				r, err := s.Retention(ctx, name)
				if err != nil {
					return err
				}
				return a.show(r, func(st render.Style) string { return render.Retention(r, st) })
			})
		},
	}
	a.groupFlag(cmd, &group)
	return cmd
}

func (a *app) retentionSet() *cobra.Command {
	var req api.RetentionChange
	var yes bool
	cmd := &cobra.Command{
		Use: "set", Short: "Change how far back a region can be restored, or when snapshots are taken", Args: cobra.NoArgs,
		Long: retentionLong + `

A shorter window gives up what lies before it: that is said first, and the group's name is asked for, unless --yes.`,
		Example: "  smartdr retention set --group prod --region west --window 7d\n  smartdr retention set --group prod --region east --snapshots 6h",
	}
	a.groupFlag(cmd, &req.Group)
	cmd.Flags().StringVar(&req.Region, "region", "", "region whose bucket is meant")
	cmd.Flags().StringVar(&req.Window, "window", "", "how far back every moment stays restorable, as 7d, 36h or 90m")
	cmd.Flags().StringVar(&req.Snapshots, "snapshots", "", `interval, as 6h, or a line of cron in UTC, as "0 3 * * *"`)
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return a.changes(cmd, req.Group, func(ctx context.Context, s *api.Service) error { return a.setRetention(ctx, s, req, yes) })
	}
	return cmd
}

func (a *app) setRetention(ctx context.Context, s *api.Service, req api.RetentionChange, yes bool) error {
	p, err := s.PreviewRetention(ctx, req)
	if err == nil && len(p.GivesUp) > 0 && !yes {
		err = a.consents("give that up", strings.Join(p.GivesUp, "\n")+"\n", "group", p.Group)
	}
	if err != nil {
		return err
	}
	done, err := s.SetRetention(ctx, req)
	if err != nil {
		return err
	}
	a.advise("The bucket of %s keeps %s of group %s.", p.Region, render.Window(int(p.After.Window().Minutes())), p.Group)
	return a.show(done, func(render.Style) string { return "" })
}

func (a *app) retentionRun() *cobra.Command {
	var req api.RetentionRun
	cmd := &cobra.Command{
		Use: "run", Short: "Remove what nothing needs now, or show what would go", Args: cobra.NoArgs,
		Long: `Look through the buckets and remove what nothing needs. This happens once an hour by itself.

Packs of a snapshot's chunks go in two rounds that are an hour apart, so that a snapshot which is being taken meanwhile loses nothing.`,
		Example: "  smartdr retention run --group prod --dry-run\n  smartdr retention run --group prod --region west",
	}
	a.groupFlag(cmd, &req.Group)
	cmd.Flags().StringVar(&req.Region, "region", "", "region whose bucket is meant (default: all of the group)")
	cmd.Flags().BoolVar(&req.DryRun, "dry-run", false, "only show what would go")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		return a.changes(cmd, req.Group, func(ctx context.Context, s *api.Service) error {
			all, err := s.RunRetention(ctx, req)
			if err != nil {
				return err
			}
			return a.show(all, func(st render.Style) string {
				var b strings.Builder
				for _, swept := range all {
					fmt.Fprintln(&b, render.Swept(swept, st))
				}
				return b.String()
			})
		})
	}
	return cmd
}
