package activities

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/metadata"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/postgres/postgrestest"
	"github.com/smartdr/smartdr/internal/topology"
)

// attempt is a connection that somebody tries to make.
type attempt struct{ from, to, params string }

// knocks are attempts from addresses inside and outside of the firewall that these tests use, as every kind of user.
func knocks() (all []attempt) {
	for _, from := range []string{"127.0.0.1", "127.0.0.2", "127.0.0.3", "127.0.0.4", "127.0.0.77", "127.1.2.3"} {
		for _, params := range []string{"user=app dbname=app", "user=guest dbname=app", "user=app dbname=postgres", "user=walker dbname=app replication=true", "user=app dbname=app replication=database"} {
			all = append(all, attempt{from, "127.0.0.1", params})
		}
	}
	if l, err := net.Listen("tcp", "[::1]:0"); err == nil {
		_ = l.Close() // it was there
		all = append(all, attempt{"::1", "::1", "user=app dbname=app"}, attempt{"::1", "::1", "user=walker dbname=app replication=true"})
	}
	return all
}

// knock returns "in", or what the server says.
func (a attempt) knock(t *testing.T, s *postgres.Server) string {
	t.Helper()
	cfg, err := pgconn.ParseConfig(fmt.Sprintf("host=%s port=%d password=secret sslmode=disable %s", a.to, s.Port, a.params))
	check(t, err)
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(a.from)}}
	cfg.DialFunc = d.DialContext
	conn, err := pgconn.ConnectConfig(t.Context(), cfg)
	if err == nil {
		check(t, conn.Close(context.WithoutCancel(t.Context())))
		return "in"
	}
	var refused *pgconn.PgError
	if !errors.As(err, &refused) {
		t.Fatalf("%+v: %v", a, err)
	}
	return strings.SplitN(refused.Message, " for ", 2)[0]
}

func knockAll(t *testing.T, s *postgres.Server) map[attempt]string {
	t.Helper()
	got := map[attempt]string{}
	for _, a := range knocks() {
		got[a] = a.knock(t, s)
	}
	return got
}

// accessServer is a server with a few users that listens on every loopback address.
func accessServer(t *testing.T) *postgres.Server {
	t.Helper()
	all := postgrestest.Installations(t)
	s := postgrestest.NewServer(t, all[len(all)-1])
	s.Listen = "*"
	check(t, s.Init(t.Context(), postgres.InitOptions{NoSync: true}))
	check(t, s.Start(t.Context()))
	postgrestest.Exec(t, s, "postgres", "create role app login replication password 'secret'; create role guest login password 'secret'; create role walker login replication password 'secret'")
	postgrestest.Exec(t, s, "postgres", "create database app")
	return s
}

func capturedFrom(t *testing.T, s *postgres.Server) metadata.Metadata {
	t.Helper()
	conn := postgrestest.Open(t, s, "postgres")
	defer conn.Close(context.Background())
	m, err := metadata.Capture(t.Context(), conn)
	check(t, err)
	return m
}

func groupOf(kind topology.SiteKind, f topology.Firewall, rules ...string) topology.Group {
	return topology.Group{Primary: "east", Firewall: f, Workspaces: []topology.Workspace{{Name: "main", HBA: rules, Sites: map[string]topology.Site{"east": {Kind: kind}}}}}
}

func accessTo(t *testing.T, g topology.Group, m metadata.Metadata) metadata.Access {
	t.Helper()
	a, err := metadata.AccessOf(g, g.Workspaces[0], m, metadata.Place{})
	check(t, err)
	return a
}

