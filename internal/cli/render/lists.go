package render

import (
	"fmt"
	"strings"
	"time"

	"github.com/smartdr/smartdr/internal/api"
	"github.com/smartdr/smartdr/internal/topology"
)

// Regions writes the configured regions and whether they answer.
func Regions(regions []api.Region, style Style) string {
	var rows [][]cell
	for _, r := range regions {
		answer := tinted(green, "answers")
		if !r.Reachable {
			answer = tinted(red, "silent")
		}
		workers := "?"
		if r.Workers != nil {
			workers = fmt.Sprint(*r.Workers)
		}
		rows = append(rows, []cell{plain(r.Name), plain(r.Provider), plain(r.Bucket), plain(r.Endpoint), answer, plain(workers), plain(r.Error)})
	}
	return style.table([]string{"REGION", "PROVIDER", "BUCKET", "ENDPOINT", "STATE", "WORKERS", "ERROR"}, rows)
}

// Groups writes one line for each group.
func Groups(g api.Groups, style Style) string {
	if len(g.Groups) == 0 {
		return style.silent(g.Silent) + "No group yet: smartdr group create --help\n"
	}
	var rows [][]cell
	for _, group := range g.Groups {
		rows = append(rows, []cell{
			plain(group.Name), plain(group.Primary), plain(orDash(group.Secondary)), plain(group.Active),
			plain(fmt.Sprint(group.Epoch)), plain(fmt.Sprint(alive(group))), plain(busy(group)),
		})
	}
	return style.silent(g.Silent) + style.table([]string{"GROUP", "PRIMARY", "SECONDARY", "SERVES", "EPOCH", "WORKSPACES", "UNDER WAY"}, rows)
}

// alive counts the workspaces that are not terminated.
func alive(g topology.Group) (n int) {
	for _, w := range g.Workspaces {
		if w.State != topology.WorkspaceTerminated {
			n++
		}
	}
	return n
}

func busy(g topology.Group) string {
	switch {
	case g.State == topology.GroupTerminated:
		return string(g.State)
	case g.Operation == nil:
		return ""
	}
	return g.Operation.Kind
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// Preview writes what a failover now would bring back, and what it would lose.
func Preview(p api.FailoverPreview, now time.Time, style Style) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Failover of %s  %s → %s\n", style.paint(bold, p.Group), p.From, p.To)
	if p.Alive {
		b.WriteString(style.paint(red, "The serving region still seems alive: "+p.Evidence+".") + "\n")
	} else {
		fmt.Fprintf(&b, "The serving region seems lost: %s.\n", p.Evidence)
	}
	if !p.Ready {
		b.WriteString(style.paint(red, "It cannot be done: "+p.Problem+".") + "\n")
	}
	if p.Placement != "" {
		b.WriteString(style.paint(red, "It cannot be done: "+p.Placement+".") + "\n")
	}
	var rows [][]cell
	for _, w := range p.Workspaces {
		if w.Ready {
			rows = append(rows, previewRow(w, now))
		}
	}
	if len(rows) > 0 {
		b.WriteString("\n" + style.table([]string{"WORKSPACE", "DATABASES", "RECOVERY POINT", "LAST COMMIT", "KNOWN LOSS", "COMPLETE TO"}, rows))
		b.WriteString(placement(p))
		b.WriteString("\nWhat was committed after \"complete to\" may be lost; known loss is what had not arrived when it was last measured.\n")
	}
	return b.String()
}

// placement says where the workspaces would run, as far as that is known.
func placement(p api.FailoverPreview) string {
	var parts []string
	for _, w := range p.Workspaces {
		if w.Host != "" {
			parts = append(parts, w.Workspace+" on "+w.Host)
		}
	}
	if len(parts) == 0 {
		return ""
	}
	return "\nTo be placed in " + p.To + ": " + strings.Join(parts, ", ") + ".\n"
}

func previewRow(w api.WorkspacePreview, now time.Time) []cell {
	loss := fmt.Sprintf("%s, %s (measured %s)", Seconds(w.LagSeconds), Bytes(w.LagBytes), Ago(w.MeasuredAt, now))
	commit := Moment(w.Point.LastCommit)
	complete := Moment(w.Point.AsOf)
	if !w.Point.AsOf.IsZero() {
		complete += " (" + Ago(w.Point.AsOf, now) + ")"
	}
	return []cell{
		plain(w.Workspace), plain(strings.Join(w.Databases, ", ")), plain(w.Point.At.LSN.String()),
		plain(commit), tinted(yellow, loss), plain(complete),
	}
}
