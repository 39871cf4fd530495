package cli

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/smartdr/smartdr/internal/api"
	"github.com/smartdr/smartdr/internal/cli/render"
	"github.com/smartdr/smartdr/workflows"
)

const branchLong = `Make branches of databases, and give them servers.

A branch is a writable copy of a database at a point: the newest one, a moment, an LSN, a transaction or a named restore point. It copies nothing: it
refers to what the region's bucket has, and adds a few hundred bytes to it. Attached, it has a server and an endpoint of its own; what is written to it
is stored as its own WAL. The database that serves is not touched, and pipelines do not run in a branch.

Branches of branches can be made too, and branches of system-managed databases, which are what the lost region's databases became in a failover.`

const branchExample = `  smartdr branch create before --group prod --of app --at-time 2026-11-22T22:09:00Z --attach
  psql "$(smartdr branch show before --group prod -o json | jq -r .url)"
  smartdr branch create rescue --group prod --of app_20261122T221000Z --attach
  smartdr branch link rescue --group prod --into app
  smartdr branch detach rescue --group prod`

func (a *app) branchCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "branch", Short: "Make branches of databases, attach, detach and drop them", Long: branchLong, Example: branchExample,
		Args: cobra.NoArgs, RunE: showHelp,
	}
	cmd.AddCommand(
		a.branchCreateCommand(), a.branchListCommand(), a.branchShowCommand(), a.branchAttachCommand(), a.branchDetachCommand(),
		a.branchDropCommand(), a.branchLinkCommand(), a.branchUnlinkCommand(),
	)
	return cmd
}

func (a *app) branchListCommand() *cobra.Command {
	var group string
	cmd := &cobra.Command{
		Use: "list", Short: "List the branches, and what each has added to its bucket", Args: cobra.NoArgs,
		Example: "  smartdr branch list --group prod\n  smartdr branch list -o json | jq '.[] | {name: .branch.name, bytes}'",
	}
	a.groupFlag(cmd, &group)
	list := func(s *api.Service, ctx context.Context, group string) ([]api.Branch, error) {
		return s.Branches(ctx, group)
	}
	cmd.RunE = readsGroup(a, &group, list, render.Branches)
	return cmd
}

func (a *app) branchShowCommand() *cobra.Command {
	var group string
	cmd := &cobra.Command{
		Use: "show BRANCH", Short: "Show a branch: where it begins, what it has added, how to connect", Args: cobra.ExactArgs(1),
		Example: "  smartdr branch show test --group prod",
	}
	a.groupFlag(cmd, &group)
	cmd.ValidArgsFunction = a.completeBranches(&group)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		show := func(s *api.Service, ctx context.Context, group string) (api.Branch, error) {
			return s.BranchOf(ctx, group, args[0])
		}
		return readsGroup(a, &group, show, render.Branch)(cmd, args)
	}
	return cmd
}

func (a *app) branchDropCommand() *cobra.Command {
	var in workflows.DropBranchInput
	cmd := &cobra.Command{
		Use: "drop NAME", Short: "Forget a branch or a system-managed database", Args: cobra.ExactArgs(1),
		Long: "Forget a branch or a system-managed database. What nothing else needs of it leaves the bucket with the next run of retention.\n\n" +
			"An attached branch is not dropped without --force, which gives up what was written to it. Neither is a system-managed database\nof which more may arrive.",
		Example: "  smartdr branch drop test --group prod\n  smartdr branch drop app_20261122T221000Z --group prod",
	}
	a.groupFlag(cmd, &in.Group)
	cmd.Flags().BoolVar(&in.Force, "force", false, "also one that is attached; or system-managed, before all of it has arrived")
	cmd.ValidArgsFunction = a.completeBranches(&in.Group)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		in.Name = args[0]
		return a.changes(cmd, in.Group, func(ctx context.Context, s *api.Service) error {
			done, err := s.DropBranch(ctx, in)
			if err != nil {
				return err
			}
			a.warn(done.Warnings)
			a.advise("%s is dropped; what nothing else needs of it leaves the bucket by retention", in.Name)
			return a.show(done, func(render.Style) string { return "" })
		})
	}
	return cmd
}

// changesBranch runs what changes a branch, and shows the branch as it is then.
func (a *app) changesBranch(cmd *cobra.Command, group string, do func(ctx context.Context, s *api.Service) (api.Branch, error), said string) error {
	return a.changes(cmd, group, func(ctx context.Context, s *api.Service) error {
		v, err := do(ctx, s)
		if err != nil {
			return err
		}
		a.advise("%s", fmt.Sprintf(said, v.Branch.Name))
		return a.show(v, func(st render.Style) string { return render.Branch(v, st) })
	})
}

// completeBranches offers the branches of the group that was named, else of the only one there is.
func (a *app) completeBranches(group *string) completion {
	return a.completeOf(group, func(ctx context.Context, s *api.Service, name string) (names []string, err error) {
		g, err := s.Group(ctx, name)
		for _, b := range g.Branches {
			names = append(names, b.Name)
		}
		return names, err
	})
}
