package cli

import (
	"context"
	"errors"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/smartdr/smartdr/internal/api"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
	"github.com/smartdr/smartdr/workflows"
)

// targetFlags name a point.
type targetFlags struct {
	prefix          string // of the flags' names: "at" or "to"
	time, lsn, name string
	xid             uint32
	flags           *pflag.FlagSet
}

func (t *targetFlags) add(f *pflag.FlagSet, prefix string) {
	t.prefix, t.flags = prefix, f
	f.StringVar(&t.time, prefix+"-time", "", `the last moment that is wanted, as "2026-11-22T22:10:00Z" (default: the newest point)`)
	f.StringVar(&t.lsn, prefix+"-lsn", "", `the last position that is wanted, as "0/3000148"`)
	f.Uint32Var(&t.xid, prefix+"-xid", 0, "the last transaction that is wanted, as pg_current_xact_id()::xid has it")
	f.StringVar(&t.name, prefix+"-name", "", "a restore point made by pg_create_restore_point")
}

// target reads the flags; errors are fault.Invalid.
func (t *targetFlags) target() (out topology.Target, err error) {
	out = topology.Target{XID: t.xid, Name: t.name}
	if out.Time, err = topology.ParseMomentOf("read point", t.prefix+"-time", t.time); err != nil {
		return out, err
	}
	if t.lsn != "" {
		if out.LSN, err = wal.ParseLSN(t.lsn); err != nil || out.LSN == 0 {
			return out, fault.Newf(fault.Invalid, "read point", "--%s-lsn: %q is no position in the WAL", t.prefix, t.lsn).WithHint(`Give it as "0/3000148".`)
		}
	}
	if t.flags.Changed(t.prefix+"-xid") && t.xid == 0 {
		return out, fault.Newf(fault.Invalid, "read point", "--%s-xid 0 is no transaction", t.prefix).WithHint("PostgreSQL tells it: SELECT pg_current_xact_id()::xid")
	}
	return out, out.Check()
}

const branchCreateLong = `Make a branch of a database, of a workspace with all of its databases, of another branch, or of a system-managed database.

A database is named as in "app", or as in "main/app" where several workspaces have one of that name. The server that a branch gets when it is attached has
all databases of the workspace; the one it is of is where its connection string leads.

Without a point it begins at the newest one that the bucket has. A point outside of what can be restored is refused, with the nearest ones.`

func (a *app) branchCreateCommand() *cobra.Command {
	var in workflows.CreateBranchInput
	var at targetFlags
	cmd := &cobra.Command{
		Use: "create [NAME]", Short: "Make a branch, at the newest point or any other", Args: cobra.MaximumNArgs(1), Long: branchCreateLong,
		Example: "  smartdr branch create test --group prod --of app\n" +
			"  smartdr branch create before --group prod --of app --at-time 2026-11-22T22:09:00Z --attach\n" +
			"  smartdr branch create test2 --group prod --of test",
	}
	a.groupFlag(cmd, &in.Group)
	f := cmd.Flags()
	f.StringVar(&in.Of, "of", "", "database, branch or system-managed database (default: all of the workspace)")
	f.StringVar(&in.Workspace, "workspace", "", "where --of does not say it and the group has several")
	f.StringVar(&in.Region, "region", "", "whose bucket (default: the region that serves, or the other one where that has it alone)")
	f.BoolVar(&in.Attach, "attach", false, "give it a server at once")
	f.BoolVar(&in.ReadOnly, "read-only", false, "with --attach: a server that nobody can write to")
	at.add(f, "at")
	_ = cmd.RegisterFlagCompletionFunc("workspace", a.completeWorkspaces(&in.Group))
	_ = cmd.RegisterFlagCompletionFunc("of", a.completeOriginals(&in.Group))
	a.completeRegionFlags(cmd, "region")
	cmd.RunE = func(cmd *cobra.Command, args []string) (err error) {
		if len(args) == 1 {
			in.Name = args[0]
		}
		if in.ReadOnly && !in.Attach {
			return usage(cmd, "--read-only says how a branch is attached: add --attach")
		}
		if in.At, err = at.target(); err != nil {
			return err
		}
		create := func(ctx context.Context, s *api.Service) (api.Branch, error) { return s.CreateBranch(ctx, in) }
		return a.changesBranch(cmd, in.Group, create, "Branch %s is made.")
	}
	return cmd
}

// completeOriginals offers what a branch can be made of.
func (a *app) completeOriginals(group *string) completion {
	return a.completeOf(group, func(ctx context.Context, s *api.Service, name string) (names []string, err error) {
		all, err := s.Databases(ctx, name)
		for _, d := range all {
			names = append(names, d.Workspace+"/"+d.Name)
		}
		g, groupErr := s.Group(ctx, name)
		for _, b := range g.Branches {
			names = append(names, b.Name)
		}
		for _, m := range g.SystemManaged {
			names = append(names, m.Name)
		}
		return names, errors.Join(err, groupErr)
	})
}
