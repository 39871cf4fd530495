package render

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/smartdr/smartdr/internal/api"
	"github.com/smartdr/smartdr/internal/topology"
)

var workspaceColours = map[string]colour{
	api.WorkspaceActive: green, api.WorkspaceMissing: red, string(topology.WorkspaceSuspended): dim, string(topology.WorkspaceTerminated): dim,
}

// workspaceState writes a state in its colour; those without one are on their way to another.
func workspaceState(state string) cell {
	if c, ok := workspaceColours[state]; ok {
		return tinted(c, state)
	}
	return tinted(yellow, state)
}

// Workspaces writes one line for each workspace.
func Workspaces(all []api.Workspace, style Style) string {
	if len(all) == 0 {
		return "No workspace: smartdr workspace create --help\n"
	}
	var rows [][]cell
	for _, w := range all {
		rows = append(rows, []cell{
			plain(w.Name), plain(orDash(string(w.Kind))), workspaceState(w.State), plain(orDash(w.Size.String())), plain(w.Region),
			plain(orDash(w.Host)), plain(hosts(w.Endpoint)), plain(w.Reason),
		})
	}
	return style.table([]string{"WORKSPACE", "KIND", "STATE", "SIZE", "REGION", "HOST", "ENDPOINT", "REASON"}, rows)
}

// Workspace writes one workspace with its settings and access rules.
func Workspace(w api.Workspace, style Style) string {
	var b strings.Builder
	say := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&b, "%-9s  %s\n", name, value)
		}
	}
	state := workspaceState(w.State)
	say("Workspace", style.paint(bold, w.Name)+" of group "+w.Group)
	say("State", style.paint(state.colour, state.text))
	say("Reason", w.Reason)
	say("Kind", string(w.Kind))
	say("Size", measures(w.Size))
	say("Region", w.Region)
	say("Host", w.Host)
	say("Folder", w.Instance)
	say("Endpoint", hosts(w.Endpoint))
	say("Lineage", w.Lineage)
	b.WriteString(lines("Settings", assigned(w.Settings)) + lines("Access rules (pg_hba.conf), before those of the firewall", w.HBA) + lines("User name maps (pg_ident.conf)", w.Ident))
	return b.String()
}

// measures writes a size with what it stands for.
func measures(s topology.Size) string {
	if s.Name == "" {
		return s.String()
	}
	return fmt.Sprintf("%s (%s, %g CPUs)", s.Name, Bytes(s.MemoryBytes), s.CPUs)
}

func assigned(settings map[string]string) (all []string) {
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		all = append(all, name+" = "+settings[name])
	}
	return all
}

// lines writes a list under a heading; nothing when it is empty.
func lines(heading string, all []string) string {
	if len(all) == 0 {
		return ""
	}
	return "\n" + heading + "\n  " + strings.Join(all, "\n  ") + "\n"
}

// Termination writes what terminating something would remove, and what stays.
func Termination(t api.Termination, style Style) string {
	what := "group " + style.paint(bold, t.Group)
	if t.Workspace != "" {
		what = "workspace " + style.paint(bold, t.Workspace) + " of group " + t.Group
	}
	return "Terminating " + what + lines("\nRemoved for good", t.Removed) + lines("Stays", t.Stays)
}
