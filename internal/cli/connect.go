package cli

import (
	"errors"
	"os/exec"

	"github.com/spf13/cobra"

	"github.com/smartdr/smartdr/internal/api"
	"github.com/smartdr/smartdr/internal/cli/render"
	"github.com/smartdr/smartdr/internal/fault"
)

const connectLong = `Print the connection string of the side that serves. It never holds a password: clients find it where they always do
(PGPASSWORD, PGPASSFILE, ~/.pgpass).

A managed workspace is connected to as its administrator, unless --user names somebody else.

--multi-host names both sides and lets the client find the one that takes writes, so that an application need not be told of a
failover: SmartDR keeps an address for each workspace in the region that does not serve, if that has a host. Give clients a
connect_timeout of a few seconds (connect_timeout=3): so long they wait for a side that is gone. docs/fencing.md says what libpq does
with a fenced server that was adopted.

With --exec, or with arguments after --, psql is run with it.`

const connectExample = `  smartdr connect --group prod --user app --database app
  smartdr connect --group prod --multi-host
  smartdr connect --group prod --user app --database app --exec
  smartdr connect --group prod --user app --database app -- -c 'SELECT count(*) FROM orders'`

func (a *app) connectCommand() *cobra.Command {
	var req api.ConnectionRequest
	var multi, run bool
	cmd := &cobra.Command{
		Use: "connect [-- PSQL-ARGUMENTS]", Short: "Print the connection string of the side that serves",
		Long: connectLong, Example: connectExample,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 && cmd.ArgsLenAtDash() != 0 {
				return usage(cmd, "arguments for psql come after --")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			run = run || cmd.ArgsLenAtDash() == 0
			return a.connect(cmd, req, multi, run, args)
		},
	}
	a.groupFlag(cmd, &req.Group)
	f := cmd.Flags()
	f.StringVar(&req.Workspace, "workspace", "", "workspace (may be left out when the group has one)")
	_ = cmd.RegisterFlagCompletionFunc("workspace", a.completeWorkspaces(&req.Group))
	f.StringVarP(&req.User, "user", "U", "", "user to connect as")
	f.StringVarP(&req.Database, "database", "d", "", "database to connect to")
	f.BoolVar(&multi, "multi-host", false, "name both sides; the client finds the one that takes writes")
	f.BoolVar(&run, "exec", false, "run psql with it")
	return cmd
}

func (a *app) connect(cmd *cobra.Command, req api.ConnectionRequest, multi, run bool, args []string) error {
	ctx, cancel := a.reading(cmd.Context())
	defer cancel()
	var err error
	if req.Group, err = a.anyGroup(ctx, cmd, req.Group); err != nil {
		return err
	}
	s, err := a.service()
	if err != nil {
		return err
	}
	c, err := s.ConnectionStrings(ctx, req)
	if err != nil {
		return err
	}
	url := c.URL
	if multi {
		url = c.MultiHost
		if c.Note != "" {
			a.advise("note: %s", c.Note)
		}
	}
	switch {
	case c.PasswordFile != "":
		a.advise("note: the password of %s is in %s on host %s, where the server was made", c.User, c.PasswordFile, c.PasswordHost)
	case c.NewPassword != "":
		a.advise("note: the password of %s is the one that it had before the failover; to set another one, on host %s: %s", c.User, c.PasswordHost, c.NewPassword)
	}
	if run {
		return a.psql(cmd, append([]string{url}, args...))
	}
	return a.show(c, func(render.Style) string { return url + "\n" })
}

// psql runs psql on this process's own streams and passes its exit code on.
func (a *app) psql(cmd *cobra.Command, args []string) error {
	path, err := exec.LookPath("psql")
	if err != nil {
		return fault.New(fault.Invalid, "run psql", err).WithHint("Install PostgreSQL's client, or leave out --exec.")
	}
	p := exec.CommandContext(cmd.Context(), path, args...)
	p.Stdin, p.Stdout, p.Stderr = a.In, a.Out, a.Err
	var exit *exec.ExitError
	if err := p.Run(); errors.As(err, &exit) {
		return exited(exit.ExitCode())
	} else if err != nil {
		return fault.New(fault.Invalid, "run psql", err)
	}
	return nil
}
