package workflows

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/smartdr/smartdr/internal/topology"
)

// statusDetails is a group's status in markdown, for the Temporal UI.
func statusDetails(s *topology.GroupStatus, failure string) string {
	var b strings.Builder
	if failure != "" {
		fmt.Fprintf(&b, "**The last look failed:** %s\n\n", failure)
	}
	if s == nil {
		return b.String() + "Not observed yet"
	}
	g := s.Group
	fmt.Fprintf(&b, "Serving: **%s**, replicated to **%s**, epoch %d\n\n", g.Active, g.Other(g.Active), g.Epoch)
	//workflowcheck:ignore the keys are sorted
	for _, region := range slices.Sorted(maps.Keys(s.Silent)) {
		fmt.Fprintf(&b, "- the bucket of %s does not answer: %s\n", region, s.Silent[region])
	}
	b.WriteString("| workspace | database | state | lag | recovery point |\n|---|---|---|---|---|\n")
	for _, w := range s.Workspaces {
		for _, d := range w.Databases {
			fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", w.Workspace, d.Database, stateText(d), lagText(d.Lag), d.Lag.LSN)
		}
	}
	return b.String()
}

func stateText(d topology.DatabaseStatus) string {
	switch {
	case d.State == topology.Pending:
		return fmt.Sprintf("Pending %.0f %%", d.Percent)
	case d.Reason != "":
		return string(d.State) + ": " + d.Reason
	}
	return string(d.State)
}

func lagText(l topology.Lag) string {
	if l.MeasuredAt.IsZero() {
		return ""
	}
	return fmt.Sprintf("%.1f s, %d B", l.Seconds, l.Bytes)
}

// operationDetails is an operation's account in markdown, for the Temporal UI.
func operationDetails(op topology.Operation) string {
	var b strings.Builder
	fmt.Fprintf(&b, "**%s** of %s from %s to **%s**: %s", op.Kind, op.Group, op.From, op.To, op.State)
	if op.Epoch > 0 {
		fmt.Fprintf(&b, ", epoch %d", op.Epoch)
	}
	if op.Error != "" {
		fmt.Fprintf(&b, "\n\n%s\n\n%s", op.Error, op.Hint)
	}
	b.WriteString("\n\n| phase | workspace | took | |\n|---|---|---|---|\n")
	for _, p := range op.Phases {
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", p.Name, p.Workspace, tookText(p), p.Note+p.Error)
	}
	for _, w := range op.Workspaces {
		fmt.Fprintf(&b, "\n- %s: recovery point %s, last commit %s", w.Workspace, w.Point.RecordEnd, w.Point.LastCommit.Format(time.RFC3339))
		switch {
		case w.Error != "":
			fmt.Fprintf(&b, "; **does not serve:** %s", w.Error)
		case w.Serves:
			b.WriteString("; serves")
			if w.Host != "" {
				b.WriteString(" on host " + w.Host)
			}
		}
	}
	return b.String()
}

func tookText(p topology.Phase) string {
	if p.EndedAt.IsZero() {
		return "under way"
	}
	return p.EndedAt.Sub(p.StartedAt).Round(10 * time.Millisecond).String()
}
