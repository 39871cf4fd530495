package cli

import (
	"os"
	"slices"

	"github.com/spf13/cobra"

	"github.com/smartdr/smartdr/internal/api"
	"github.com/smartdr/smartdr/internal/cli/render"
	"github.com/smartdr/smartdr/internal/missing"
)

const missingLong = `Find the rows that a failover left behind, and bring them home.

What the lost region still committed after the point that was recovered is in its system-managed databases, as soon as it has arrived. This
compares three states of each row: as it was where the two lines part, as the lost region left it, and as it is now in what serves. It lists
what was inserted, updated and deleted there and is not in what serves, by table, with transaction, moment and LSN, and names conflicts by
their class. It takes as long as much was changed, not as the tables are large. Nothing is changed without --apply.

DATABASE is one that serves, and means its newest continuation, or a system-managed one; left out, all that the last failover left behind.

--apply merges what does not conflict, in one transaction for each database, moves sequences on, and keeps what leads back (--undo). Of
conflicts what is active stays, unless --on-conflict says theirs, or a file of decisions says so for each: --plan writes it, you edit it, and
--decisions uses it. It may be interrupted and repeated at any moment; what arrives later is merged by running it again.

Forms (-o): table; json, with every change; csv, a line for each change; sql, a script to review and to run by hand.

Exit codes: 0 nothing is missing, or all of it was merged; 8 conflicts are left after a merge, or a database could not be compared; 11 rows
are missing, and were only listed.`

const missingExample = `  smartdr missing-rows prod
  smartdr missing-rows prod app -o csv > missing.csv
  smartdr missing-rows prod app -o sql > missing.sql
  smartdr missing-rows prod --apply                      # says what would be merged, and asks
  smartdr missing-rows prod --plan decisions.yaml        # then edit it
  smartdr missing-rows prod --decisions decisions.yaml --apply
  smartdr missing-rows prod app --undo > undo.sql        # what leads back from the last merge`

// missingFlags is what was asked for.
type missingFlags struct {
	api.MissingRequest
	filter          api.MissingFilter
	classes         []string
	examples        int
	plan, decisions string
	undo            string
	force, yes      bool
}

// undoLast is the value of --undo that means the newest merge.
const undoLast = "last"

func (a *app) missingRowsCommand() *cobra.Command {
	var in missingFlags
	cmd := &cobra.Command{
		Use: "missing-rows [GROUP] [DATABASE]", Short: "Find the rows that a failover left behind, and merge them", Args: cobra.MaximumNArgs(2),
		Long: missingLong, Example: missingExample, Annotations: map[string]string{moreOutputs: outputCSV + "," + outputSQL},
	}
	a.groupFlag(cmd, &in.Group)
	in.flags(cmd)
	_ = cmd.RegisterFlagCompletionFunc("workspace", a.completeWorkspaces(&in.Group))
	_ = cmd.RegisterFlagCompletionFunc("class", cobra.FixedCompletions(render.MissingClasses(), cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("on-conflict", cobra.FixedCompletions([]string{string(missing.Keep), string(missing.Theirs)}, cobra.ShellCompDirectiveNoFileComp))
	cmd.ValidArgsFunction = a.completeMissing(&in.Group)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := in.name(cmd, args); err != nil {
			return err
		}
		if err := in.check(cmd, a.flags.output); err != nil {
			return err
		}
		return a.missingRows(cmd, in)
	}
	return cmd
}

func (in *missingFlags) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&in.Workspace, "workspace", "", "only what is of this workspace")
	f.StringSliceVar(&in.filter.Tables, "table", nil, "show this table alone, as orders or public.orders; may be repeated")
	f.StringSliceVar(&in.classes, "class", nil, "show this class of changes alone, as missing or both-updated; may be repeated")
	f.IntVar(&in.examples, "examples", 3, "how many changes of each table and class the table shows")
	f.BoolVar(&in.Apply, "apply", false, "merge; asks first")
	f.StringVar((*string)(&in.OnConflict), "on-conflict", "", "what becomes of conflicts: keep what is active (default), or take theirs")
	f.BoolVar(&in.WholeTransactions, "whole-transactions", false, "merge all of a transaction of the lost region, or nothing of it")
	f.StringVar(&in.plan, "plan", "", "write a file of decisions, one for each conflict, for you to edit")
	f.StringVar(&in.decisions, "decisions", "", "settle conflicts as this file says")
	f.BoolVar(&in.Full, "full", false, "compare whole tables, and do not go by what WAL says was changed")
	f.StringVar(&in.undo, "undo", "", "write SQL that leads back from the last merge, or from that of a transaction (--undo=XID); nothing is run")
	f.Lookup("undo").NoOptDefVal = undoLast
	f.BoolVar(&in.force, "force", false, "with --plan: replace the file if there is one")
	f.BoolVarP(&in.yes, "yes", "y", false, "with --apply: do not ask")
}