// TestFirewallOfAManagedServer: the same addresses get in after a restore, and the others do not.
func TestFirewallOfAManagedServer(t *testing.T) {
	s := accessServer(t)
	f, err := topology.NewFirewall([]string{"127.0.0.0/30", "127.1.0.0/16", "::/128"}, false)
	check(t, err)
	g := groupOf(topology.Managed, f,
		"host app guest 127.0.0.2/32 reject", "host replication walker 127.0.0.0/8 scram-sha-256", "hostssl all app 127.0.0.77/32 trust", "host postgres app samehost reject")
	check(t, applyAccess(t.Context(), s, accessTo(t, g, metadata.Metadata{})))
	before := knockAll(t, s)
	for a, want := range map[attempt]string{
		{"127.0.0.1", "127.0.0.1", "user=app dbname=app"}:                      "in",
		{"127.0.0.3", "127.0.0.1", "user=guest dbname=app"}:                    "in",
		{"127.1.2.3", "127.0.0.1", "user=app dbname=app"}:                      "in",
		{"127.0.0.2", "127.0.0.1", "user=guest dbname=app"}:                    "pg_hba.conf rejects connection",
		{"127.0.0.4", "127.0.0.1", "user=app dbname=app"}:                      "pg_hba.conf rejects connection",
		{"127.0.0.77", "127.0.0.1", "user=app dbname=app"}:                     "pg_hba.conf rejects connection",
		{"127.0.0.1", "127.0.0.1", "user=walker dbname=app replication=true"}:  "in",
		{"127.0.0.4", "127.0.0.1", "user=walker dbname=app replication=true"}:  "pg_hba.conf rejects replication connection",
		{"127.0.0.1", "127.0.0.1", "user=app dbname=app replication=database"}: "in",
		{"127.0.0.1", "127.0.0.1", "user=app dbname=postgres"}:                 "pg_hba.conf rejects connection",
		{"::1", "::1", "user=app dbname=app"}:                                  "pg_hba.conf rejects connection",
		{"::1", "::1", "user=walker dbname=app replication=true"}:              "pg_hba.conf rejects replication connection",
	} {
		if got, tried := before[a]; tried && got != want {
			t.Errorf("%+v: %s, want %s", a, got, want)
		}
	}
	restored := restoredCopy(t, s)
	check(t, applyAccess(t.Context(), restored, accessTo(t, g, capturedFrom(t, s))))
	if diff := cmp.Diff(before, knockAll(t, restored), cmp.AllowUnexported(attempt{})); diff != "" {
		t.Errorf("others get in after a restore:\n%s", diff)
	}
}

// restoredCopy has the same data, and lets nobody in.
func restoredCopy(t *testing.T, s *postgres.Server) *postgres.Server {
	t.Helper()
	check(t, s.Stop(t.Context(), postgres.Fast))
	c := postgrestest.Copy(t, s)
	c.Listen = "*"
	check(t, c.WriteHBA(""))
	check(t, s.Start(t.Context()))
	check(t, c.Start(t.Context()))
	return c
}

// TestFirewallOfAnAdoptedServer restores a server with rules of its own twice, the second time behind a firewall that has changed.
func TestFirewallOfAnAdoptedServer(t *testing.T) {
	s := accessServer(t)
	check(t, s.WriteHBA("host all,replication all 127.0.0.2/32 reject\nhost app guest samenet reject\nhost all all 127.0.0.0/24 scram-sha-256\nhost replication walker samehost scram-sha-256\nhostnossl app app 127.1.0.0/16 scram-sha-256\n"))
	check(t, follow(t.Context(), s))
	before := knockAll(t, s)
	restored := restoredCopy(t, s)
	check(t, applyAccess(t.Context(), restored, accessTo(t, groupOf(topology.Adopted, topology.Firewall{}), capturedFrom(t, s))))
	if diff := cmp.Diff(before, knockAll(t, restored), cmp.AllowUnexported(attempt{})); diff != "" {
		t.Errorf("without a firewall:\n%s", diff)
	}
	for _, ranges := range [][]string{{"127.0.0.4/32"}, {"127.0.0.0/31"}} {
		g := groupOf(topology.Adopted, topology.Firewall{Ranges: ranges})
		captured := capturedFrom(t, restored)
		check(t, applyAccess(t.Context(), restored, accessTo(t, g, captured)))
		for a, now := range knockAll(t, restored) {
			inside := g.Firewall.Contains(netipOf(t, a.from))
			if inside && now != before[a] || !inside && !strings.Contains(now, "rejects") {
				t.Errorf("%v: %+v: %s, and %s before", ranges, a, now, before[a])
			}
		}
	}
	if n := strings.Count(readFile(t, restored.HBAFile()), "host all,replication all "); n > 33+2 {
		t.Errorf("%d rules of firewalls have piled up", n)
	}
}

