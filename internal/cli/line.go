package cli

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/smartdr/smartdr/internal/fault"
)

// mayBeEmpty are flags whose empty value means something: no address at all, no prefix.
var mayBeEmpty = []string{"config", "firewall", "prefix"}

// checkLine refuses a command line that can be read and cannot be meant: a flag or an argument that is empty, as a script's variable is that
// was never set, since leaving it out mostly means "everything" or "the newest"; flags that exclude each other; two names of a group.
func checkLine(cmd *cobra.Command, args []string) error {
	if strings.HasPrefix(cmd.Name(), "__") { // a shell that asks for completions
		return nil
	}
	if slices.Contains(args, "") {
		return usage(cmd, "an argument is empty")
	}
	var empty error
	cmd.Flags().Visit(func(f *pflag.Flag) {
		if empty == nil && isEmpty(f.Value) && !slices.Contains(mayBeEmpty, f.Name) {
			empty = usage(cmd, "--%s is empty: give it a value, or leave it out", f.Name)
		}
	})
	if empty != nil {
		return empty
	}
	if err := cmd.ValidateFlagGroups(); err != nil {
		return usage(cmd, "%s", exclusive(err.Error()))
	}
	group := cmd.Flags().Lookup("group")
	if len(args) > 0 && group != nil && group.Changed && group.Value.String() != args[0] && strings.HasSuffix(cmd.Use, " [GROUP]") {
		return twoGroups(cmd, group.Value.String(), args[0])
	}
	return nil
}

func twoGroups(cmd *cobra.Command, flag, arg string) error {
	return usage(cmd, "the group is named twice: by --group %s, and by %s", flag, arg)
}

func isEmpty(v pflag.Value) bool {
	switch v.Type() {
	case "string":
		return v.String() == ""
	case "stringSlice":
		return v.String() == "[]"
	}
	return false
}

// wereSet finds the flags in what cobra says of flags that exclude each other.
var wereSet = regexp.MustCompile(`\[([^]]+)\] were all set$`)

func exclusive(cobraSays string) string {
	m := wereSet.FindStringSubmatch(cobraSays)
	if m == nil {
		return cobraSays
	}
	return listed(strings.Fields("--"+strings.ReplaceAll(m[1], " ", " --"))) + " exclude each other"
}

// numbers say what a flag takes that could not be read.
var numbers = map[string]string{
	"duration": "length of time, as 30s or 5m", "bool": "true or false", "int": "number", "int64": "number",
	"uint32": "number from 1 to 4294967295", "uint64": "number from 0 on",
}

// misread explains a flag that could not be read.
func misread(cmd *cobra.Command, err error) error {
	var value *pflag.InvalidValueError
	var unknown *pflag.NotExistError
	switch {
	case errors.As(err, &value):
		name, kind := value.GetFlag().Name, numbers[value.GetFlag().Value.Type()]
		var first givenTwice
		if errors.As(err, &first) {
			return usage(cmd, "--%s is given twice: as %q and as %q", name, string(first), value.GetValue())
		}
		if kind != "" {
			return usage(cmd, "--%s %q is no %s", name, value.GetValue(), kind)
		}
	case errors.As(err, &unknown):
		if near := nearestFlag(cmd, unknown.GetSpecifiedName()); near != "" {
			return fault.New(fault.Invalid, "read command line", err).WithHint("Did you mean --%s? See `%s --help`.", near, cmd.CommandPath())
		}
	}
	return usage(cmd, "%s", err)
}

// nearestFlag is the flag of a command whose name is most like a word, or "".
func nearestFlag(cmd *cobra.Command, word string) string {
	names := &cobra.Command{SuggestionsMinimumDistance: nearby}
	cmd.Flags().VisitAll(func(f *pflag.Flag) { names.AddCommand(&cobra.Command{Use: f.Name, RunE: showHelp}) })
	return first(names.SuggestionsFor(word))
}

// nearby is how many letters of a misspelt word may differ from the one that was meant.
const nearby = 2

func first(words []string) string {
	if len(words) == 0 {
		return ""
	}
	return words[0]
}

// misused explains words that a command does not take: a command that is not there, or too many arguments, or too few.
func misused(cmd *cobra.Command, err error) error {
	args := cmd.Flags().Args()
	switch {
	case len(args) > 0 && cmd.HasSubCommands():
		near := *cmd
		near.SuggestionsMinimumDistance = nearby
		if name := first(near.SuggestionsFor(args[0])); name != "" {
			return fault.New(fault.Invalid, "read command line", err).WithHint("Did you mean `%s %s`? See `%s --help`.", cmd.CommandPath(), name, cmd.CommandPath())
		}
	case strings.HasPrefix(err.Error(), "requires at least"), len(args) == 0:
		return usage(cmd, "an argument is missing: %s", cmd.UseLine())
	case cobra.NoArgs(cmd, args) != nil:
		return usage(cmd, "%s: too many arguments: %s", strings.Join(args, " "), cmd.UseLine())
	}
	return usage(cmd, "%s", err)
}

// once is a flag that takes one value: the second that is given is refused, and not taken in silence instead of the first.
type once struct {
	pflag.Value
	set bool
}

// givenTwice is the value that a flag has already.
type givenTwice string

func (g givenTwice) Error() string { return fmt.Sprintf("it is %q already", string(g)) }

func (o *once) Set(text string) error {
	if o.set && text != o.String() {
		return givenTwice(o.String())
	}
	o.set = true
	return o.Value.Set(text)
}

// takeOnce has the flags of a command and of those below it take one value each, but for lists and switches.
func takeOnce(cmd *cobra.Command) {
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if slices.Contains([]string{"string", "uint32", "uint64", "int"}, f.Value.Type()) {
			f.Value = &once{Value: f.Value}
		}
	})
	for _, below := range cmd.Commands() {
		takeOnce(below)
	}
}
