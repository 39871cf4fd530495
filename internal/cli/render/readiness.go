package render

import (
	"fmt"
	"strings"
	"time"

	"github.com/smartdr/smartdr/internal/topology"
)

var readinessColours = map[topology.ReadinessState]colour{
	topology.ReadinessOK: green, topology.ReadinessWarning: yellow, topology.ReadinessBlocking: red,
}

// Readiness writes whether a failover would work now: a line for each check, and below what to do.
func Readiness(r topology.Readiness, style Style) string {
	var b strings.Builder
	b.WriteString(style.verdict(r) + "\n\n")
	var rows [][]cell
	for _, i := range r.Items {
		rows = append(rows, []cell{plain(orDash(i.Workspace)), plain(i.Check), tinted(readinessColours[i.State], string(i.State)), plain(i.Text)})
	}
	b.WriteString(style.table([]string{"WORKSPACE", "CHECK", "STATE", "FOUND"}, rows))
	b.WriteString(style.todo(r.Items))
	if len(r.Drift) > 0 {
		b.WriteString("\n" + style.paint(bold, plural(len(r.Drift), "difference")) + " between what the primary has and what a failover gives: smartdr readiness --drift\n")
	}
	return b.String()
}

func (s Style) verdict(r topology.Readiness) string {
	name := s.paint(bold, r.Group)
	if r.To != "" {
		name += " → " + r.To
	}
	switch r.State {
	case topology.ReadinessOK:
		return name + "  " + s.paint(green, "ready: a failover would work now")
	case topology.ReadinessWarning:
		return name + "  " + s.paint(yellow, "ready, with "+plural(count(r, topology.ReadinessWarning), "warning"))
	}
	return name + "  " + s.paint(red, "not ready: "+plural(count(r, topology.ReadinessBlocking), "check")+" in the way of a failover")
}

func count(r topology.Readiness, state topology.ReadinessState) (n int) {
	for _, i := range r.Items {
		if i.State == state {
			n++
		}
	}
	return n
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// todo lists what to do, the blocking first, each thing once.
func (s Style) todo(items []topology.ReadinessItem) string {
	var b strings.Builder
	said := map[string]bool{}
	for _, state := range []topology.ReadinessState{topology.ReadinessBlocking, topology.ReadinessWarning} {
		for _, i := range items {
			if i.State != state || i.Todo == "" || said[i.Check+i.Todo] {
				continue
			}
			said[i.Check+i.Todo] = true
			b.WriteString(s.paint(readinessColours[state], i.Check) + ": " + i.Todo + "\n")
		}
	}
	if b.Len() == 0 {
		return ""
	}
	return "\nTo do:\n" + b.String()
}

// Drift writes what would differ after a failover, item by item.
func Drift(r topology.Readiness, style Style) string {
	if len(r.Drift) == 0 {
		return "Nothing is known to differ between what the primary has and what a failover gives.\n"
	}
	var rows [][]cell
	for _, d := range r.Drift {
		rows = append(rows, row(d.Workspace, d.Kind, d.Name, orDash(d.Primary), orDash(d.Secondary), d.Text))
	}
	return style.table([]string{"WORKSPACE", "KIND", "NAME", "PRIMARY", "AFTER A FAILOVER", "WHY"}, rows)
}

// ReadinessLine sums up the last regular check in a line, for the status of a group; "" when there was none.
func ReadinessLine(r topology.Readiness, now time.Time, style Style) string {
	if r.CheckedAt.IsZero() {
		return ""
	}
	found := string(topology.ReadinessOK)
	var parts []string
	if n := count(r, topology.ReadinessBlocking); n > 0 {
		parts = append(parts, fmt.Sprintf("%d blocking", n))
	}
	if n := count(r, topology.ReadinessWarning); n > 0 {
		parts = append(parts, plural(n, "warning"))
	}
	if len(parts) > 0 {
		found = strings.Join(parts, ", ")
	}
	return "readiness: " + style.paint(readinessColours[r.State], found) + ", checked " + Ago(r.CheckedAt, now) + ": smartdr readiness --group " + r.Group + "\n"
}
