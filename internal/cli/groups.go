package cli

import (
	"context"
	"errors"
	"io"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"github.com/smartdr/smartdr/internal/api"
	"github.com/smartdr/smartdr/internal/cli/render"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
)

func (a *app) groupCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "group", Short: "Create, list, change, suspend and terminate workspace groups", Args: cobra.NoArgs, RunE: showHelp,
		Example: "  smartdr group create -f group.yaml\n  smartdr group list\n  smartdr group show prod\n  smartdr group change prod --firewall 10.0.0.0/8",
	}
	on := subject{a, "group"}
	cmd.AddCommand(a.groupCreateCommand(), a.groupListCommand(), a.groupShowCommand(), a.groupChangeCommand(),
		on.suspendCommand(), on.resumeCommand(), on.terminateCommand())
	return cmd
}

func (a *app) groupListCommand() *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use: "list", Short: "List the workspace groups", Args: cobra.NoArgs,
		Example: "  smartdr group list\n  smartdr group list -o json | jq -r '.groups[].name'",
		RunE: reads(a, func(s *api.Service, ctx context.Context) (api.Groups, error) {
			found, err := s.Groups(ctx)
			found.Groups = slices.DeleteFunc(found.Groups, func(g topology.Group) bool { return !all && g.State == topology.GroupTerminated })
			return found, err
		}, render.Groups),
	}
	cmd.Flags().BoolVar(&all, "all", false, "also those that are terminated")
	return cmd
}

func (a *app) groupShowCommand() *cobra.Command {
	var group string
	show := readsGroup(a, &group, (*api.Service).Group, render.Group)
	cmd := &cobra.Command{
		Use: "show [GROUP]", Short: "Show a workspace group with its workspaces and its firewall", Args: cobra.MaximumNArgs(1),
		Example:           "  smartdr group show prod\n  smartdr group show prod -o json",
		ValidArgsFunction: a.completeGroups,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				group = args[0]
			}
			return show(cmd, args)
		},
	}
	a.groupFlag(cmd, &group)
	return cmd
}

const groupCreateLong = `Create a workspace group, around PostgreSQL servers that are there already and with servers that SmartDR makes.

With -f the group is read from a YAML file ("-" is standard input):

  name: prod
  primary: east                # the region that serves
  secondary: west              # optional: also configure replication to it
  databases: [app, main/logs]  # optional: replicate these alone; left out, all present and future ones
  smartDR: true                # the default; false: neither replication nor branches
  firewall: [10.0.0.0/8]       # who may reach the servers that SmartDR runs: CIDR ranges, or allowAll
  sequenceGap: 100000          # by how many values a failover moves sequences ahead; 0: not at all
  workspaces:
    - name: main                                  # with a connection: an existing server is adopted
      connection: postgresql://smartdr@db.east:5432/postgres
      passwordFile: /etc/smartdr/main.password    # on the workers of the primary region; or passwordEnv: VARIABLE
    - name: reports                               # with a size: SmartDR makes and runs a server
      size: S-1                                   # or memory and CPUs, as 6GiB/2
      postgres: 18                                # the rest is optional
      host: east-2                                # else any with room for it
      settings: {work_mem: 64MB, wal_level: logical}
      hba: ["hostssl all auditor 10.9.0.0/16 cert map=staff"]
      ident: ["staff /^(.*)@example.com$ \1"]
      init: {segmentSizeMB: 64, icuLocale: de-DE} # also locale, noChecksums

An existing server is not changed. A password never stands in a connection string. With neither passwordFile nor
passwordEnv the workers look where every PostgreSQL client does: PGPASSWORD, PGPASSFILE, ~/.pgpass. The account needs
REPLICATION, and the server wal_level=replica or more and a free slot and walsender:
  CREATE ROLE smartdr LOGIN REPLICATION; GRANT pg_monitor TO smartdr;`

const groupCreateExample = `  smartdr group create -f group.yaml
  smartdr group create --name prod --primary east --connection postgresql://smartdr@db.east/postgres --password-file /etc/smartdr/main.password`

func (a *app) groupCreateCommand() *cobra.Command {
	var file string
	var in adoption
	cmd := &cobra.Command{
		Use: "create", Short: "Create a workspace group from a file or from flags", Args: cobra.NoArgs,
		Long: groupCreateLong, Example: groupCreateExample,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if file == "" {
				return a.adopt(cmd, in)
			}
			if in.anySet(cmd) {
				return usage(cmd, "-f says all of it: leave the other flags out")
			}
			spec, err := a.readSpec(file)
			if err != nil {
				return err
			}
			return a.create(cmd, spec)
		},
	}
	cmd.Flags().StringVarP(&file, "file", "f", "", "YAML file, or - for standard input")
	cmd.Flags().StringVar(&in.group, "name", "", "name of the group")
	in.addFlags(cmd)
	a.completeRegionFlags(cmd, "primary")
	return cmd
}

func (a *app) readSpec(file string) (api.GroupSpec, error) {
	var b []byte
	var err error
	if file == "-" {
		file = "standard input"
		b, err = io.ReadAll(a.In)
	} else {
		b, err = os.ReadFile(file)
	}
	switch {
	case errors.Is(err, os.ErrNotExist):
		return api.GroupSpec{}, fault.Newf(fault.Invalid, "read group", "there is no file %s", file)
	case err != nil:
		return api.GroupSpec{}, fault.New(fault.Invalid, "read group", err)
	}
	return api.ParseGroupSpec(file, b)
}

// create makes the group, and configures replication where the specification says so.
func (a *app) create(cmd *cobra.Command, spec api.GroupSpec) error {
	ctx, cancel := a.waiting(cmd.Context())
	defer cancel()
	s, err := a.service()
	if err != nil {
		return err
	}
	created, err := s.CreateGroup(ctx, spec)
	if err != nil {
		return err
	}
	a.warn(created.Warnings)
	if len(spec.Workspaces) == 0 {
		a.advise("Group %s is there, and has no workspace yet. Next: smartdr workspace create --group %s --name NAME --size SIZE", spec.Name, spec.Name)
		return a.show(created, func(st render.Style) string { return render.Group(created.Group, st) })
	}
	if spec.Secondary == "" {
		a.advise("Group %s is there. Next: smartdr configure --group %s --secondary REGION", spec.Name, spec.Name)
		return a.show(created, func(st render.Style) string { return render.Group(created.Group, st) })
	}
	a.advise("Group %s is there; configuring replication to %s", spec.Name, spec.Secondary)
	return a.configure(ctx, api.ConfigureRequest{Group: spec.Name, Secondary: spec.Secondary, Databases: spec.Databases})
}

func (a *app) warn(warnings []string) {
	for _, w := range warnings {
		a.advise("warning: %s", w)
	}
}
