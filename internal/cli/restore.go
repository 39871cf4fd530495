package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/smartdr/smartdr/internal/api"
	"github.com/smartdr/smartdr/internal/cli/render"
)

const restoreLong = `Bring back the state of a workspace at a moment, an LSN, a transaction or a named restore point.

It becomes a branch with a server of its own, beside the one that serves, which is not touched. Look at it, copy rows over with
"smartdr branch link", and drop it when it has served its purpose. It can be brought up in either region: each bucket has what it takes.

With --in-place it takes the place of what serves, in the region that serves; the state before is kept as a branch, with everything that was
committed. What would happen is shown first; typing the workspace's name (or --yes) agrees to it. Clients need the new address afterwards.

"smartdr timeline" shows what can be restored, and "smartdr timeline search" finds the last moment at which a query returned rows. A
point outside is refused, with the nearest ones there are.`

const restoreExample = `  smartdr restore --group prod --to-time 2026-11-22T22:09:00Z
  smartdr restore --group prod --to-name before-migration --branch before --region west
  smartdr restore --group prod --workspace main --to-lsn 0/3000148 --read-only
  smartdr restore --group prod --to-time 2026-11-22T22:09:00Z --in-place  # asks`

// restoreFlags is what was asked for.
type restoreFlags struct {
	api.RestoreRequest
	to targetFlags

	inPlace, yes, wait, preview bool
}

func (a *app) restoreCommand() *cobra.Command {
	var in restoreFlags
	cmd := &cobra.Command{
		Use: "restore", Short: "Bring back the state of a moment, as a branch or in place", Args: cobra.NoArgs, Long: restoreLong, Example: restoreExample,
	}
	a.groupFlag(cmd, &in.Group)
	f := cmd.Flags()
	f.StringVar(&in.Workspace, "workspace", "", "which (may be left out when the group has one)")
	in.to.add(f, "to")
	f.StringVar(&in.Branch, "branch", "", "name of the branch (default: the workspace's, with the moment)")
	f.StringVar(&in.Region, "region", "", "whose bucket and hosts (default: the region that serves, or the other one where that has it alone)")
	f.BoolVar(&in.ReadOnly, "read-only", false, "nobody can write to the branch")
	f.BoolVar(&in.inPlace, "in-place", false, "instead of what serves; the state before stays as a branch")
	f.StringVar(&in.MaxGap, "max-gap", "", "with --in-place: longest time without a writer; when it has passed everything goes back (default 30s)")
	f.BoolVarP(&in.yes, "yes", "y", false, "with --in-place: do not ask")
	f.BoolVar(&in.wait, "wait", true, "with --in-place: wait until it has ended, and show its phases")
	f.BoolVar(&in.preview, "preview", false, "with --in-place: only show what would happen")
	_ = cmd.RegisterFlagCompletionFunc("workspace", a.completeWorkspaces(&in.Group))
	a.completeRegionFlags(cmd, "region")
	cmd.RunE = func(cmd *cobra.Command, _ []string) (err error) {
		if in.RestoreRequest.To, err = in.to.target(); err != nil {
			return err
		}
		if !in.inPlace && (in.yes || in.preview || !in.wait) {
			return usage(cmd, "--yes, --wait and --preview are of --in-place: a branch takes nothing away")
		}
		return a.changes(cmd, in.Group, func(ctx context.Context, s *api.Service) error {
			if in.inPlace {
				return a.restoreInPlace(ctx, s, in)
			}
			return a.restoreBranch(ctx, s, in.RestoreRequest)
		})
	}
	return cmd
}

// restoreBranch restores beside what serves, and says how to go on.
func (a *app) restoreBranch(ctx context.Context, s *api.Service, req api.RestoreRequest) error {
	a.advise("Looking for the point")
	v, err := s.Restore(ctx, req, func(doing string) { a.advise("%s", strings.ReplaceAll(doing, "**", "")) })
	if err != nil {
		return err
	}
	if err := a.show(v, func(st render.Style) string { return render.Branch(v, st) }); err != nil {
		return err
	}
	a.advise("%s", howToGoOn(req.Group, v.Branch.Name))
	return nil
}

// howToGoOn is what can be done with a restored state.
func howToGoOn(group, branch string) string {
	return fmt.Sprintf(`
What now:
  see its tables beside those that serve   smartdr branch link %[2]s --group %[1]s --into DATABASE
  take the server away, keep the state     smartdr branch detach %[2]s --group %[1]s
  forget it                                smartdr branch detach %[2]s --group %[1]s && smartdr branch drop %[2]s --group %[1]s`, group, branch)
}
