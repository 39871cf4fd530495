package render

import (
	"fmt"
	"strings"

	"github.com/smartdr/smartdr/internal/api"
)

// missingNext is what can be done now, as commands.
func missingNext(v MissingView) string {
	var lines [][2]string
	say := func(what, command string, args ...any) {
		lines = append(lines, [2]string{what, fmt.Sprintf(command, args...)})
	}
	rows := "smartdr missing-rows " + v.Group + v.Args
	switch {
	case v.Merged:
		v.afterMerge(rows, say)
	case v.Plan != "":
		say("edit "+v.Plan+", then merge by it", "%s --decisions %s --apply", rows, ShellWord(v.Plan))
	case v.Conflicts() > 0:
		say("merge what does not conflict", "%s --apply", rows)
		say("decide about each conflict", "%s --plan decisions.yaml", rows)
		say("take the lost region's side", "%s --apply --on-conflict theirs", rows)
	case v.Missing() > 0:
		say("merge them", "%s --apply", rows)
		say("see each of them", "%s -o csv", rows)
	}
	if v.Failed() > 0 {
		say("when that is put right", "%s", rows)
	}
	if v.receiving() {
		say("when more has arrived", "%s", rows)
	}
	return nextText(lines)
}

func (v MissingView) afterMerge(rows string, say func(what, command string, args ...any)) {
	if v.Conflicts() > 0 {
		say("decide about what is left", "%s --plan decisions.yaml", rows)
	}
	for _, d := range v.Databases {
		if d.Undo != "" && d.Summary.Applied > 0 {
			say("SQL that takes the merge of "+d.Database+" back", "smartdr missing-rows %s %s --undo", v.Group, nameOf(v, d))
		}
	}
	for _, d := range v.Databases {
		if d.Complete && d.Compared && d.Summary.Conflicts == 0 {
			say("nothing of "+d.Name+" is needed any more", "smartdr branch drop %s --group %s", nameOf(v, d), v.Group)
		}
	}
}

// nameOf is a system-managed database's name, with its workspace where another one has the same.
func nameOf(v MissingView, d api.MissingDatabase) string {
	for _, other := range v.Databases {
		if other.Name == d.Name && other.Workspace != d.Workspace {
			return ShellWord(d.Workspace + "/" + d.Name)
		}
	}
	return ShellWord(d.Name)
}

func (v MissingView) receiving() bool {
	for _, d := range v.Databases {
		if !d.Complete && d.Error == "" {
			return true
		}
	}
	return false
}

func nextText(lines [][2]string) string {
	if len(lines) == 0 {
		return ""
	}
	width := 0
	for _, l := range lines {
		width = max(width, len(l[0]))
	}
	var b strings.Builder
	b.WriteString("\nWhat now:\n")
	for _, l := range lines {
		fmt.Fprintf(&b, "  %-*s   %s\n", width, l[0], l[1])
	}
	return b.String()
}

// ShellWord is the name of a file as a shell, and then a program, takes it.
func ShellWord(w string) string {
	if strings.HasPrefix(w, "-") {
		w = "./" + w
	}
	plain := func(r rune) bool {
		return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("_-./:+@%,=", r)
	}
	if w != "" && strings.IndexFunc(w, func(r rune) bool { return !plain(r) }) < 0 {
		return w
	}
	return "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
}
