package activities

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/smartdr/smartdr/internal/devenv"
	"github.com/smartdr/smartdr/internal/postgres/postgrestest"
	"github.com/smartdr/smartdr/internal/topology"
)

// Two groups that ask get two ports, each the same whenever it asks; a server of another workspace gets neither, and its own workspace's
// server its own.
func TestAHostKeepsPortsForWorkspaces(t *testing.T) {
	w := newWorld(t)
	host := w.hostOf(t, postgrestest.TempDir(t))
	check(t, NameHost(host, "w1", "machine"))
	first, err := devenv.FreePorts(20)
	check(t, err)
	host.FirstPort, host.LastPort = first, first+19
	_, err = w.Catalog.Create(t.Context(), topology.Group{ID: topology.NewGroupID(), Name: "test", Primary: "west", Workspaces: []topology.Workspace{{
		Name: "main", Sites: map[string]topology.Site{"west": {Kind: topology.Adopted, Source: topology.Source{ConnString: "host=db"}}},
	}}})
	check(t, err)
	keep := func(group string, port int) int {
		t.Helper()
		r, err := as(t, host.ReservePlace, ReservePlaceInput{Group: group, Workspace: "main", Port: port})
		check(t, err)
		if r.Host != "w1" || len(r.Endpoint.Hosts) != 1 || r.Endpoint.Hosts[0].Host != "db1" {
			t.Errorf("kept %+v", r)
		}
		return r.Endpoint.Hosts[0].Port
	}
	prod, test := keep("prod", 0), keep("test", 0)
	if prod == test || keep("prod", 0) != prod || keep("test", test) != test {
		t.Errorf("kept %d and %d", prod, test)
	}
	mine, others, err := host.keptForOthers("prod", "main")
	if err != nil || mine != prod || !others[test] || others[prod] {
		t.Errorf("of prod is %d, of others %v, %v", mine, others, err)
	}
	if port, err := host.freePort(owner{}, 0, map[int]bool{prod: true, test: true}); err != nil || port == prod || port == test {
		t.Errorf("a server of somebody else gets %d, %v", port, err)
	}
	before := filepath.Join(host.DataDir, "prod", "main", "e1")
	check(t, os.MkdirAll(before, 0o755))
	check(t, writeState(before, ownerFile, owner{Group: "prod", Workspace: "main", Epoch: 1, Port: prod}))
	if port, err := host.freePort(owner{Group: "prod", Workspace: "main", Epoch: 3}, prod, nil); err != nil || port != prod {
		t.Errorf("the workspace comes back at %d and was at %d, %v", port, prod, err)
	}
	if port, err := host.freePort(owner{Group: "prod", Workspace: "other"}, prod, nil); err != nil || port == prod {
		t.Errorf("another workspace gets %d, %v", port, err)
	}
	check(t, os.RemoveAll(before))

	moved := keep("prod", first+15) // it came up elsewhere than was kept
	if moved != first+15 || keep("prod", 0) != moved {
		t.Errorf("kept %d", moved)
	}
	_, err = w.Catalog.Update(t.Context(), "test", func(g *topology.Group) error { g.State = topology.GroupTerminated; return nil })
	check(t, err)
	keep("new", 0) // of which nothing is known yet
	if all, err := host.keptPorts(); err != nil || len(all) != 2 {
		t.Errorf("%+v is kept after a group ended, %v", all, err)
	}
	host.DataDir = ""
	if _, err := as(t, host.ReservePlace, ReservePlaceInput{Group: "prod", Workspace: "main"}); err == nil || !strings.Contains(err.Error(), "runs no servers") {
		t.Errorf("a host without a data folder: %v", err)
	}
}

// Workspaces are spread over the hosts in whatever order they stand, also one that comes when the others have their places.
func TestPlacesAreKeptOnDifferentHosts(t *testing.T) {
	w := newWorld(t)
	control := &Control{Site: w.Site}
	var hosts []topology.Host
	for _, name := range []string{"w1", "w2", "w3"} {
		hosts = append(hosts, topology.Host{Name: name, Region: "west", AnnouncedAt: time.Now(), MemoryBytes: 1 << 34, CPUs: 4, DiskBytes: 1 << 40})
	}
	g := topology.Group{Name: "prod", Primary: "east", Secondary: "west", Workspaces: []topology.Workspace{{Name: "side"}, {Name: "main"}, {Name: "later"}}}
	var before []topology.Wanted
	for _, name := range []string{"side", "main"} {
		want := topology.Wanted{Workspace: name, Region: "west"}
		want.Host = control.hostFor(t.Context(), g, want, before, hosts)
		before = append(before, want)
		g.Workspace(name).Reservations = map[string]topology.Reservation{"west": {Host: want.Host}}
	}
	later := control.hostFor(t.Context(), g, topology.Wanted{Workspace: "later", Region: "west"}, nil, hosts)
	if got := []string{before[0].Host, before[1].Host, later}; !slices.Equal(got, []string{"w1", "w2", "w3"}) {
		t.Errorf("kept on %v", got)
	}
}

// A group's places are planned where hosts are, and what was kept is not planned again.
func TestPlanReservations(t *testing.T) {
	w := newWorld(t)
	host := w.hostOf(t, postgrestest.TempDir(t))
	check(t, NameHost(host, "w1", "machine"))
	check(t, AnnounceHost(t.Context(), host))
	control := &Control{Site: w.Site}
	plan := func() []topology.Wanted {
		t.Helper()
		r, err := as(t, control.PlanReservations, ReadGroupInput{Group: "prod"})
		check(t, err)
		return r.Wanted
	}
	if diff := cmp.Diff([]topology.Wanted{{Workspace: "main", Region: "west", Host: "w1"}}, plan()); diff != "" {
		t.Error(diff)
	}
	kept := topology.Reservation{Host: "w1", Endpoint: endpointOf("db1", 6000)}
	record := RecordReservationsInput{Group: "prod", Kept: []Reserved{{Workspace: "main", Region: "west", Reservation: kept}, {Workspace: "gone", Region: "west", Reservation: kept}}}
	check(t, does(t, control.RecordReservations, record))
	loaded, err := w.process().Load(t.Context(), "prod")
	check(t, err)
	if diff := cmp.Diff(map[string]topology.Reservation{"west": kept}, loaded.Group.Workspaces[0].Reservations); diff != "" || len(plan()) != 0 {
		t.Errorf("%s; still planned: %+v", diff, plan())
	}
}
