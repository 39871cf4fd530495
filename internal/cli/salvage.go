package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/smartdr/smartdr/internal/api"
	"github.com/smartdr/smartdr/internal/cli/render"
	"github.com/smartdr/smartdr/internal/topology"
)

const salvageLong = `Bring home what a server wrote after another region had taken over, from its disk alone.

After a failover the old side's server is fenced as soon as it can be reached, and what it wrote meanwhile is shipped by itself, to a
lineage of its own. That of a server which SmartDR made is found on its host's disk also when it does not run. This command is
for an adopted server that will not start any more: it reads the pg_wal folder, or the data directory, and ships what is in it.

It runs on the machine that has the folder and can read it, needs the keys of both buckets and no Temporal, and changes nothing in
the folder. The server must not run. Nothing of it touches what serves now.`

const salvageExample = `  smartdr salvage --group prod --workspace main --pg-wal /mnt/olddisk/pgdata/pg_wal`

func (a *app) salvageCommand() *cobra.Command {
	var req api.SalvageRequest
	cmd := &cobra.Command{
		Use: "salvage", Short: "Bring home what a lost server's disk still holds", Args: cobra.NoArgs,
		Long: salvageLong, Example: salvageExample,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.salvage(cmd, req) },
	}
	a.groupFlag(cmd, &req.Group)
	f := cmd.Flags()
	f.StringVar(&req.Workspace, "workspace", "", "workspace (may be left out when the group has one)")
	_ = cmd.RegisterFlagCompletionFunc("workspace", a.completeWorkspaces(&req.Group))
	f.StringVar(&req.Lineage, "lineage", "", "lineage that the server wrote (default: the newest that is not complete)")
	f.StringVar(&req.Dir, "pg-wal", "", "pg_wal folder or data directory of the server, on this machine")
	_ = cmd.MarkFlagDirname("pg-wal")
	return cmd
}

func (a *app) salvage(cmd *cobra.Command, req api.SalvageRequest) error {
	if req.Dir == "" {
		return usage(cmd, "say where the server's WAL is, with --pg-wal")
	}
	ctx := cmd.Context()
	var err error
	if req.Group, err = a.anyGroup(ctx, cmd, req.Group); err != nil {
		return err
	}
	s, err := a.service()
	if err != nil {
		return err
	}
	t, err := s.Salvage(ctx, req)
	if err != nil {
		return err
	}
	return a.show(t, func(render.Style) string { return salvaged(t) })
}

func salvaged(t topology.Tail) string {
	text := fmt.Sprintf("lineage %s of workspace %s is there up to %s: %d transactions that the other side does not have", t.Lineage, t.Workspace, t.At, t.Commits)
	if !t.Complete {
		return text + "\nnot complete: " + t.Error + "\n"
	}
	return text + "\n"
}
