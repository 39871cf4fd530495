package render

import (
	"fmt"
	"slices"
	"strings"

	"github.com/smartdr/smartdr/internal/api"
	"github.com/smartdr/smartdr/internal/missing"
)

// MissingView is what is shown of missing rows.
type MissingView struct {
	api.MissingRows
	Filter   api.MissingFilter
	Examples map[string][]api.MissingChange // by system-managed database, grouped by table and class
	Args     string                         // what follows the group's name in the commands that are offered, as " app"
	Plan     string                         // file of decisions that was written, if one was
}

// missingClasses are all classes, in the order in which they are shown, with what each means.
var missingClasses = []struct {
	class missing.Class
	means string
}{
	{missing.Missing, "what serves has what there was at the fork: it can be merged as it is"},
	{missing.BothInserted, "the same key was inserted on both sides, with other contents"},
	{missing.BothUpdated, "each side made something else of the same row"},
	{missing.UpdatedDeleted, "updated in the region that was lost, and deleted in what serves"},
	{missing.DeletedUpdated, "deleted in the region that was lost, and updated in what serves"},
	{missing.Unique, "another row of what serves holds a unique or excluding key of it"},
	{missing.ForeignParent, "a row that it refers to would not be there"},
	{missing.ForeignChild, "a row of what serves refers to what it deletes"},
	{missing.NoKey, "the row has no key, and what serves has none like it, to delete or since an earlier merge"},
	{missing.SchemaDrift, "what serves has no table, or no column, for it"},
	{missing.TwoPhase, "a prepared transaction that ended there waits in what serves"},
	{missing.Held, "another change of its transaction conflicts, and transactions stay whole"},
	{missing.Kept, "it conflicts, and what is active was decided for"},
	{missing.Alike, "both sides made the same of the row, or somebody brought it over by hand: of a counter that both moved, that is once"},
	{missing.Same, "what serves has it already"},
}

// MissingClasses are the names of all classes.
func MissingClasses() (names []string) {
	for _, c := range missingClasses {
		names = append(names, string(c.class))
	}
	return names
}

func classTint(c missing.Class) colour {
	switch {
	case c.There() || c == missing.Kept:
		return dim
	case c.Conflict():
		return red
	}
	return yellow
}

// Missing writes what a comparison found, or a merge did.
func Missing(v MissingView, s Style) string {
	var b strings.Builder
	if len(v.Databases) == 0 {
		b.WriteString("Nothing is missing: no failover has left anything behind of group " + v.Group + ".\n")
	}
	for i, d := range v.Databases {
		if i > 0 {
			b.WriteString("\n")
		}
		b.WriteString(s.missingDatabase(v, d))
	}
	for _, n := range v.Notes {
		b.WriteString(s.paint(yellow, shown(n)) + "\n")
	}
	return b.String() + missingNext(v)
}

func (s Style) missingDatabase(v MissingView, d api.MissingDatabase) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, written in %s, beside %s of workspace %s, which serves in %s\n", s.paint(bold, d.Name), d.Lost, d.Database, d.Workspace, d.Serves)
	if d.Error != "" {
		return b.String() + s.paint(red, "It could not be compared: "+shown(d.Error)) + "\n" + lineOf(shown(d.Hint))
	}
	b.WriteString(missingSaid(v, d) + "\n" + missingKnown(d) + "\n")
	if tables := s.missingTables(v, d); tables != "" {
		b.WriteString("\n" + tables)
	}
	b.WriteString(s.missingExamples(v.Examples[d.Name], d.Summary))
	if asides := s.missingAsides(v, d.Summary); asides != "" {
		b.WriteString("\n" + asides)
	}
	return b.String()
}

// lineOf ends a line that is not empty.
func lineOf(line string) string {
	if line == "" {
		return ""
	}
	return line + "\n"
}

// missingSaid is the outcome in a sentence.
func missingSaid(v MissingView, d api.MissingDatabase) string {
	sum := d.Summary
	switch {
	case !d.Compared && !d.Complete:
		return "Nothing is known to be missing."
	case v.Merged && (sum.Applied > 0 || sum.Conflicts > 0):
		text := fmt.Sprintf("%s merged in one transaction%s.", were(sum.Applied, "change"), settledAmong(sum))
		if sum.Conflicts > 0 {
			text += fmt.Sprintf(" %s left, where what is active stays.", are(sum.Conflicts, "conflict"))
		}
		return text
	case d.Missing() == 0:
		return "Nothing is missing." + alikeSaid(sum)
	}
	text := are(d.Missing(), "change") + " missing"
	if sum.Transactions > 0 {
		text += ", of " + counted(sum.Transactions, "transaction")
	}
	if n := sum.Conflicts - sum.Classes[missing.Held]; n > 0 {
		text += fmt.Sprintf("; %s with what was written since", conflict(n))
	}
	if n := sum.Classes[missing.Held]; n > 0 {
		text += fmt.Sprintf(", and %s held back with their transactions", are(n, "other"))
	}
	return text + "." + alikeSaid(sum)
}

// alikeSaid says how many rows both sides changed in the same way: whoever has counters looks at them.
func alikeSaid(sum missing.Summary) string {
	n := sum.Classes[missing.Alike]
	if n == 0 {
		return ""
	}
	return " " + are(n, "change") + " alike on both sides."
}

