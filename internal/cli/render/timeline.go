package render

import (
	"fmt"
	"strings"
	"time"

	"github.com/smartdr/smartdr/internal/api"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/workflows"
)

// Timelines writes what can be restored of a group: windows, gaps, branches and restore points.
func Timelines(t api.Timelines, style Style) string {
	var b strings.Builder
	b.WriteString(style.windowTable(t))
	b.WriteString(style.gaps(t))
	b.WriteString(style.branchPoints(t.Branches))
	b.WriteString(style.restorePoints(t.Points))
	for _, n := range t.Notes {
		b.WriteString("\n" + style.paint(yellow, n) + "\n")
	}
	return b.String()
}

func (s Style) windowTable(t api.Timelines) string {
	var rows [][]cell
	for _, line := range t.Timelines {
		for _, w := range line.Windows {
			on := plain(w.Of)
			if w.Of == "serves" {
				on.colour = green
			}
			rows = append(rows, append(row(w.Workspace, w.Region, w.Lineage, Moment(w.FromTime), Moment(w.ToTime), w.From.LSN.String(), w.To.LSN.String(),
				fmt.Sprint(len(w.Snapshots))), on))
		}
	}
	if len(rows) == 0 {
		return "Nothing can be restored yet: there is no complete snapshot in a bucket that answers.\n"
	}
	return s.table([]string{"WORKSPACE", "REGION", "LINEAGE", "FROM", "TO", "FROM LSN", "TO LSN", "SNAPSHOTS", "GOES ON"}, rows)
}

func (s Style) gaps(t api.Timelines) string {
	var b strings.Builder
	for _, line := range t.Timelines {
		for _, g := range line.Gaps {
			head := fmt.Sprintf("Gap in %s, %s, lineage %s: %s to %s", g.Workspace, g.Region, g.Lineage, g.From.LSN, g.To.LSN)
			if !g.FromTime.IsZero() || !g.ToTime.IsZero() {
				head += fmt.Sprintf(" (%s to %s)", Moment(g.FromTime), Moment(g.ToTime))
			}
			b.WriteString("\n" + s.paint(red, head) + "\n  " + g.Reason + "\n")
		}
	}
	return b.String()
}

func (s Style) branchPoints(branches []topology.Branch) string {
	if len(branches) == 0 {
		return ""
	}
	var rows [][]cell
	for _, b := range branches {
		tip, _ := b.Tip()
		rows = append(rows, row(b.Name, b.Workspace, b.Region, b.Base.Lineage, b.Base.At.LSN.String(), Moment(b.Moment), tip))
	}
	return "\n" + s.table([]string{"BRANCH", "WORKSPACE", "REGION", "OF LINEAGE", "AT", "LAST COMMIT", "GOES ON IN"}, rows)
}

func (s Style) restorePoints(points []api.RestorePoint) string {
	if len(points) == 0 {
		return ""
	}
	var rows [][]cell
	for _, p := range points {
		rows = append(rows, row(p.Name, p.Workspace, p.Region, p.Lineage, p.At.String(), Moment(p.Time)))
	}
	return "\n" + s.table([]string{"RESTORE POINT", "WORKSPACE", "REGION", "LINEAGE", "AT", "MADE"}, rows)
}

// Search writes what a search found, with the command that restores it.
func Search(r workflows.SearchResult, group string, style Style) string {
	var b strings.Builder
	switch {
	case !r.Found:
		b.WriteString("The query returned no rows at any point that was looked at.\n")
	case r.NextLSN == "":
		fmt.Fprintf(&b, "The query returns rows up to the end of the range: %s, %s.\n", r.LastLSN, exactly(r.LastTime))
	default:
		b.WriteString(style.paint(bold, fmt.Sprintf("The query returned rows for the last time at %s, %s.", r.LastLSN, exactly(r.LastTime))) + "\n")
		fmt.Fprintf(&b, "They went away with the commit at %s, %s (transaction %d).\n", r.NextLSN, exactly(r.NextTime), r.NextXID)
		fmt.Fprintf(&b, "To look at it: smartdr branch create --group %s --at-lsn %s --attach\n", group, r.LastLSN)
	}
	for _, n := range r.Notes {
		b.WriteString(style.paint(dim, n) + "\n")
	}
	return b.String()
}

// exactly writes a moment to the microsecond, as a target takes it.
func exactly(t time.Time) string {
	if t.IsZero() {
		return "at which no commit is known"
	}
	return t.UTC().Format(time.RFC3339Nano)
}
