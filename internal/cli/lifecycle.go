package cli

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/smartdr/smartdr/internal/api"
	"github.com/smartdr/smartdr/internal/cli/render"
)

// subject is whose life a command is about: a group, or a workspace of one.
type subject struct {
	app  *app
	kind string // "group" or "workspace"
}

// command makes `KIND verb NAME`. do gets the request, once it is known what is meant.
func (on subject) command(cmd *cobra.Command, do func(ctx context.Context, s *api.Service, req api.Lifecycle) error) *cobra.Command {
	verb, req := cmd.Use, &api.Lifecycle{}
	if on.kind == "group" {
		cmd.Use, cmd.Args, cmd.ValidArgsFunction = verb+" [GROUP]", cobra.MaximumNArgs(1), on.app.completeGroups
	} else {
		cmd.Use, cmd.Args, cmd.ValidArgsFunction = verb+" WORKSPACE", cobra.ExactArgs(1), on.app.completeWorkspaces(&req.Group)
	}
	on.app.groupFlag(cmd, &req.Group)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		asked := *req
		switch {
		case on.kind == "workspace":
			asked.Workspace = args[0]
		case len(args) == 1:
			asked.Group = args[0]
		}
		return on.app.changes(cmd, asked.Group, func(ctx context.Context, s *api.Service) error { return do(ctx, s, asked) })
	}
	return cmd
}

func (on subject) example(verb string) string {
	if on.kind == "group" {
		return "  smartdr group " + verb + " prod"
	}
	return "  smartdr workspace " + verb + " reports --group prod"
}

func (on subject) suspendCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "suspend", Short: "End the servers that SmartDR runs, for a while; nothing is lost",
		Long: `End the servers that SmartDR runs, for a while. Everything they wrote is shipped first. Their files stay on their hosts, what is in
the buckets stays too, and a failover brings them back suspended. Servers that were adopted are not SmartDR's to end.`,
		Example: on.example("suspend"),
	}
	return on.command(cmd, func(ctx context.Context, s *api.Service, req api.Lifecycle) error {
		done, err := s.Suspend(ctx, req)
		return on.app.changedGroup(done, err, "%s is suspended"+already(done), req)
	})
}

func (on subject) resumeCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "resume", Short: "Start suspended servers again, as they were",
		Example: on.example("resume"),
	}
	return on.command(cmd, func(ctx context.Context, s *api.Service, req api.Lifecycle) error {
		done, err := s.Resume(ctx, req)
		return on.app.changedGroup(done, err, "%s serves"+cmp.Or(already(done), " again"), req)
	})
}

const terminateLong = `Take it down for good. Replication ends. Servers that SmartDR runs are removed from their hosts with all their files;
servers that were adopted stay as they are, without SmartDR's replication slot. What is in the buckets stays until its
retention ends. It says first exactly what would be removed and what stays, and asks for the name, unless --yes.

--force goes on where something does not answer, such as the host of a lost server, and does not wait until all that was
written last is shipped. What could not be removed is named then; terminate again when its host is back.`

func (on subject) terminateCommand() *cobra.Command {
	var yes, force bool
	cmd := on.command(&cobra.Command{
		Use: "terminate", Short: "Take it down for good; what is in the buckets stays", Long: terminateLong,
		Example: on.example("terminate"),
	}, func(ctx context.Context, s *api.Service, req api.Lifecycle) error {
		req.Force = force
		t, err := s.PreviewTerminate(ctx, req)
		if err == nil && !yes {
			err = on.app.consents("terminate it", render.Termination(t, render.Style{}), on.kind, t.Name())
		}
		if err != nil {
			return err
		}
		done, err := s.Terminate(ctx, req)
		return on.app.changedGroup(done, err, "%s is terminated", req)
	})
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	cmd.Flags().BoolVar(&force, "force", false, "also what does not answer, and what was not shipped")
	return cmd
}

// changedGroup shows a group after a change, and says what was done to what.
func (a *app) changedGroup(done api.ChangedGroup, err error, what string, args ...any) error {
	if err != nil {
		return err
	}
	a.warn(done.Warnings)
	a.advise("%s", capital(fmt.Sprintf(what, args...)))
	return a.show(done, func(st render.Style) string { return render.Group(done.Group, st) })
}

func already(done api.ChangedGroup) string {
	if done.Already {
		return " already"
	}
	return ""
}

func capital(s string) string { return strings.ToUpper(s[:1]) + s[1:] }