// settledAmong says how many of the changes that were merged had been conflicts.
func settledAmong(sum missing.Summary) string {
	n := -sum.Conflicts
	for class, count := range sum.Classes {
		if class.Conflict() {
			n += count
		}
	}
	if n <= 0 {
		return ""
	}
	return fmt.Sprintf(", %s among them settled", counted(n, "conflict"))
}

// missingKnown says up to where that is known, and whether more may come.
func missingKnown(d api.MissingDatabase) string {
	text := fmt.Sprintf("Known up to %s", d.Tip)
	if !d.Last.IsZero() {
		text += ", last commit " + Moment(d.Last)
	}
	switch {
	case d.Complete:
		return text + ". Nothing more will arrive."
	case d.Arrives != "":
		return text + ". More may arrive: " + shown(d.Arrives) + "."
	}
	return text + ". More may arrive."
}

func counted(n int64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func are(n int64, what string) string {
	if n == 1 {
		return "1 " + what + " is"
	}
	return counted(n, what) + " are"
}

func were(n int64, what string) string {
	if n == 1 {
		return "1 " + what + " was"
	}
	return counted(n, what) + " were"
}

func conflict(n int64) string {
	if n == 1 {
		return "1 conflicts"
	}
	return fmt.Sprintf("%d conflict", n)
}

// missingTables counts by table and class; only classes that there are get a column.
func (s Style) missingTables(v MissingView, d api.MissingDatabase) string {
	var rows [][]cell
	header, classes := []string{"TABLE", "INSERTED", "UPDATED", "DELETED"}, classesOf(v.Filter, d.Summary)
	for _, c := range classes {
		header = append(header, classHeader(c, v.Merged))
	}
	for _, t := range d.Summary.Tables {
		if !v.Filter.Table(t.Schema, t.Table) {
			continue
		}
		r := row(shown(t.Schema+"."+t.Table), number(t.Inserts), number(t.Updates), number(t.Deletes))
		for _, c := range classes {
			r = append(r, counter(c, t.Classes[c], v.Merged))
		}
		rows = append(rows, append(r, tinted(dim, foundHow[t.How])))
	}
	if len(rows) == 0 {
		return ""
	}
	return s.table(header, rows)
}

var foundHow = map[missing.How]string{missing.ByWhole: "compared as a whole", missing.Made: "made after the fork", missing.Dropped: "dropped after the fork"}

// classHeader is the name of a class; what was missing is not so any more after a merge.
func classHeader(c missing.Class, merged bool) string {
	if merged && c == missing.Missing {
		return "MERGED"
	}
	return strings.ToUpper(string(c))
}

func counter(c missing.Class, n int64, merged bool) cell {
	if n == 0 || merged && c == missing.Missing {
		return plain(number(n))
	}
	return tinted(classTint(c), number(n))
}

func number(n int64) string {
	if n == 0 {
		return "-"
	}
	return fmt.Sprint(n)
}

func classesOf(f api.MissingFilter, sum missing.Summary) (out []missing.Class) {
	for _, c := range missingClasses {
		there := slices.ContainsFunc(sum.Tables, func(t missing.TableSummary) bool { return f.Table(t.Schema, t.Table) && t.Classes[c.class] > 0 })
		if there && f.Class(c.class) {
			out = append(out, c.class)
		}
	}
	return out
}

// missingAsides is what has to be known besides: it is shown whatever was filtered.
func (s Style) missingAsides(v MissingView, sum missing.Summary) string {
	var b strings.Builder
	say := func(c colour, format string, args ...any) {
		b.WriteString(s.paint(c, fmt.Sprintf(format, args...)) + "\n")
	}
	for _, m := range sum.Sequences {
		verb := "would move on"
		if v.Merged {
			verb = "has moved on"
		}
		say(none, "Sequence %s %s from %d to %d.", shown(m.Schema+"."+m.Name), verb, m.From, m.To)
	}
	for _, p := range sum.Prepared {
		say(yellow, "%s", preparedText(p))
	}
	for _, d := range sum.Drift {
		say(yellow, "The schema is not the same: %s: %s.", shown(d.Object), shown(d.Text))
	}
	for _, d := range sum.Blind {
		say(yellow, "What cannot be seen: %s: %s.", shown(d.Object), shown(d.Reason))
	}
	if sum.Whole {
		say(yellow, "Whole tables were compared, since WAL of transactions that were open at the fork is not kept any more, or because it was asked for. Nothing was missed by that; it takes as long as tables are large.")
	}
	for _, n := range sum.Notes {
		say(yellow, "%s", shown(n))
	}
	return b.String()
}

// preparedText says what became of a transaction of two phases, with the command that does the same here.
func preparedText(p missing.PreparedSummary) string {
	name := fmt.Sprintf("transaction %d", p.XID)
	if p.GID != "" {
		name = fmt.Sprintf("%q", p.GID)
	}
	text := fmt.Sprintf("Prepared %s was %s in the region that was lost", name, p.Fate)
	if p.Fate == missing.InDoubt {
		text = fmt.Sprintf("Prepared %s was in doubt still in the region that was lost: nobody had ended it", name)
	}
	if p.AtFork {
		text += ", and waits in what serves, with its locks"
	}
	if p.Command != "" {
		return text + ". To do the same there: " + shown(p.Command)
	}
	return text + "."
}
