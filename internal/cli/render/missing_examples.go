package render

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"github.com/mattn/go-runewidth"

	"github.com/smartdr/smartdr/internal/api"
	"github.com/smartdr/smartdr/internal/missing"
)

const (
	valueWidth = 32 // of a value beside others
	lineWidth  = 96 // of all values of a row that stand on one line
)

// Examples returns the first n changes of each table and class that a filter chooses, grouped by these. What serves has, by itself or by a merge,
// is left out unless its class is asked for. It reads no further than needed.
func Examples(of api.MissingChanges, f api.MissingFilter, n int, merged bool) ([]api.MissingChange, error) {
	type group struct {
		schema, table string
		class         missing.Class
	}
	wanted, left := map[group]int64{}, int64(0)
	for _, t := range of.Of.Summary.Tables {
		for class, count := range t.Classes {
			there := class == missing.Same || merged && class == missing.Missing
			if f.Table(t.Schema, t.Table) && f.Class(class) && (!there || len(f.Classes) > 0) {
				wanted[group{t.Schema, t.Table, class}] = min(count, int64(n))
				left += min(count, int64(n))
			}
		}
	}
	var out []api.MissingChange
	if left == 0 {
		return nil, nil
	}
	for c, err := range of.Changes {
		if err != nil {
			return nil, err
		}
		if g := (group{c.Schema, c.Table, c.Class}); wanted[g] > 0 {
			wanted[g]--
			left--
			out = append(out, c)
		}
		if left == 0 {
			break
		}
	}
	grouped(out)
	return out, nil
}

// grouped sorts changes by table, as they come, and within one by class.
func grouped(changes []api.MissingChange) {
	tables := map[[2]string]int{}
	for _, c := range changes {
		if at := [2]string{c.Schema, c.Table}; tables[at] == 0 {
			tables[at] = len(tables) + 1
		}
	}
	slices.SortStableFunc(changes, func(a, b api.MissingChange) int {
		return cmp.Or(cmp.Compare(tables[[2]string{a.Schema, a.Table}], tables[[2]string{b.Schema, b.Table}]), cmp.Compare(classRank(a.Class), classRank(b.Class)))
	})
}

func classRank(c missing.Class) int {
	for i, known := range missingClasses {
		if known.class == c {
			return i
		}
	}
	return len(missingClasses)
}

// missingExamples writes a few changes of each table and class.
func (s Style) missingExamples(changes []api.MissingChange, sum missing.Summary) string {
	var b strings.Builder
	for len(changes) > 0 {
		first := changes[0]
		n := slices.IndexFunc(changes, func(c api.MissingChange) bool {
			return c.Schema != first.Schema || c.Table != first.Table || c.Class != first.Class
		})
		if n < 0 {
			n = len(changes)
		}
		b.WriteString("\n" + s.paint(bold, shown(first.Schema+"."+first.Table)) + "  " + s.paint(classTint(first.Class), string(first.Class)) + ", " + exampleCount(n, first, sum))
		b.WriteString(": " + meaning(first.Class) + "\n")
		for _, c := range changes[:n] {
			b.WriteString(s.missingChange(c))
		}
		changes = changes[n:]
	}
	return b.String()
}

func exampleCount(n int, c api.MissingChange, sum missing.Summary) string {
	for _, t := range sum.Tables {
		if all := t.Classes[c.Class]; t.Schema == c.Schema && t.Table == c.Table && all > int64(n) {
			return fmt.Sprintf("%d of %d", n, all)
		}
	}
	return fmt.Sprint(n)
}

func meaning(c missing.Class) string {
	for _, known := range missingClasses {
		if known.class == c {
			return known.means
		}
	}
	return string(c)
}

// missingChange writes one change: what happened, and then the versions of the row.
func (s Style) missingChange(c api.MissingChange) string {
	var b strings.Builder
	b.WriteString("  " + keyText(c.Key) + string(c.Op) + changedBy(c) + merged(c) + "\n")
	if c.Class.Conflict() && c.Why != "" {
		b.WriteString("    " + shown(c.Why) + "\n")
	}
	switch {
	case (c.Class.Conflict() || c.Class == missing.Kept) && c.Class != missing.Held && len(c.Differs) > 0:
		b.WriteString(s.versions(c))
	case c.Op == missing.Update:
		b.WriteString("    " + clip(updates(c), lineWidth) + "\n")
	default:
		if values := rowText(c); values != "" {
			b.WriteString("    " + clip(values, lineWidth) + "\n")
		}
	}
	return b.String()
}

