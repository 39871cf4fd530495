package api

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/smartdr/smartdr/internal/topology"
)

func TestConnection(t *testing.T) {
	failedOver := aGroup()
	failedOver.Active = "west"
	failedOver.Workspaces[0].Sites["west"] = topology.Site{
		Source:   topology.Source{ConnString: "host=/run/x dbname=postgres"},
		Endpoint: topology.Endpoint{Hosts: []topology.HostPort{{Host: "10.1.0.7", Port: 6000}}},
	}
	socket := aGroup()
	socket.Workspaces[0].Sites["east"] = topology.Site{Source: topology.Source{ConnString: "host=/var/run/pg port=5433 dbname=app"}}
	for name, c := range map[string]struct {
		group      topology.Group
		req        ConnectionRequest
		url, multi string
		sides      int
	}{
		"adopted": {aGroup(), ConnectionRequest{},
			"postgresql://db1:5432,[::1]:5433/app?sslmode=require&target_session_attrs=read-write",
			"postgresql://db1:5432,[::1]:5433/app?sslmode=require&target_session_attrs=read-write", 1},
		"failed over": {failedOver, ConnectionRequest{User: "a b@c", Database: "x/y?"},
			"postgresql://a%20b%40c@10.1.0.7:6000/x%2Fy%3F",
			"postgresql://a%20b%40c@10.1.0.7:6000,db1:5432,[::1]:5433/x%2Fy%3F?sslmode=require&target_session_attrs=read-write", 2},
		"socket": {socket, ConnectionRequest{Workspace: "main"},
			"postgresql://%2Fvar%2Frun%2Fpg:5433/app", "postgresql://%2Fvar%2Frun%2Fpg:5433/app?target_session_attrs=read-write", 1},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := connection(c.group, c.req)
			if err != nil {
				t.Fatal(err)
			}
			want := Connection{Group: "prod", Workspace: "main", Region: c.group.Active, User: c.req.User, URL: c.url, MultiHost: c.multi, Sides: c.sides}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
			parsed, err := pgconn.ParseConfig(got.MultiHost)
			if err != nil {
				t.Fatalf("a driver does not read %s: %v", got.MultiHost, err)
			}
			if c.req.User != "" && (parsed.User != c.req.User || parsed.Database != c.req.Database) {
				t.Errorf("a driver reads user %q and database %q", parsed.User, parsed.Database)
			}
		})
	}
}

// mixed is a group with an adopted workspace and two managed ones.
func mixed() topology.Group {
	g := aGroup()
	made := func(name string, port int) topology.Workspace {
		return topology.Workspace{Name: name, Sites: map[string]topology.Site{"east": {
			Kind: topology.Managed, Host: "east-1", Instance: "/data/" + name, Source: topology.Source{ConnString: "host=/data/run user=smartdr"},
			Endpoint: topology.Endpoint{Hosts: []topology.HostPort{{Host: "db.east", Port: port}}},
		}}}
	}
	g.Workspaces = append(g.Workspaces, made("reports", 6001), made("ledger", 6002))
	return g
}

