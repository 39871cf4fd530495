package cli

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/smartdr/smartdr/internal/api"
	"github.com/smartdr/smartdr/workflows"
)

func (a *app) branchAttachCommand() *cobra.Command {
	var in workflows.AttachBranchInput
	cmd := &cobra.Command{
		Use: "attach BRANCH", Short: "Give a branch a server and an endpoint of its own", Args: cobra.ExactArgs(1),
		Long:    "Give a branch a server on a host of its region, with an endpoint of its own, and wait until clients can connect. What is written to it is shipped to the\nregion's bucket as its own WAL. Pipelines do not run in it.",
		Example: "  smartdr branch attach test --group prod\n  smartdr branch attach test --group prod --read-only",
	}
	a.groupFlag(cmd, &in.Group)
	f := cmd.Flags()
	f.BoolVar(&in.ReadOnly, "read-only", false, "nobody can write to it")
	f.StringVar(&in.Host, "host", "", "where it is to run (default: any host of the region with room for it)")
	f.StringVar(&in.Size, "size", "", "what the host must have for it (default: the workspace's size)")
	cmd.ValidArgsFunction = a.completeBranches(&in.Group)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		in.Branch = args[0]
		attach := func(ctx context.Context, s *api.Service) (api.Branch, error) { return s.AttachBranch(ctx, in) }
		return a.changesBranch(cmd, in.Group, attach, "Branch %s is attached.")
	}
	return cmd
}

func (a *app) branchDetachCommand() *cobra.Command {
	var in workflows.DetachBranchInput
	cmd := &cobra.Command{
		Use: "detach BRANCH", Short: "Take a branch's server away; what was written stays in the bucket", Args: cobra.ExactArgs(1),
		Long:    "Take a branch's server away, once all that was written to it is in the bucket. The branch stays, and can be attached again where it was.",
		Example: "  smartdr branch detach test --group prod\n  smartdr branch detach test --group prod --discard  # its host is lost",
	}
	a.groupFlag(cmd, &in.Group)
	cmd.Flags().BoolVar(&in.Discard, "discard", false, "give up what was written and has not reached the bucket, if that does not answer or the host is lost")
	cmd.ValidArgsFunction = a.completeBranches(&in.Group)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		in.Branch = args[0]
		detach := func(ctx context.Context, s *api.Service) (api.Branch, error) { return s.DetachBranch(ctx, in) }
		return a.changesBranch(cmd, in.Group, detach, "Branch %s is detached.")
	}
	return cmd
}

func (a *app) branchLinkCommand() *cobra.Command {
	var in workflows.LinkBranchInput
	cmd := &cobra.Command{
		Use: "link BRANCH --into DATABASE", Short: "Show a branch's tables in a database that serves, for SQL over both", Args: cobra.ExactArgs(1),
		Long: "Show a database of an attached branch in one of its workspace that serves, as a schema of foreign tables (postgres_fdw), so that one SQL statement can\njoin both, or copy rows over. It ends with `smartdr branch unlink`, and when the branch is detached.",
		Example: "  smartdr branch link rescue --group prod --into app\n" +
			"  psql -d app -c 'insert into orders select * from rescue.orders r where not exists (select from orders o where o.id = r.id)'",
	}
	a.linkFlags(cmd, &in)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return a.links(cmd, in, args[0], "Branch %s is linked.")
	}
	return cmd
}

func (a *app) branchUnlinkCommand() *cobra.Command {
	in := workflows.LinkBranchInput{Unlink: true}
	cmd := &cobra.Command{
		Use: "unlink BRANCH", Short: "Take a branch's tables out of a database that serves", Args: cobra.ExactArgs(1),
		Long:    "Take the schemas that `smartdr branch link` made out of a database that serves: all of the branch, or those that the flags name. One that was left behind when\nits branch was detached is named in full, with --into and --schema.",
		Example: "  smartdr branch unlink rescue --group prod\n  smartdr branch unlink rescue --group prod --into app --schema rescue",
	}
	a.linkFlags(cmd, &in)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return a.links(cmd, in, args[0], "Branch %s is linked no more.")
	}
	return cmd
}

func (a *app) linkFlags(cmd *cobra.Command, in *workflows.LinkBranchInput) {
	a.groupFlag(cmd, &in.Group)
	into, of, schema := "database that serves (default: the one that the branch was made of)", "database of the branch (default: likewise)", "name of the schema (default: the branch's name)"
	if in.Unlink {
		into, of, schema = "only what is in this database that serves (default: all)", "only what shows this database of the branch (default: all)", "only the schema of this name (default: all)"
	}
	f := cmd.Flags()
	f.StringVar(&in.Database, "into", "", into)
	f.StringVar(&in.Of, "of", "", of)
	f.StringVar(&in.Schema, "schema", "", schema)
	cmd.ValidArgsFunction = a.completeBranches(&in.Group)
}

func (a *app) links(cmd *cobra.Command, in workflows.LinkBranchInput, branch, said string) error {
	in.Branch = branch
	link := func(ctx context.Context, s *api.Service) (api.Branch, error) { return s.LinkBranch(ctx, in) }
	return a.changesBranch(cmd, in.Group, link, said)
}
