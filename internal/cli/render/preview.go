package render

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/smartdr/smartdr/internal/api"
	"github.com/smartdr/smartdr/internal/topology"
)

// Forecast writes what a failover would do.
func Forecast(f api.FailoverForecast, now time.Time, style Style) string {
	var b strings.Builder
	b.WriteString(heading(f, style))
	var rows [][]cell
	for _, w := range f.Details {
		if w.Error == "" {
			rows = append(rows, forecastRow(w, now))
		}
	}
	if len(rows) > 0 {
		b.WriteString("\n" + style.table([]string{"WORKSPACE", "POINT", "LAST COMMIT", "COMPLETE TO", "WOULD LOSE", "HOST"}, rows))
	}
	for _, w := range f.Details {
		b.WriteString(style.details(w))
	}
	if len(rows) > 0 {
		fmt.Fprintf(&b, "\nIt would take about %s, %s.\n", Seconds(f.Seconds), f.How)
	}
	return b.String() + "Nothing was changed.\n"
}

// heading says between which regions, and what is in the way.
func heading(f api.FailoverForecast, style Style) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Failover of %s  %s → %s  to %s\n", style.paint(bold, f.Group), f.From, f.To, f.Choice)
	if f.Alive {
		b.WriteString(style.paint(red, "The serving region still seems alive: "+f.Evidence+".") + "\n")
	} else {
		fmt.Fprintf(&b, "The serving region seems lost: %s.\n", f.Evidence)
	}
	if why := cmp.Or(f.Refused, f.Problem); why != "" {
		b.WriteString(style.paint(red, "It would be refused: "+why+".") + "\n")
	}
	if f.Hint != "" {
		b.WriteString("hint: " + f.Hint + "\n")
	}
	if f.Placement != "" {
		b.WriteString(style.paint(red, "It cannot be done: "+f.Placement+".") + "\n")
	}
	return b.String()
}

func forecastRow(w api.WorkspaceForecast, now time.Time) []cell {
	complete := Moment(w.Point.AsOf)
	if !w.Point.AsOf.IsZero() {
		complete += " (" + Ago(w.Point.AsOf, now) + ")"
	}
	return []cell{plain(w.Workspace), plain(w.Point.RecordEnd.String()), plain(Moment(w.Point.LastCommit)), plain(complete),
		tinted(yellow, lossLine(w.Loss)), plain(cmp.Or(w.Host, "-"))}
}

// details writes what of a workspace does not fit into a table's line.
func (s Style) details(w api.WorkspaceForecast) string {
	var b strings.Builder
	fmt.Fprintf(&b, "\nWorkspace %s\n", s.paint(bold, w.Workspace))
	if w.Error != "" {
		return b.String() + s.paint(red, "  would not come back: "+w.Error) + "\n"
	}
	fmt.Fprintf(&b, "  databases    %s\n", strings.Join(w.Databases, ", "))
	if w.Standby != nil {
		fmt.Fprintf(&b, "  by           its standby on %s, in about %s\n", w.Standby.Host, Seconds(w.Seconds))
	} else {
		fmt.Fprintf(&b, "  by           snapshot %s: %s of files and %s of WAL, in about %s\n", w.Snapshot, Bytes(w.SnapshotBytes), Bytes(w.WALBytes), Seconds(w.Seconds))
	}
	b.WriteString(lost(w.Loss))
	return b.String() + s.notes(w.Notes)
}

// lossLine is a loss in a line.
func lossLine(l *topology.Loss) string {
	if l == nil {
		return "not known"
	}
	text := fmt.Sprintf("%s, %s, %d transactions", Seconds(l.Seconds), Bytes(l.Bytes), l.Transactions)
	switch {
	case l.Bytes == 0 && l.AtLeast:
		return "nothing that is known of"
	case l.Bytes == 0:
		return "nothing"
	case l.AtLeast:
		return text + " or more"
	}
	return text
}

// lost says what would be, or was, lost of each database.
func lost(l *topology.Loss) string {
	if l == nil {
		return "  loss         not known: nothing was heard of the serving side\n"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "  loss         %s\n", lossLine(l))
	for _, name := range slices.Sorted(maps.Keys(l.Databases)) {
		fmt.Fprintf(&b, "               %s: %d transactions\n", name, l.Databases[name])
	}
	if l.UnknownBytes > 0 {
		fmt.Fprintf(&b, "               %s of it are in no bucket that answers: what is in them cannot be counted\n", Bytes(l.UnknownBytes))
	}
	if l.AtLeast {
		b.WriteString("               the side that served may have written more since it last announced; that stays in its own lineage\n")
	}
	return b.String()
}