func TestConnectionToAManagedWorkspace(t *testing.T) {
	got, err := connection(mixed(), ConnectionRequest{Workspace: "ledger"})
	if err != nil {
		t.Fatal(err)
	}
	url := "postgresql://admin@db.east:6002/postgres"
	want := Connection{
		Group: "prod", Workspace: "ledger", Region: "east", User: "admin", URL: url, MultiHost: url + "?target_session_attrs=read-write", Sides: 1,
		PasswordFile: "/data/ledger/admin.password", PasswordHost: "east-1",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	away := mixed()
	away.Active = "west"
	w := away.Workspace("ledger")
	w.Lineages = []topology.Lineage{{ID: "one"}, {ID: "two", Parent: &topology.Fork{Lineage: "one"}}}
	w.Sites["west"] = topology.Site{Kind: topology.Managed, Host: "west-1", Instance: "/data/ledger/e2",
		Source: topology.Source{ConnString: "host='/data/run' port=6002 user='postgres' dbname='postgres'"}, Endpoint: w.Sites["east"].Endpoint}
	if got, err = connection(away, ConnectionRequest{Workspace: "ledger"}); err != nil {
		t.Fatal(err)
	}
	got.URL, got.MultiHost = "", ""
	want = Connection{Group: "prod", Workspace: "ledger", Region: "west", User: "admin", Sides: 2, PasswordHost: "west-1",
		NewPassword: `psql "host=/data/run port=6002 user=postgres dbname=postgres" -c '\password admin'`}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	named, err := connection(mixed(), ConnectionRequest{Workspace: "ledger", User: "app"})
	if err != nil || named.PasswordFile != "" || named.User != "app" {
		t.Errorf("%+v, %v", named, err)
	}
}

func TestProtectionIsNeverWeakened(t *testing.T) {
	site := func(params string) topology.Site {
		return topology.Site{
			Source:   topology.Source{ConnString: "postgresql://u@h:5432/db" + params},
			Endpoint: topology.Endpoint{Hosts: []topology.HostPort{{Host: "h", Port: 5432}}},
		}
	}
	for _, c := range []struct{ here, there, want string }{
		{"?sslmode=disable", "?sslmode=disable", "?sslmode=disable"},
		{"", "?sslmode=disable", ""},
		{"", "?sslmode=require", "?sslmode=require"},
		{"?sslmode=verify-full&sslrootcert=system", "?sslmode=require", "?sslmode=verify-full&sslrootcert=system"},
		{"?sslmode=require&channel_binding=require", "", "?channel_binding=require&sslmode=require"},
		{"?sslrootcert=/etc/ca.crt&sslmode=verify-ca", "", "?sslmode=verify-ca"},
	} {
		want := "postgresql://h:5432,h:5432/db" + c.want
		here, there := site(c.here), site(c.there)
		all := append(hostsOf(here), hostsOf(there)...)
		if got := connURL(all, "", "db", protection([]topology.Site{here, there}), false); got != want {
			t.Errorf("%q and %q: got %s, want %s", c.here, c.there, got, want)
		}
	}
}

func TestConnectionRefuses(t *testing.T) {
	change := func(do func(g *topology.Group, w *topology.Workspace)) topology.Group {
		g := mixed()
		do(&g, &g.Workspaces[1])
		return g
	}
	state := func(s topology.WorkspaceState) topology.Group {
		return change(func(_ *topology.Group, w *topology.Workspace) { w.State = s })
	}
	reports := ConnectionRequest{Workspace: "reports"}
	for name, c := range map[string]struct {
		group topology.Group
		req   ConnectionRequest
		class Class
		says  string
	}{
		"which workspace":   {mixed(), ConnectionRequest{}, Invalid, "has 3 workspaces"},
		"unknown workspace": {aGroup(), ConnectionRequest{Workspace: "nope"}, NotFound, `no workspace "nope"`},
		"suspended":         {state(topology.WorkspaceSuspended), reports, NotFound, "workspace reports is suspended"},
		"pending":           {state(topology.WorkspacePending), reports, NotFound, "is being made"},
		"terminated":        {state(topology.WorkspaceTerminated), reports, NotFound, "is terminated"},
		"terminating":       {state(topology.WorkspaceTerminating), reports, NotFound, "is terminating"},
		"not restored": {change(func(g *topology.Group, _ *topology.Workspace) { g.Active = "west" }), reports, NotFound,
			"has not been restored in west"},
		"no endpoint": {change(func(_ *topology.Group, w *topology.Workspace) {
			w.Sites["east"] = topology.Site{Kind: topology.Managed}
		}), reports, NotFound, "has no endpoint in east"},
		"group terminated": {change(func(g *topology.Group, _ *topology.Workspace) { g.State = topology.GroupTerminated }), reports, NotFound,
			"group prod is terminated"},
	} {
		if _, err := connection(c.group, c.req); ClassOf(err) != c.class || !strings.Contains(fmt.Sprint(err), c.says) {
			t.Errorf("%s: %v (%s)", name, err, ClassOf(err))
		}
	}
}

func TestTheOnlyLivingWorkspaceNeedNotBeNamed(t *testing.T) {
	g := mixed()
	g.Workspaces[0].State, g.Workspaces[1].State = topology.WorkspaceTerminated, topology.WorkspaceTerminated
	if c, err := connection(g, ConnectionRequest{}); err != nil || c.Workspace != "ledger" {
		t.Errorf("%+v, %v", c, err)
	}
}

// Clients know both sides from the beginning, and the way back, where places are kept for that.
func TestConnectionNamesThePlacesThatAreKept(t *testing.T) {
	g := mixed()
	g.Secondary, g.Replication = "west", &topology.Replication{}
	w := g.Workspace("ledger")
	alone, err := connection(g, ConnectionRequest{Workspace: "ledger"})
	if err != nil || alone.Sides != 1 || !strings.Contains(alone.Note, "west") {
		t.Errorf("%+v, %v", alone, err)
	}
	kept := func(host string, port int) topology.Reservation {
		return topology.Reservation{Host: "h", Endpoint: topology.Endpoint{Hosts: []topology.HostPort{{Host: host, Port: port}}}}
	}
	w.Reservations = map[string]topology.Reservation{"west": kept("db.west", 6000), "east": kept("db.east", 6002)}
	got, err := connection(g, ConnectionRequest{Workspace: "ledger"})
	want := "postgresql://admin@db.east:6002,db.west:6000/postgres?target_session_attrs=read-write"
	if err != nil || got.MultiHost != want || got.Sides != 2 || got.Note != "" || got.URL != "postgresql://admin@db.east:6002/postgres" {
		t.Errorf("%+v, %v", got, err)
	}
	w.Reservations["east"] = kept("db2.east", 6003)
	if got, err = connection(g, ConnectionRequest{Workspace: "ledger"}); err != nil || !strings.Contains(got.MultiHost, "db.east:6002,db.west:6000,db2.east:6003/") {
		t.Errorf("%+v, %v", got, err)
	}
}
