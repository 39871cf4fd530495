package topology

import "slices"

// Wanted is a place to keep for a workspace.
type Wanted struct {
	Workspace string `json:"workspace"`
	Region    string `json:"region"`
	Host      string `json:"host"`           // empty until it is chosen
	Port      int    `json:"port,omitempty"` // the one that its server there has; 0: any
}

// WantsReservations returns the places to keep that are not kept yet: in each of the group's regions, for each workspace that a
// failover brings back, one that a server which SmartDR runs there has or would get. In the region that serves that is where it
// runs now; an adopted server's address is its own, so that the way back leads to a kept place beside it. there reports whether a
// host still exists: what was kept on one that is gone is kept anew.
func (g *Group) WantsReservations(there func(region, host string) bool) (all []Wanted) {
	if g.Secondary == "" || g.Replication == nil || g.State == GroupTerminated {
		return nil
	}
	for _, region := range []string{g.Primary, g.Secondary} {
		for i := range g.Workspaces {
			if want, lacks := g.Workspaces[i].wantsReservation(region, region == g.Active, there); lacks {
				all = append(all, want)
			}
		}
	}
	return all
}

func (w *Workspace) wantsReservation(region string, active bool, there func(region, host string) bool) (Wanted, bool) {
	if !w.Recoverable() {
		return Wanted{}, false
	}
	want := Wanted{Workspace: w.Name, Region: region}
	kept, has := w.Reservations[region]
	site := w.Sites[region]
	if active && site.Kind == Managed && site.Host != "" && len(site.Endpoint.Hosts) == 1 {
		want.Host, want.Port = site.Host, site.Endpoint.Hosts[0].Port
		return want, !has || kept.Host != site.Host || !slices.Equal(kept.Endpoint.Hosts, site.Endpoint.Hosts)
	}
	return want, !has || !there(region, kept.Host)
}

// Addresses returns where a workspace's clients may find its writer, the one that serves first, then where it would be in the
// other region, then where it would come back to: the address that is kept, else that of the server that is there. None is named
// twice. sides is how many regions are among them.
func (g *Group) Addresses(w *Workspace) (all []HostPort, sides int) {
	add := func(hosts []HostPort) bool {
		for _, h := range hosts {
			if !slices.Contains(all, h) {
				all = append(all, h)
			}
		}
		return len(hosts) > 0
	}
	if add(w.Sites[g.Active].Endpoint.Hosts) {
		sides++
	}
	if other := g.Other(g.Active); other != "" && other != g.Active {
		there := w.Reservations[other].Endpoint.Hosts
		if len(there) == 0 {
			there = w.Sites[other].Endpoint.Hosts
		}
		if add(there) {
			sides++
		}
	}
	add(w.Reservations[g.Active].Endpoint.Hosts)
	return all, sides
}