// TestRulesThatAreWrongChangeNothing: neither is anybody locked out nor let in, also when an attempt has died half way.
func TestRulesThatAreWrongChangeNothing(t *testing.T) {
	s := accessServer(t)
	good := metadata.Access{HBA: "host app app 127.0.0.0/8 scram-sha-256\n", Ident: "people alice app\n"}
	check(t, applyAccess(t.Context(), s, good))
	files := readFile(t, s.HBAFile()) + readFile(t, s.IdentFile())
	before := knockAll(t, s)
	for name, bad := range map[string]metadata.Access{
		"300.1.1.1": {HBA: "host all all 300.1.1.1/8 trust\nhost all all all trust\n"},
		"magic":     {HBA: "host all all all magic\n"},
		"people":    {HBA: "host all all all trust\n", Ident: "people \"/(\" app\n"},
		"300.2.2.2": {HBA: "host all all 300.2.2.2/8 trust\n"},
	} {
		if name == "300.2.2.2" {
			check(t, keepAccess(s))
			check(t, s.WriteHBA(bad.HBA))
		}
		err := applyAccess(t.Context(), s, bad)
		if !fault.Is(err, fault.Invalid) || fault.HintOf(err) == "" || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
		if now := readFile(t, s.HBAFile()) + readFile(t, s.IdentFile()); now != files {
			t.Errorf("%s: the files are now\n%s", name, now)
		}
	}
	check(t, s.Stop(t.Context(), postgres.Fast))
	check(t, s.Start(t.Context()))
	if diff := cmp.Diff(before, knockAll(t, s), cmp.AllowUnexported(attempt{})); diff != "" {
		t.Error(diff)
	}
}

// TestCarriedRuleThatIsNotUnderstood refuses whom it was for, while the other rules hold.
func TestCarriedRuleThatIsNotUnderstood(t *testing.T) {
	w := newWorld(t)
	target, s, o := attachedServer(t, w)
	postgrestest.Exec(t, s, "postgres", "create role app login password 'secret'; create role guest login password 'secret'")
	postgrestest.Exec(t, s, "postgres", "create database app")
	m := metadata.Metadata{HBAKnown: true, HBA: []metadata.HBARule{
		{Type: "host", Databases: []string{"app"}, Users: []string{"guest"}, Address: "127.0.0.0", Netmask: "255.0.0.0", Method: "magic", Options: []string{"spell=abracadabra"}},
		{Type: "host", Databases: []string{"all"}, Users: []string{"all"}, Address: "127.0.0.0", Netmask: "255.0.0.0", Method: "scram-sha-256"},
	}, Ident: []metadata.IdentMapping{{Map: "people", System: "/(", Username: "app"}, {Map: "people", System: "alice", Username: "app"}}}
	in := RestoreInput{Group: o.Group, Plan: WorkspacePlan{Workspace: "main"}}
	notes, err := target.letIn(t.Context(), s, in, m, metadata.Place{})
	check(t, err)
	if len(notes) != 2 || !slices.ContainsFunc(notes, func(n string) bool { return strings.Contains(n, "magic") }) {
		t.Errorf("notes: %q", notes)
	}
	if ident := readFile(t, s.IdentFile()); !strings.Contains(ident, "people alice app\n") {
		t.Errorf("user name maps: %s", ident)
	}
	for params, want := range map[string]string{"user=guest dbname=app": "pg_hba.conf rejects connection", "user=app dbname=app": "in"} {
		if got := (attempt{"127.0.0.1", "127.0.0.1", params}).knock(t, s); got != want {
			t.Errorf("%s: %s, want %s", params, got, want)
		}
	}
}

func netipOf(t *testing.T, s string) netip.Addr {
	t.Helper()
	a, err := netip.ParseAddr(s)
	check(t, err)
	return a
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	check(t, err)
	return string(b)
}
