package cli

import (
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/smartdr/smartdr/internal/api"
)

// adoption is a server to adopt, as flags say it.
type adoption struct {
	group, primary, workspace             string
	connection, passwordFile, passwordEnv string
}

var adoptionFlags = []string{"name", "group", "primary", "workspace", "connection", "password-file", "password-env"}

func (in *adoption) addFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&in.primary, "primary", "", "region that the server runs in")
	f.StringVar(&in.workspace, "workspace", "main", "name of the workspace")
	addSourceFlags(cmd, &in.connection, &in.passwordFile, &in.passwordEnv)
}

func (in adoption) anySet(cmd *cobra.Command) (set bool) {
	cmd.Flags().Visit(func(f *pflag.Flag) { set = set || slices.Contains(adoptionFlags, f.Name) })
	return set
}

func (in adoption) spec() api.GroupSpec {
	return api.GroupSpec{Name: in.group, Primary: in.primary, Workspaces: []api.WorkspaceSpec{{
		Name: in.workspace, Connection: in.connection, PasswordFile: in.passwordFile, PasswordEnv: in.passwordEnv,
	}}}
}

const adoptLong = `Adopt a PostgreSQL server that is there already, by its connection string: create a workspace group that consists of
it. Nothing is installed on the server and nothing is changed there before replication is configured.

The password never stands in the connection string or on the command line. The workers of the region read it from
--password-file, from --password-env, or where every PostgreSQL client looks: PGPASSWORD, PGPASSFILE, ~/.pgpass.

A server with a standby of its own may be named with all its hosts; SmartDR follows its local failover:
  postgresql://smartdr@db1.east,db2.east/postgres?target_session_attrs=read-write`

const adoptExample = `  smartdr adopt --group prod --primary east --connection postgresql://smartdr@db.east:5432/postgres
  smartdr adopt --group prod --primary east --connection "host=db.east user=smartdr sslmode=verify-full" --password-file /etc/smartdr/main.password`

func (a *app) adoptCommand() *cobra.Command {
	var in adoption
	cmd := &cobra.Command{
		Use: "adopt", Short: "Create a group around an existing server, by its connection string", Args: cobra.NoArgs,
		Long: adoptLong, Example: adoptExample,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.adopt(cmd, in) },
	}
	a.groupFlag(cmd, &in.group)
	in.addFlags(cmd)
	a.completeRegionFlags(cmd, "primary")
	return cmd
}

func (a *app) adopt(cmd *cobra.Command, in adoption) error {
	name := "group"
	if cmd.Flags().Lookup("name") != nil {
		name = "name"
	}
	for _, f := range []struct{ flag, value string }{{name, in.group}, {"primary", in.primary}, {"connection", in.connection}} {
		if f.value == "" {
			return usage(cmd, "--%s is missing", f.flag)
		}
	}
	spec := in.spec()
	if err := spec.Validate(); err != nil {
		return err
	}
	return a.create(cmd, spec)
}

const configureLong = `Choose the region that a group is replicated to, and which databases. Both buckets and the servers are looked at first,
and what stands in the way is said before anything is changed. Then a snapshot is taken and the WAL is streamed.

Databases that are left out are not stored: after a failover they are not there.`

const configureExample = `  smartdr configure --group prod --secondary west
  smartdr configure --group prod --secondary west --database app --database billing
  smartdr configure --group prod --secondary west --wait     # until every database is Active`

func (a *app) configureCommand() *cobra.Command {
	var req api.ConfigureRequest
	var all, wait bool
	cmd := &cobra.Command{
		Use: "configure", Short: "Replicate a group to a second region", Args: cobra.NoArgs,
		Long: configureLong, Example: configureExample,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := needGroup(cmd, req.Group); err != nil {
				return err
			}
			switch {
			case req.Secondary == "":
				return usage(cmd, "to which region? --secondary is missing")
			case all && len(req.Databases) > 0:
				return usage(cmd, "--all and --database exclude each other")
			}
			ctx, cancel := a.waiting(cmd.Context())
			defer cancel()
			if err := a.configure(ctx, req); err != nil || !wait {
				return err
			}
			return a.watchStatus(ctx, req.Group, true)
		},
	}
	a.groupFlag(cmd, &req.Group)
	cmd.Flags().StringVar(&req.Secondary, "secondary", "", "region to replicate to")
	cmd.Flags().StringSliceVar(&req.Databases, "database", nil, "replicate this database; may be repeated")
	cmd.Flags().BoolVar(&all, "all", false, "replicate all databases, present and future (the default)")
	cmd.Flags().BoolVar(&wait, "wait", false, "wait until every database is Active")
	a.completeRegionFlags(cmd, "secondary")
	return cmd
}

func (a *app) completeRegionFlags(cmd *cobra.Command, flag string) {
	_ = cmd.RegisterFlagCompletionFunc(flag, a.completeRegions)
}
