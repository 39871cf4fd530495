package render

import (
	"fmt"
	"strings"
	"time"

	"github.com/smartdr/smartdr/internal/topology"
)

var operationColours = map[topology.OperationState]colour{
	topology.OperationActive: yellow, topology.OperationCompleted: green, topology.OperationFailed: red,
	topology.OperationReverted: yellow, topology.OperationCanceled: yellow,
}

// Operations writes a group's history, one line for each operation.
func Operations(ops []topology.Operation, now time.Time, style Style) string {
	if len(ops) == 0 {
		return "No operation yet.\n"
	}
	var rows [][]cell
	for _, op := range ops {
		rows = append(rows, []cell{
			plain(op.ID), plain(op.Kind), tinted(operationColours[op.State], string(op.State)),
			plain(op.From + " → " + op.To), plain(Moment(op.StartedAt)), plain(Duration(ended(op.EndedAt, now).Sub(op.StartedAt))),
			plain(op.Error),
		})
	}
	return style.table([]string{"ID", "KIND", "STATE", "REGIONS", "STARTED", "TOOK", "ERROR"}, rows)
}

// Operation writes the account of one operation: its phases with timings, and what it brought back.
func Operation(op topology.Operation, now time.Time, style Style) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s of %s  %s → %s  %s\n", op.Kind, op.ID, style.paint(bold, op.Group), op.From, op.To,
		style.paint(operationColours[op.State], string(op.State)))
	fmt.Fprintf(&b, "Started %s, took %s", Moment(op.StartedAt), Duration(ended(op.EndedAt, now).Sub(op.StartedAt)))
	if op.Epoch > 0 {
		fmt.Fprintf(&b, ", epoch %d", op.Epoch)
	}
	b.WriteString("\n\n" + style.phases(op, now))
	for _, w := range op.Workspaces {
		switch {
		case w.Serves || op.State == topology.OperationCompleted:
			b.WriteString("\n" + style.recovered(w))
		case w.Error != "":
			b.WriteString("\n" + style.down(w))
		}
	}
	b.WriteString(style.account(op, now))
	if op.Error != "" {
		b.WriteString("\n" + style.paint(red, "error: "+op.Error) + "\n")
	}
	if op.Hint != "" {
		b.WriteString("hint: " + op.Hint + "\n")
	}
	return b.String()
}

func (s Style) phases(op topology.Operation, now time.Time) string {
	var rows [][]cell
	for _, p := range op.Phases {
		mark, text := tinted(green, "✓"), p.Note
		switch {
		case p.Error != "":
			mark, text = tinted(red, "✗"), shortened(p.Error)
		case p.EndedAt.IsZero():
			mark = tinted(yellow, "…")
		}
		rows = append(rows, []cell{
			mark, plain(p.Name), plain(p.Workspace), plain("+" + Duration(p.StartedAt.Sub(op.StartedAt))),
			plain(Duration(ended(p.EndedAt, now).Sub(p.StartedAt))), plain(text),
		})
	}
	return s.table([]string{" ", "PHASE", "WORKSPACE", "AT", "TOOK", "NOTE"}, rows)
}

// shortened keeps an error within a table's line; the operation's own error says all of it.
func shortened(text string) string {
	const most = 60
	if r := []rune(text); len(r) > most {
		return string(r[:most]) + "…"
	}
	return text
}

// Phase writes one line for a phase, for output that only grows.
func Phase(p topology.Phase, now time.Time, style Style) string {
	name := p.Name
	if p.Workspace != "" {
		name += " " + p.Workspace
	}
	switch {
	case p.Error != "":
		return fmt.Sprintf("%s %s: %s", style.paint(red, "✗"), name, p.Error)
	case p.EndedAt.IsZero():
		return fmt.Sprintf("%s %s", style.paint(yellow, "…"), strings.TrimSpace(name+"  "+p.Note))
	}
	line := fmt.Sprintf("%s %s  %s", style.paint(green, "✓"), name, Duration(p.EndedAt.Sub(p.StartedAt)))
	if p.Note != "" {
		line += "  " + p.Note
	}
	return line
}

func (s Style) recovered(w topology.Recovered) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Workspace %s is back at %s of lineage %s\n", s.paint(bold, w.Workspace), w.Point.At.LSN, w.Point.Lineage)
	fmt.Fprintf(&b, "  last commit  %s\n", Moment(w.Point.LastCommit))
	fmt.Fprintf(&b, "  complete to  %s\n", Moment(w.Point.AsOf))
	if w.Loss != nil {
		b.WriteString(lost(w.Loss))
	}
	fmt.Fprintf(&b, "  databases    %s\n", strings.Join(w.Databases, ", "))
	fmt.Fprintf(&b, "  endpoint     %s\n", hosts(w.Endpoint))
	if w.Host != "" {
		fmt.Fprintf(&b, "  host         %s\n", w.Host)
	}
	if w.Moved != nil {
		fmt.Fprintf(&b, "  moved        %s\n", movedText(*w.Moved))
	}
	return b.String() + s.notes(w.Notes)
}

// notes writes what somebody has to see to before what is good to know.
func (s Style) notes(all []string) string {
	var urgent, others strings.Builder
	for _, n := range all {
		if todo, ok := strings.CutPrefix(n, "needs attention: "); ok {
			fmt.Fprintf(&urgent, "  %s    %s\n", s.paint(yellow, "attention"), todo)
			continue
		}
		fmt.Fprintf(&others, "  note         %s\n", n)
	}
	return urgent.String() + others.String()
}

// down says why a workspace does not serve.
func (s Style) down(w topology.Recovered) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Workspace %s %s: %s\n", s.paint(bold, w.Workspace), s.paint(red, "does not serve"), w.Error)
	if w.Host != "" {
		fmt.Fprintf(&b, "  host         %s\n", w.Host)
	}
	if w.Hint != "" {
		fmt.Fprintf(&b, "  hint         %s\n", w.Hint)
	}
	return b.String()
}

func hosts(e topology.Endpoint) string {
	var parts []string
	for _, h := range e.Hosts {
		parts = append(parts, fmt.Sprintf("%s:%d", h.Host, h.Port))
	}
	if len(parts) == 0 {
		return "-"
	}
	return strings.Join(parts, ", ")
}

func ended(t, now time.Time) time.Time {
	if t.IsZero() {
		return now
	}
	return t
}

// PhaseNow writes what stands beside a phase that is under way.
func PhaseNow(p topology.Phase, now time.Time) string {
	return strings.TrimSpace(Duration(now.Sub(p.StartedAt)) + "  " + p.Note)
}

// PhaseKey changes when a line about a phase is worth printing: with its begin, each tenth of the way, and its end.
func PhaseKey(p topology.Phase) string {
	if !p.EndedAt.IsZero() || p.Error != "" {
		return "ended"
	}
	var percent int
	if _, err := fmt.Sscanf(p.Note, "%d%%", &percent); err != nil {
		return "begun"
	}
	return fmt.Sprint("begun", percent/10)
}