func keyText(key *api.Row) string {
	if key == nil || len(key.Columns) == 0 {
		return ""
	}
	return clip(pairs(key), lineWidth) + "  "
}

func changedBy(c api.MissingChange) string {
	if c.Commit == nil {
		return ", transaction not known"
	}
	return fmt.Sprintf(" by transaction %d, %s, %s", c.Transaction(), c.Commit.Time.UTC().Format("2006-01-02 15:04:05.000 UTC"), c.Commit.LSN)
}

// merged says of a conflict that it is settled.
func merged(c api.MissingChange) string {
	switch {
	case !c.Applied || !c.Class.Conflict():
		return ""
	case c.Written != nil:
		return "; settled by other values"
	}
	return "; settled: theirs is taken"
}

// updates writes what an update changed, as "balance 1000 → 950".
func updates(c api.MissingChange) string {
	if c.Base == nil || c.Theirs == nil {
		return ""
	}
	var parts []string
	for i, column := range c.Theirs.Columns {
		if from, to := c.Base.Values[i], c.Theirs.Values[i]; !same(from, to) {
			parts = append(parts, fmt.Sprintf("%s %s → %s", shown(column), clip(value(from), valueWidth), clip(value(to), valueWidth)))
		}
	}
	return strings.Join(parts, ", ")
}

// rowText writes the one version of an inserted or deleted row, without its key.
func rowText(c api.MissingChange) string {
	row := c.Theirs
	if row == nil {
		row = c.Base
	}
	if row == nil {
		return ""
	}
	rest := &api.Row{}
	for i, column := range row.Columns {
		if c.Key == nil || !slices.Contains(c.Key.Columns, column) {
			rest.Columns, rest.Values = append(rest.Columns, column), append(rest.Values, row.Values[i])
		}
	}
	return pairs(rest)
}

func pairs(r *api.Row) string {
	var parts []string
	for i, column := range r.Columns {
		parts = append(parts, shown(column)+"="+clip(value(r.Values[i]), valueWidth))
	}
	return strings.Join(parts, " ")
}

// versions writes the three versions of a row beside each other, of the columns that differ. What a side changed has a star.
func (s Style) versions(c api.MissingChange) string {
	var rows [][]cell
	for _, column := range c.Differs {
		rows = append(rows, []cell{
			plain("    " + shown(column)), plain(versionValue(c.Base, column)), s.changed(c.Base, c.Theirs, column), s.changed(c.Base, c.Active, column),
		})
	}
	return s.table([]string{"    COLUMN", "AT THE FORK", "THEIRS", "ACTIVE"}, rows)
}

// changed is a side's value, with a star where it is not what there was at the fork.
func (s Style) changed(base, side *api.Row, column string) cell {
	text := versionValue(side, column)
	if base == nil && side == nil || base != nil && side != nil && same(valueOf(base, column), valueOf(side, column)) {
		return plain(text)
	}
	return tinted(yellow, text+" *")
}

func versionValue(r *api.Row, column string) string {
	if r == nil {
		return "(no row)"
	}
	return clip(value(valueOf(r, column)), valueWidth)
}

func valueOf(r *api.Row, column string) *string {
	if i := slices.Index(r.Columns, column); i >= 0 {
		return r.Values[i]
	}
	return nil
}

func same(a, b *string) bool { return a == b || a != nil && b != nil && *a == *b }

// value writes a value so that it cannot be taken for NULL, for nothing, or for a command to the terminal.
func value(v *string) string {
	switch {
	case v == nil:
		return "NULL"
	case *v == "" || *v == "NULL" || strings.TrimSpace(*v) != *v || shown(*v) != *v:
		return fmt.Sprintf("%q", *v)
	}
	return *v
}

// shown is text of a database that is safe to print.
func shown(text string) string {
	if strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
		quoted := fmt.Sprintf("%q", text)
		return quoted[1 : len(quoted)-1]
	}
	return text
}

func clip(text string, width int) string { return runewidth.Truncate(text, width, "…") }
