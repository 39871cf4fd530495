// Package cli is the command line of SmartDR, over internal/api. It asks, shows and explains; it decides nothing.
package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/vbauerster/mpb/v8/cwriter"

	"github.com/smartdr/smartdr/internal/api"
	"github.com/smartdr/smartdr/internal/cli/render"
	"github.com/smartdr/smartdr/internal/fault"
)

// Streams is what the CLI reads from and writes to.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
	Getenv   func(string) string
}

// Process returns the streams of this process.
func Process() Streams {
	return Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr, Getenv: os.Getenv}
}

// Main runs the command line and returns the exit code. The first interrupt ends it in order, a second at once.
func Main(args []string, s Streams) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop)
	a := &app{Streams: s, now: time.Now}
	defer a.close()
	root := a.root()
	root.SetArgs(args)
	root.SetIn(s.In)
	root.SetOut(s.Out)
	root.SetErr(s.Err)
	cmd, err := root.ExecuteContextC(ctx)
	if err != nil && !a.read && fault.HintOf(err) == "" { // cobra's own: a word that it does not take
		err = misused(cmd, err)
	}
	return a.finish(err)
}

// app is one run of the command line.
type app struct {
	Streams
	now   func() time.Time
	flags globals
	read  bool // the command line could be read
	began bool // and can be meant
	api   *api.Service
}

func (a *app) close() {
	if a.api != nil {
		a.api.Close()
	}
}

const rootLong = `Disaster recovery for PostgreSQL that costs only storage until the day it is needed.

A workspace group has a primary region, which serves, and a secondary one, where a bucket receives everything and
nothing runs. When the primary region is lost, one command brings the group up in the other.

  1. smartdr adopt           name a group and the PostgreSQL server it consists of; or, with servers that SmartDR makes,
     smartdr group create    write down the whole group in a file
  2. smartdr configure       choose the second region; replication begins
  3. smartdr status          see how far it is, and what a loss would cost
  4. smartdr failover        the primary region is lost: serve from the other
  5. smartdr connect         the connection string of the side that serves
  6. smartdr failback        the primary region is back: serve from it again

What a failover left behind: smartdr missing-rows finds the rows that the lost region still committed, and merges them.
Other moments: smartdr timeline shows what can be restored, smartdr restore brings a moment back, smartdr branch makes writable
copies of any of them, smartdr retention says how long they are kept, smartdr verify whether the buckets still hold them.

Besides: smartdr workspace and smartdr databases change what a group consists of, smartdr hosts shows where servers can
run, smartdr readiness whether a failover would work now, smartdr cost what the second region costs. smartdr switchover moves
a group while both regions are there, smartdr preprovision keeps servers ready for that, smartdr hooks tries who is told.

Commands that only read work from the buckets alone, also when Temporal is down.
A group's name may be left out of them while there is only one group.`

const rootExample = `  smartdr adopt --group prod --primary east --connection postgresql://smartdr@db.east:5432/postgres
  smartdr configure --group prod --secondary west --wait
  smartdr status --watch
  smartdr failover --group prod
  psql "$(smartdr connect --group prod --user app --database app --multi-host)"`

func (a *app) root() *cobra.Command {
	root := &cobra.Command{
		Use: "smartdr", Short: "Disaster recovery for PostgreSQL on object storage",
		Long: rootLong + exitCodesText, Example: rootExample,
		Args: cobra.NoArgs, RunE: showHelp,
		SilenceErrors: true, SilenceUsage: true,
		PersistentPreRunE: a.begin,
	}
	root.Version = version().Version
	a.addGlobals(root)
	root.AddCommand(
		a.regionsCommand(), a.hostsCommand(), a.groupCommand(), a.workspaceCommand(), a.adoptCommand(), a.configureCommand(), a.statusCommand(),
		a.databasesCommand(), a.branchCommand(), a.restoreCommand(), a.readinessCommand(), a.timelineCommand(), a.costCommand(), a.failoverCommand(), a.cancelCommand(), a.switchoverCommand(), a.failbackCommand(), a.missingRowsCommand(), a.preprovisionCommand(), a.retentionCommand(), a.snapshotCommand(), a.verifyCommand(),
		a.recoverCommand(), a.salvageCommand(), a.hooksCommand(), a.connectCommand(), a.operationsCommand(), a.versionCommand(),
	)
	root.SetFlagErrorFunc(misread)
	root.SetUsageTemplate(strings.ReplaceAll(root.UsageTemplate(), ".FlagUsages", fmt.Sprintf(".FlagUsagesWrapped %d", helpWidth)))
	takeOnce(root)
	fit(root)
	return root
}

// helpWidth is how many columns help takes: those of a terminal beside another window.
const helpWidth = 100

// fit breaks what the help of a command, and of those below it, says into lines that fit.
func fit(cmd *cobra.Command) {
	cmd.Long = render.Wrap(cmd.Long, helpWidth)
	for _, below := range cmd.Commands() {
		fit(below)
	}
}

func showHelp(cmd *cobra.Command, _ []string) error { return cmd.Help() }

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Show the version", Args: cobra.NoArgs,
		Example: "  smartdr version\n  smartdr version -o json",
		RunE: func(*cobra.Command, []string) error {
			v := version()
			return a.show(v, func(render.Style) string {
				return "smartdr " + v.Version + " " + v.Commit + " (" + v.Go + ")\n"
			})
		},
	}
}

// Version is what `smartdr version` says.
type Version struct {
	Version string `json:"version"`
	Commit  string `json:"commit,omitempty"`
	Go      string `json:"go"`
}

func version() Version {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return Version{Version: "unknown"}
	}
	v := Version{Version: info.Main.Version, Go: info.GoVersion}
	if v.Version == "" {
		v.Version = "(devel)"
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			v.Commit = s.Value
		}
	}
	return v
}

// isTerminal reports whether a stream is a terminal. Only a file can be.
func isTerminal(stream any) bool {
	f, ok := stream.(interface{ Fd() uintptr })
	return ok && cwriter.IsTerminal(int(f.Fd()))
}
