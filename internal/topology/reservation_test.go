package topology

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func endpointAt(host string, port int) Endpoint { return Endpoint{Hosts: []HostPort{{host, port}}} }

func kept(host string, port int) Reservation {
	return Reservation{Host: host, Endpoint: endpointAt(host, port)}
}

func everywhere(string, string) bool { return true }

// ofTwo is a group with an adopted and a managed workspace.
func ofTwo() Group {
	return Group{
		Name: "prod", Primary: "east", Secondary: "west", Active: "east", Replication: &Replication{},
		Workspaces: []Workspace{
			{Name: "main", Sites: map[string]Site{"east": {Kind: Adopted, Endpoint: endpointAt("db.east", 5432)}}},
			{Name: "side", Sites: map[string]Site{"east": {Kind: Managed, Host: "e1", Endpoint: endpointAt("e1", 6000)}}},
		},
	}
}

func TestWantsReservations(t *testing.T) {
	g := ofTwo()
	want := []Wanted{
		{Workspace: "main", Region: "east"}, {Workspace: "side", Region: "east", Host: "e1", Port: 6000},
		{Workspace: "main", Region: "west"}, {Workspace: "side", Region: "west"},
	}
	if diff := cmp.Diff(want, g.WantsReservations(everywhere)); diff != "" {
		t.Error(diff)
	}
	g.Workspaces[0].Reservations = map[string]Reservation{"east": kept("e1", 6001), "west": kept("w1", 6000)}
	g.Workspaces[1].Reservations = map[string]Reservation{"east": kept("e1", 6000), "west": kept("w1", 6001)}
	if all := g.WantsReservations(everywhere); len(all) > 0 {
		t.Errorf("wants %+v", all)
	}

	g.Active = "west" // main came up elsewhere than was kept
	g.Workspaces[0].Sites["west"] = Site{Kind: Managed, Host: "w2", Endpoint: endpointAt("w2", 6005)}
	g.Workspaces[1].Sites["west"] = Site{Kind: Managed, Host: "w1", Endpoint: endpointAt("w1", 6001)}
	gone := func(_, host string) bool { return host != "e1" }
	want = []Wanted{{Workspace: "main", Region: "east"}, {Workspace: "side", Region: "east"}, {Workspace: "main", Region: "west", Host: "w2", Port: 6005}}
	if diff := cmp.Diff(want, g.WantsReservations(gone)); diff != "" {
		t.Error(diff)
	}
	g.Workspaces[0].State = WorkspaceTerminated
	g.Workspaces[1].State = WorkspacePending
	if all := g.WantsReservations(gone); len(all) > 0 {
		t.Errorf("wants %+v for what is over or not there yet", all)
	}
	for name, change := range map[string]func(*Group){
		"not configured": func(g *Group) { g.Secondary, g.Replication = "", nil }, "terminated": func(g *Group) { g.State = GroupTerminated },
	} {
		g := ofTwo()
		if change(&g); len(g.WantsReservations(everywhere)) > 0 {
			t.Errorf("%s: wants %+v", name, g.WantsReservations(everywhere))
		}
	}
}

func TestAddresses(t *testing.T) {
	g := ofTwo()
	main := &g.Workspaces[0]
	check := func(what string, wantSides int, want ...HostPort) {
		t.Helper()
		all, sides := g.Addresses(main)
		if diff := cmp.Diff(want, all); diff != "" || sides != wantSides {
			t.Errorf("%s: %d sides, %s", what, sides, diff)
		}
	}
	adopted, west, home := HostPort{"db.east", 5432}, HostPort{"w1", 6000}, HostPort{"e1", 6001}
	check("nothing is kept", 1, adopted)
	main.Reservations = map[string]Reservation{"west": kept("w1", 6000)}
	check("the other side's is kept", 2, adopted, west)
	main.Reservations["east"] = kept("e1", 6001)
	check("and the way back", 2, adopted, west, home)
	g.Active, main.Sites["west"] = "west", Site{Kind: Managed, Host: "w1", Endpoint: endpointAt("w1", 6000)}
	check("failed over", 2, west, home)
	delete(main.Reservations, "east")
	check("failed over, no way back is kept", 2, west, adopted)
	main.Reservations["east"] = kept("e1", 6001)
	g.Active, main.Sites["east"] = "east", Site{Kind: Managed, Host: "e1", Endpoint: endpointAt("e1", 6001)}
	delete(main.Sites, "west")
	check("failed back", 2, home, west)
}

func TestPlaceTriesThePreferredHostFirst(t *testing.T) {
	now := time.Unix(1000, 0)
	host := func(name string) Host {
		return Host{Name: name, AnnouncedAt: now, MemoryBytes: 8 << 30, CPUs: 4, DiskBytes: 100}
	}
	hosts := []Host{host("a"), host("b"), host("c")}
	for _, size := range []Size{{}, {MemoryBytes: 4 << 30, CPUs: 1}} {
		needs := []Need{{Workspace: "main", Size: size, DiskBytes: 10, Prefer: "c"}, {Workspace: "side", Size: size, DiskBytes: 10, Prefer: "gone"}}
		placed, err := Place(needs, hosts, now)
		if err != nil || placed["main"] != "c" || placed["side"] != "a" {
			t.Errorf("placed %v, %v", placed, err)
		}
		needs[0].Without = []string{"c"}
		if placed, err := Place(needs, hosts, now); err != nil || placed["main"] == "c" {
			t.Errorf("placed %v where it cannot be, %v", placed, err)
		}
	}
}
