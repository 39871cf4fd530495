package cli

import (
	"context"
	"slices"

	"github.com/spf13/cobra"

	"github.com/smartdr/smartdr/internal/api"
	"github.com/smartdr/smartdr/internal/cli/render"
)

func (a *app) workspaceCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "workspace", Short: "Create, list, change, suspend and terminate the workspaces of a group", Args: cobra.NoArgs, RunE: showHelp,
		Example: "  smartdr workspace list --group prod\n  smartdr workspace create --group prod --name reports --size S-1\n  smartdr workspace change reports --group prod --set work_mem=64MB",
	}
	on := subject{a, "workspace"}
	cmd.AddCommand(a.workspaceListCommand(), a.workspaceShowCommand(), a.workspaceCreateCommand(), a.workspaceChangeCommand(),
		on.suspendCommand(), on.resumeCommand(), on.terminateCommand())
	return cmd
}

func (a *app) workspaceListCommand() *cobra.Command {
	var group string
	var all bool
	cmd := &cobra.Command{
		Use: "list", Short: "List a group's workspaces", Args: cobra.NoArgs,
		Example: "  smartdr workspace list --group prod\n  smartdr workspace list -o json | jq -r '.[] | select(.state == \"active\") | .name'",
		RunE: readsGroup(a, &group, func(s *api.Service, ctx context.Context, name string) ([]api.Workspace, error) {
			found, err := s.Workspaces(ctx, name)
			return slices.DeleteFunc(found, func(w api.Workspace) bool { return !all && w.Over() }), err
		}, render.Workspaces),
	}
	a.groupFlag(cmd, &group)
	cmd.Flags().BoolVar(&all, "all", false, "also those that are terminated")
	return cmd
}

func (a *app) workspaceShowCommand() *cobra.Command {
	var group, name string
	cmd := &cobra.Command{
		Use: "show WORKSPACE", Short: "Show a workspace with its settings and access rules", Args: cobra.ExactArgs(1),
		Example:           "  smartdr workspace show reports --group prod\n  smartdr workspace show reports -o json | jq .settings",
		ValidArgsFunction: a.completeWorkspaces(&group),
	}
	show := readsGroup(a, &group, func(s *api.Service, ctx context.Context, group string) (api.Workspace, error) {
		return s.Workspace(ctx, group, name)
	}, render.Workspace)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		name = args[0]
		return show(cmd, args)
	}
	a.groupFlag(cmd, &group)
	return cmd
}

const workspaceCreateLong = `Add a workspace to a group. With --connection a server that is there already is adopted; without, SmartDR makes one on a
host of the region that serves, runs it and starts it again when it dies.

A managed server has a role admin, whose password is in a file on its host: "smartdr connect" says where.

Sizes: S-00 (1 GiB, half a CPU), S-0, S-1, S-2, S-4, S-6, S-8, S-12, S-16, or memory and CPUs, as 6GiB/2. The size sets
shared_buffers and what follows from it; --set overrides it.`

const workspaceCreateExample = `  smartdr workspace create --group prod --name reports --size S-1
  smartdr workspace create --group prod --name ledger --size 6GiB/2 --postgres 17 --host east-2 \
      --set work_mem=64MB --hba-file ledger.hba --icu-locale de-DE
  smartdr workspace create --group prod --name legacy --connection postgresql://smartdr@db9.east/postgres \
      --password-file /etc/smartdr/legacy.password`

func (a *app) workspaceCreateCommand() *cobra.Command {
	var group string
	var in creation
	cmd := &cobra.Command{
		Use: "create", Short: "Add a workspace to a group: make a server, or adopt one", Args: cobra.NoArgs,
		Long: workspaceCreateLong, Example: workspaceCreateExample,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.changes(cmd, group, func(ctx context.Context, s *api.Service) error {
				spec, err := in.spec(cmd)
				if err != nil {
					return err
				}
				done, err := s.CreateWorkspace(ctx, group, spec)
				return a.changedWorkspace(done, err, "is there")
			})
		},
	}
	a.groupFlag(cmd, &group)
	in.addFlags(cmd)
	return cmd
}

// changedWorkspace shows a workspace after a change, and says what was done.
func (a *app) changedWorkspace(done api.ChangedWorkspace, err error, what string) error {
	if err != nil {
		return err
	}
	a.warn(done.Warnings)
	a.advise("Workspace %s %s", done.Workspace.Name, what)
	for _, note := range done.Notes {
		a.advise("note: %s", note)
	}
	return a.show(done, func(st render.Style) string { return render.Workspace(done.Workspace, st) })
}

const workspaceChangeLong = `Change a workspace. Settings take effect at once where PostgreSQL can take them; what waits for a restart is said, and
--restart does it now: connections are cut, and the server is back within seconds.

--hba-file and --ident-file replace the workspace's own lines; an empty file leaves none. Of an adopted workspace only its
size, which a host must have for it after a failover, and the way to reach it can be changed.`

const workspaceChangeExample = `  smartdr workspace change reports --group prod --size S-2 --restart
  smartdr workspace change reports --group prod --set work_mem=128MB --set jit=off
  smartdr workspace change reports --group prod --reset jit
  smartdr workspace change reports --group prod --hba-file reports.hba
  smartdr workspace change legacy --group prod --connection postgresql://smartdr@db10.east/postgres`

func (a *app) workspaceChangeCommand() *cobra.Command {
	var in alteration
	cmd := &cobra.Command{
		Use: "change WORKSPACE", Short: "Change a workspace's size, settings or access rules", Args: cobra.ExactArgs(1),
		Long: workspaceChangeLong, Example: workspaceChangeExample,
		ValidArgsFunction: a.completeWorkspaces(&in.Group),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.changes(cmd, in.Group, func(ctx context.Context, s *api.Service) error {
				req, err := in.request(cmd, args[0])
				if err != nil {
					return err
				}
				done, err := s.ChangeWorkspace(ctx, req)
				return a.changedWorkspace(done, err, "is changed")
			})
		},
	}
	a.groupFlag(cmd, &in.Group)
	in.addFlags(cmd)
	return cmd
}
