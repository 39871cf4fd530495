package render

import (
	"fmt"
	"strings"
	"time"

	"github.com/smartdr/smartdr/internal/api"
	"github.com/smartdr/smartdr/internal/topology"
)

// Window writes a window in its largest whole unit.
func Window(minutes int) string {
	switch {
	case minutes%(24*60) == 0:
		return fmt.Sprintf("%dd", minutes/(24*60))
	case minutes%60 == 0:
		return fmt.Sprintf("%dh", minutes/60)
	}
	return fmt.Sprintf("%dm", minutes)
}

// sweptMoment is how moments of retention are written.
func sweptMoment(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format("2006-01-02 15:04:05 UTC")
}

// Retention writes what the regions of a group keep.
func Retention(r api.Retention, s Style) string {
	var rows [][]cell
	for _, one := range r.Regions {
		last, from, holds := one.Note, "-", "-"
		if one.Last != nil {
			last, holds = sweptMoment(one.Last.At), Bytes(sumOf(one.Last.Kept).Bytes)
			var parts []string
			for _, w := range one.Last.Workspaces {
				parts = append(parts, w.Workspace+" "+sweptMoment(w.From))
			}
			from = strings.Join(parts, ", ")
			if one.Last.Error != "" {
				last += " (failed)"
			}
		}
		rows = append(rows, row(one.Region, Window(one.WindowMinutes), one.Snapshots, holds, last, from))
	}
	out := s.table([]string{"REGION", "WINDOW", "SNAPSHOTS", "HOLDS", "LAST LOOKED THROUGH", "RESTORABLE FROM"}, rows)
	for _, one := range r.Regions {
		if one.Last != nil && one.Last.Error != "" {
			out += fmt.Sprintf("\n%s: %s %s\n", one.Region, one.Last.Error, one.Last.Hint)
		}
	}
	return out
}

func sumOf(kinds map[string]topology.StoredKind) (sum topology.StoredKind) {
	for _, k := range kinds {
		sum.Objects, sum.Bytes = sum.Objects+k.Objects, sum.Bytes+k.Bytes
	}
	return sum
}

var sweptKinds = []string{topology.SweptManifests, topology.SweptPacks, topology.SweptWAL, topology.SweptOther}

// Swept writes what one round of retention did, or would do.
func Swept(r topology.Swept, s Style) string {
	var b strings.Builder
	verb := "went"
	if r.DryRun {
		verb = "would go"
	}
	fmt.Fprintf(&b, "%s  a window of %s\n\n", s.paint(bold, r.Region), Window(r.WindowMinutes))
	var rows [][]cell
	for _, kind := range sweptKinds {
		rows = append(rows, row(kind, fmt.Sprint(r.Gone[kind].Objects), Bytes(r.Gone[kind].Bytes), fmt.Sprint(r.Kept[kind].Objects), Bytes(r.Kept[kind].Bytes)))
	}
	b.WriteString(s.table([]string{"KIND", strings.ToUpper(verb), "BYTES", "STAY", "BYTES"}, rows))
	if r.Later.Objects > 0 {
		fmt.Fprintf(&b, "\n%d objects of packs that nothing needs, %s, go in a later round.\n", r.Later.Objects, Bytes(r.Later.Bytes))
	}
	if r.Anew.Objects > 0 {
		fmt.Fprintf(&b, "\n%d packs are written anew with what is needed of them, which frees %s later.\n", r.Anew.Objects, Bytes(r.Anew.Bytes))
	}
	for _, name := range r.Dropped {
		fmt.Fprintf(&b, "\nSystem-managed database %s: its time is over.\n", name)
	}
	for _, w := range r.Workspaces {
		fmt.Fprintf(&b, "\nWorkspace %s can be restored from %s on.\n", w.Workspace, sweptMoment(w.From))
		for _, note := range w.Notes {
			fmt.Fprintf(&b, "  %s\n", note)
		}
		for _, key := range w.Unknown {
			fmt.Fprintf(&b, "    %s\n", key)
		}
	}
	return b.String()
}

// Snapshots writes a list of snapshots.
func Snapshots(found api.Snapshots, s Style) string {
	var rows [][]cell
	for _, m := range found.Snapshots {
		rows = append(rows, row(m.Workspace, m.ID, m.Lineage, m.End, sweptMoment(m.CompletedAt), Bytes(m.Bytes), strings.Join(m.Regions, ", ")))
	}
	if len(rows) == 0 {
		return "There are no snapshots yet.\n"
	}
	return s.table([]string{"WORKSPACE", "SNAPSHOT", "LINEAGE", "CONSISTENT AT", "COMPLETED", "RESTORED", "IN"}, rows)
}
