package render

import (
	"fmt"
	"strings"

	"github.com/smartdr/smartdr/internal/api"
	"github.com/smartdr/smartdr/internal/missing"
)

// MissingConsent writes what a merge would do, for somebody to agree to.
func MissingConsent(v MissingView, s Style) string {
	var b strings.Builder
	for i, d := range v.Databases {
		if i > 0 {
			b.WriteString("\n")
		}
		b.WriteString(s.missingDatabase(v, d))
	}
	b.WriteString("\nWhat would be done:\n")
	for _, d := range v.Databases {
		if d.Error != "" {
			continue
		}
		sum := d.Summary
		fmt.Fprintf(&b, "  %s merged into %s of workspace %s, in one transaction", are(sum.Applied, "change"), d.Database, d.Workspace)
		if len(sum.Sequences) > 0 {
			fmt.Fprintf(&b, ", and %s moved on", are(int64(len(sum.Sequences)), "sequence"))
		}
		if sum.Conflicts > 0 {
			fmt.Fprintf(&b, "; of %s what is active stays", counted(sum.Conflicts, "conflict"))
		}
		b.WriteString(". What leads back is kept.\n")
	}
	return b.String()
}

// Decided says what a file of decisions does, and what becomes of the conflicts that it does not name.
func Decided(d api.Decided, file string, otherwise missing.Policy) string {
	text := fmt.Sprintf("%s settles %s by what the lost region wrote, and %s by what is active.", file, counted(int64(d.Theirs), "conflict"), counted(int64(d.Kept), "conflict"))
	if d.Done > 0 {
		text += fmt.Sprintf(" %s settled by an earlier merge.", were(int64(d.Done), "other"))
	}
	if d.Undecided > 0 {
		what := "what is active stays"
		if otherwise == missing.Theirs {
			what = "the lost region's side is taken"
		}
		text += fmt.Sprintf(" %s not in it: %s.", are(int64(d.Undecided), "conflict"), what)
	}
	return text
}

// MissingProgress writes what a comparison does on one line; without its step, which was said before, only how far that is.
func MissingProgress(p api.MissingProgress, step bool) string {
	var text string
	if step {
		text = p.Doing
	}
	if p.Phase == "" {
		return text
	}
	far := p.Phase
	if p.Database != "" {
		far += ", " + shown(p.Database)
	}
	if p.Table != "" {
		far += ", " + shown(p.Table)
	}
	if p.Total > 0 {
		far += ": " + Percent(100*float64(p.Done)/float64(p.Total))
	}
	if text == "" {
		return "  " + far
	}
	return text + " (" + far + ")"
}
