package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"strings"
	"unicode/utf8"

	"github.com/smartdr/smartdr/internal/missing"
)

// planFormat is the version of a file of decisions.
const planFormat = 1

// planValue is how many bytes of a value stand in a plan: the rest does not help a person to decide.
const planValue = 200

const planHead = `# What to do about each conflict between what the lost region still wrote and what serves now, in group %[1]s.
#   decide: keep     what is active stays
#   decide: theirs   what the lost region wrote is taken; values: {column: "other"} puts something else into columns
# Nothing else is read of an entry but its id. An entry that is taken out leaves its conflict as it is, and so does keep.
# Long values are cut here with an ellipsis, not in the databases.
# Then: smartdr missing-rows %[1]s%[2]s --decisions THIS-FILE --apply
format: %[3]d
group: %[4]s
`

// MissingChanges are the changes of one database, as they are read.
type MissingChanges struct {
	Of      MissingDatabase
	Changes iter.Seq2[MissingChange, error]
}

// WritePlan writes each conflict with the decision to keep what is active, as YAML that a person edits. It returns how many there are.
func WritePlan(w io.Writer, group, args string, all []MissingChanges) (n int, err error) {
	if _, err := fmt.Fprintf(w, planHead, group, args, planFormat, quoted(group)); err != nil {
		return 0, err
	}
	if _, err := io.WriteString(w, "conflicts:\n"); err != nil {
		return 0, err
	}
	for _, of := range all {
		for c, err := range of.Changes {
			if err != nil {
				return n, err
			}
			if !c.Class.Conflict() || c.Class == missing.Held {
				continue
			}
			if _, err := io.WriteString(w, planEntryText(c)); err != nil {
				return n, err
			}
			n++
		}
	}
	if n == 0 {
		_, err = io.WriteString(w, "  []\n")
	}
	return n, err
}

func planEntryText(c MissingChange) string {
	var b strings.Builder
	fmt.Fprintf(&b, "  - id: %s\n    of: %s\n    table: %s\n    key: %s\n", quoted(c.ID), quoted(c.Of), quoted(c.Schema+"."+c.Table), flow(c.Key))
	fmt.Fprintf(&b, "    op: %s\n    class: %s\n", quoted(string(c.Op)), quoted(string(c.Class)))
	if c.Why != "" {
		fmt.Fprintf(&b, "    why: %s\n", quoted(c.Why))
	}
	fmt.Fprintf(&b, "    base: %s\n    theirs: %s\n    active: %s\n    decide: %s\n", flow(c.Base), flow(c.Theirs), flow(c.Active), missing.Keep)
	return b.String()
}

// flow writes a row as {"id": "7", "name": null}, and null for none.
func flow(r *Row) string {
	if r == nil {
		return "null"
	}
	var parts []string
	for i, column := range r.Columns {
		value := "null"
		if v := r.Values[i]; v != nil {
			value = quoted(cut(*v))
		}
		parts = append(parts, quoted(column)+": "+value)
	}
	return "{" + strings.Join(parts, ", ") + "}"
}

func cut(v string) string {
	if len(v) <= planValue {
		return v
	}
	end := planValue
	for end > 0 && !utf8.RuneStart(v[end]) {
		end--
	}
	return v[:end] + "…"
}

// quoted is a string as JSON and YAML both read it.
func quoted(s string) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(s) // a string can always be encoded
	return strings.TrimSuffix(b.String(), "\n")
}
