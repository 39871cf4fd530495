package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/smartdr/smartdr/internal/api"
	"github.com/smartdr/smartdr/internal/cli/render"
	"github.com/smartdr/smartdr/internal/fault"
)

// globals are the flags that every command takes.
type globals struct {
	config  string
	output  string
	quiet   bool
	noColor bool
	timeout time.Duration
}

const (
	outputTable = "table"
	outputJSON  = "json"
	outputCSV   = "csv"
	outputSQL   = "sql"
)

// moreOutputs is the annotation of a command that takes other forms than table and json: their names, with commas between.
const moreOutputs = "outputs"

// outputsOf are the forms that a command takes.
func outputsOf(cmd *cobra.Command) []string {
	all := []string{outputTable, outputJSON}
	if more := cmd.Annotations[moreOutputs]; more != "" {
		all = append(all, strings.Split(more, ",")...)
	}
	return all
}

// readTimeout bounds commands that only read: a bucket that does not answer is given up long before.
const readTimeout = 30 * time.Second

func (a *app) addGlobals(root *cobra.Command) {
	f := root.PersistentFlags()
	f.StringVar(&a.flags.config, "config", "", "configuration file (default: $SMARTDR_CONFIG, else smartdr.yaml)")
	f.StringVarP(&a.flags.output, "output", "o", outputTable, "table or json; csv and sql too where a command says so")
	f.BoolVarP(&a.flags.quiet, "quiet", "q", false, "print results alone, no progress and no advice")
	f.BoolVar(&a.flags.noColor, "no-color", false, "no colours (also: $NO_COLOR; pipes never get any)")
	f.DurationVar(&a.flags.timeout, "timeout", 0, "give up after this long (default: 30s for reading, none for waiting)")
	_ = root.RegisterFlagCompletionFunc("output", func(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
		return outputsOf(cmd), cobra.ShellCompDirectiveNoFileComp
	})
}

// begin checks the global flags, once the command line has been understood.
func (a *app) begin(cmd *cobra.Command, args []string) error {
	a.read = true
	switch all := outputsOf(cmd); {
	case slices.Contains(all, a.flags.output):
	case len(all) == 2:
		return fault.Newf(fault.Invalid, "read command line", "--output %q is neither table nor json", a.flags.output)
	default:
		return fault.Newf(fault.Invalid, "read command line", "--output %q is none of %s", a.flags.output, listed(all))
	}
	if a.flags.timeout < 0 {
		return fault.Newf(fault.Invalid, "read command line", "--timeout %s is negative", a.flags.timeout)
	}
	if err := checkLine(cmd, args); err != nil {
		return err
	}
	a.began = true
	return nil
}

func (a *app) json() bool { return a.flags.output == outputJSON }

// reading bounds a command that only reads.
func (a *app) reading(ctx context.Context) (context.Context, context.CancelFunc) {
	if a.flags.timeout == 0 {
		return context.WithTimeout(ctx, readTimeout)
	}
	return a.waiting(ctx)
}

// waiting bounds a command that waits for something to happen, if the user said so.
func (a *app) waiting(ctx context.Context) (context.Context, context.CancelFunc) {
	if a.flags.timeout == 0 {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, a.flags.timeout)
}

func (a *app) style() render.Style {
	tty := isTerminal(a.Out)
	return render.Style{Colour: tty && !a.flags.noColor && a.Getenv("NO_COLOR") == "", Bars: tty}
}

// show prints a result: as JSON, or as the text that draw makes of it.
func (a *app) show(value any, draw func(render.Style) string) error {
	if !a.json() {
		_, err := io.WriteString(a.Out, draw(a.style()))
		return err
	}
	e := json.NewEncoder(a.Out)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(value)
}

// advise prints what is good to know beside a result, on stderr, unless it is to be quiet.
func (a *app) advise(format string, args ...any) {
	if !a.flags.quiet && !a.json() {
		fmt.Fprintf(a.Err, format+"\n", args...)
	}
}

// groupFlag adds --group.
func (a *app) groupFlag(cmd *cobra.Command, group *string) {
	cmd.Flags().StringVarP(group, "group", "g", a.Getenv("SMARTDR_GROUP"), "workspace group (also: $SMARTDR_GROUP)")
	_ = cmd.RegisterFlagCompletionFunc("group", a.completeGroups)
}

// needGroup refuses a command that changes something without being told what.
func needGroup(cmd *cobra.Command, group string) error {
	if group != "" {
		return nil
	}
	return usage(cmd, "which group? --group is missing")
}

func usage(cmd *cobra.Command, format string, args ...any) error {
	return fault.Newf(fault.Invalid, "read command line", format, args...).WithHint("See `%s --help`.", cmd.CommandPath())
}

// readGroup reads about the group that was named, else the only one there is, within the time that reading may take.
func (a *app) readGroup(cmd *cobra.Command, group string, read func(ctx context.Context, s *api.Service, name string) error) error {
	ctx, cancel := a.reading(cmd.Context())
	defer cancel()
	name, err := a.anyGroup(ctx, cmd, group)
	if err != nil {
		return err
	}
	s, err := a.service()
	if err != nil {
		return err
	}
	return read(ctx, s, name)
}

// anyGroup returns the group that was named, else the only one there is.
func (a *app) anyGroup(ctx context.Context, cmd *cobra.Command, group string) (string, error) {
	if group != "" {
		return group, nil
	}
	s, err := a.service()
	if err != nil {
		return "", err
	}
	all, err := s.Groups(ctx)
	if err != nil {
		return "", err
	}
	names := all.Names()
	switch len(names) {
	case 1:
		return names[0], nil
	case 0:
		return "", fault.Newf(fault.Missing, "choose group", "there is no workspace group").
			WithHint("Make one: `smartdr adopt --help`.")
	}
	return "", usage(cmd, "which group? Name one with --group: %s", strings.Join(names, ", "))
}
