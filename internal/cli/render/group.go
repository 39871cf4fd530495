package render

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/smartdr/smartdr/internal/api"
	"github.com/smartdr/smartdr/internal/topology"
)

// Group writes one group with its workspaces.
func Group(g topology.Group, style Style) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Group      %s\n", style.paint(bold, g.Name))
	fmt.Fprintf(&b, "Primary    %s\n", g.Primary)
	fmt.Fprintf(&b, "Secondary  %s\n", orDash(g.Secondary))
	fmt.Fprintf(&b, "Serves     %s\n", g.Active)
	fmt.Fprintf(&b, "Epoch      %d\n", g.Epoch)
	fmt.Fprintf(&b, "SmartDR    %s\n", onOff(g.SmartDR))
	fmt.Fprintf(&b, "Firewall   %s\n", firewall(g.Firewall))
	fmt.Fprintf(&b, "Databases  %s\n", chosen(g.Replication))
	fmt.Fprintf(&b, "Self-fence %s\n", selfFence(g.SelfFenceAfter))
	fmt.Fprintf(&b, "Sequences  %s\n", sequenceGap(g.Gap()))
	if g.Preprovision != nil {
		fmt.Fprintf(&b, "Standbys   kept in %s since %s\n", g.Other(g.Active), Moment(g.Preprovision.Since))
	}
	fmt.Fprintf(&b, "Created    %s\n", Moment(g.CreatedAt))
	if g.Operation != nil {
		fmt.Fprintf(&b, "Under way  %s %s since %s\n", g.Operation.Kind, g.Operation.ID, Moment(g.Operation.StartedAt))
	}
	var rows [][]cell
	var over []string
	for _, w := range g.Workspaces {
		if w.State == topology.WorkspaceTerminated {
			over = append(over, w.Name)
			continue
		}
		for _, region := range sitesOf(g, w) {
			s, there := w.Sites[region]
			if kept := w.Reservations[region]; !there {
				s.Host, s.Endpoint = kept.Host, kept.Endpoint
			}
			rows = append(rows, []cell{
				plain(w.Name), plain(region), plain(orDash(string(s.Kind))), siteState(g, w, region), plain(orDash(w.Size.String())),
				plain(orDash(s.Host)), plain(hosts(s.Endpoint)),
			})
		}
	}
	b.WriteString("\n" + style.table([]string{"WORKSPACE", "REGION", "KIND", "STATE", "SIZE", "HOST", "ENDPOINT"}, rows))
	if len(over) > 0 {
		b.WriteString("\nTerminated  " + strings.Join(over, ", ") + "\n")
	}
	return b.String()
}

// Choice writes what of a group is replicated, and where to.
func Choice(g topology.Group) string {
	return fmt.Sprintf("%s is replicated from %s to %s; databases: %s\n", g.Name, g.Active, g.Other(g.Active), chosen(g.Replication))
}

func chosen(r *topology.Replication) string {
	switch {
	case r == nil:
		return "- (replication is not configured)"
	case len(r.Databases) == 0:
		return "all, present and future"
	}
	return strings.Join(r.Databases, ", ")
}

// sitesOf returns the regions that have something to say of a workspace: those with a server of it or a place that is kept, and
// the one that serves, also when it has none.
func sitesOf(g topology.Group, w topology.Workspace) []string {
	var regions []string
	for _, r := range []string{g.Primary, g.Secondary} {
		_, there := w.Sites[r]
		_, kept := w.Reservations[r]
		if (there || kept || r == g.Active) && !slices.Contains(regions, r) {
			regions = append(regions, r)
		}
	}
	return regions
}

func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off (no replication, no branches)"
}

func selfFence(seconds int) string {
	if seconds == 0 {
		return "off"
	}
	return "after " + Duration(time.Duration(seconds)*time.Second) + " without an answer from the other region's bucket or Temporal"
}

func sequenceGap(gap int64) string {
	if gap == 0 {
		return "stay where they are in a failover"
	}
	return fmt.Sprintf("are moved ahead by %d values in a failover", gap)
}

func firewall(f topology.Firewall) string {
	switch {
	case f.AllowAll:
		return "open to all"
	case f.IsZero():
		return "- (the servers' own rules decide)"
	case len(f.Ranges) == 0:
		return "nobody by network"
	}
	return strings.Join(f.Ranges, ", ")
}

// siteState says what a workspace's server in a region does: only in one region does it serve.
func siteState(g topology.Group, w topology.Workspace, region string) cell {
	_, placed := w.Sites[region]
	switch {
	case w.State != topology.WorkspaceActive:
		return workspaceState(string(w.State))
	case region != g.Active && !placed:
		return tinted(dim, "kept") // the address, for a server to come
	case region != g.Active:
		return tinted(dim, "left")
	case !placed:
		return workspaceState(api.WorkspaceMissing)
	}
	return workspaceState(api.WorkspaceActive)
}