// name puts the arguments where they belong: GROUP DATABASE, or DATABASE alone beside --group.
func (in *missingFlags) name(cmd *cobra.Command, args []string) error {
	if cmd.Flags().Changed("group") {
		if len(args) > 1 {
			return twoGroups(cmd, in.Group, args[0])
		}
	} else if len(args) > 0 {
		in.Group, args = args[0], args[1:]
	}
	if len(args) > 0 {
		in.Database = args[0]
	}
	return nil
}

// check refuses what contradicts itself, before anybody is asked anything.
func (in *missingFlags) check(cmd *cobra.Command, output string) error {
	for _, c := range in.classes {
		if !slices.Contains(render.MissingClasses(), c) {
			return usage(cmd, "there is no class %q; there are %s", c, listed(render.MissingClasses()))
		}
		in.filter.Classes = append(in.filter.Classes, missing.Class(c))
	}
	filtered := len(in.filter.Tables)+len(in.filter.Classes) > 0
	switch {
	case in.examples < 0:
		return usage(cmd, "--examples %d is negative", in.examples)
	case in.OnConflict != "" && in.OnConflict != missing.Keep && in.OnConflict != missing.Theirs:
		return usage(cmd, "--on-conflict %q is neither keep nor theirs", in.OnConflict)
	case in.Apply && filtered:
		return usage(cmd, "--table and --class choose what is shown; a merge takes all of a database")
	case in.yes && !in.Apply:
		return usage(cmd, "--yes agrees to a merge: add --apply")
	case in.force && in.plan == "":
		return usage(cmd, "--force replaces the file of --plan")
	case in.plan != "" && (in.Apply || in.decisions != ""):
		return usage(cmd, "--plan writes decisions down; --apply comes afterwards, with --decisions")
	case in.plan == "-":
		return usage(cmd, "--plan needs the name of a file")
	case cmd.Flags().Changed("undo"):
		return in.checkUndo(cmd, output, filtered)
	}
	return in.checkFiles(cmd)
}

func (in *missingFlags) checkUndo(cmd *cobra.Command, output string, filtered bool) error {
	if in.Apply || in.plan != "" || in.decisions != "" || in.Full || in.OnConflict != "" || in.WholeTransactions || filtered {
		return usage(cmd, "--undo only writes a script, and goes with no other of these flags")
	}
	if output == outputJSON || output == outputCSV {
		return usage(cmd, "--undo writes SQL, and not %s", output)
	}
	return nil
}

// checkFiles looks at files before a comparison that may take a while.
func (in *missingFlags) checkFiles(cmd *cobra.Command) error {
	if _, err := os.Lstat(in.plan); in.plan != "" && err == nil && !in.force {
		return usage(cmd, "there is a file %s already; --force replaces it", in.plan)
	}
	return nil
}

// completeMissing offers groups, and then the group's system-managed databases.
func (a *app) completeMissing(group *string) completion {
	return func(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
		named := cmd.Flags().Changed("group")
		switch {
		case !named && len(args) == 0:
			return a.completeGroups(cmd, args, begun)
		case named && len(args) > 0 || len(args) > 1:
			return nil, cobra.ShellCompDirectiveNoFileComp
		case !named:
			*group = args[0]
		}
		return a.completeSystemManaged(group)(cmd, args, begun)
	}
}
