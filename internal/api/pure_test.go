package api

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
	"github.com/smartdr/smartdr/workflows"
)

const goodSpec = `# a comment
name: prod
primary: east
secondary: west
databases: [app]
workspaces:
  - name: main
    connection: postgresql://smartdr@db.east:5432/postgres
    passwordFile: /etc/smartdr/main.password
`

func TestParseGroupSpec(t *testing.T) {
	got, err := ParseGroupSpec("group.yaml", []byte(goodSpec))
	if err != nil {
		t.Fatal(err)
	}
	want := GroupSpec{Name: "prod", Primary: "east", Secondary: "west", Databases: []string{"app"}, Workspaces: []WorkspaceSpec{{
		Name: "main", Connection: "postgresql://smartdr@db.east:5432/postgres", PasswordFile: "/etc/smartdr/main.password",
	}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

const managedSpec = `name: prod
primary: east
smartDR: false
firewall: [10.0.0.0/8, 192.0.2.7]
workspaces:
  - name: main
    connection: host=db.east
    size: S-4
  - name: reports
    size: 6GiB/2
    postgres: 17
    host: east-2
    settings: {work_mem: 64MB, max_connections: 200, fsync: off, jit: true}
    hba:
      - host all all 10.0.0.0/8 cert
    ident: ["staff /^(.*)@example.com$ \\1"]
    init: {segmentSizeMB: 64, icuLocale: de-DE, noChecksums: true}
sequenceGap: 0
`

func TestParseGroupSpecWithManagedWorkspaces(t *testing.T) {
	spec, err := ParseGroupSpec("group.yaml", []byte(managedSpec))
	if err != nil {
		t.Fatal(err)
	}
	off, none := false, int64(0)
	want := workflows.CreateGroupInput{
		Name: "prod", Primary: "east", SmartDR: &off, SequenceGap: &none, Firewall: &topology.Firewall{Ranges: []string{"10.0.0.0/8", "192.0.2.7"}},
		Workspaces: []workflows.WorkspaceInput{
			{Name: "main", Kind: topology.Adopted, Source: topology.Source{ConnString: "host=db.east"}, Size: "S-4"},
			{
				Name: "reports", Kind: topology.Managed, Size: "6GiB/2", Postgres: 17, Host: "east-2",
				Settings: map[string]string{"work_mem": "64MB", "max_connections": "200", "fsync": "off", "jit": "true"},
				HBA:      []string{"host all all 10.0.0.0/8 cert"}, Ident: []string{`staff /^(.*)@example.com$ \1`},
				Init: workflows.InitInput{SegmentSizeMB: 64, ICULocale: "de-DE", NoChecksums: true},
			},
		},
	}
	if diff := cmp.Diff(want, spec.input()); diff != "" {
		t.Error(diff)
	}
	open, err := ParseGroupSpec("g.yaml", []byte(strings.Replace(managedSpec, "[10.0.0.0/8, 192.0.2.7]", "allowAll", 1)))
	if err != nil || !open.input().Firewall.AllowAll {
		t.Errorf("%+v, %v", open.Firewall, err)
	}
	nobody, err := ParseGroupSpec("g.yaml", []byte(strings.Replace(managedSpec, "[10.0.0.0/8, 192.0.2.7]", "[]", 1)))
	if err != nil || nobody.Firewall == nil || nobody.input().Firewall.IsZero() {
		t.Errorf("%+v, %v", nobody.Firewall, err)
	}
}

func TestBadManagedSpec(t *testing.T) {
	for name, c := range map[string]struct{ old, new, want string }{
		"range":                {"192.0.2.7", "192.0.2.7/24", `g.yaml:4: "192.0.2.7/24" has bits set`},
		"word":                 {"[10.0.0.0/8, 192.0.2.7]", "everybody", `g.yaml:4: firewall "everybody" is neither a list`},
		"map":                  {"[10.0.0.0/8, 192.0.2.7]", "{a: b}", `g.yaml:4:11: `},
		"size":                 {"6GiB/2", "large", `g.yaml:10: "large" is no size`},
		"adopted size":         {"S-4", "large", `g.yaml:8: "large" is no size`},
		"neither":              {"    size: 6GiB/2\n", "", "g.yaml:9: workspace reports has neither a connection nor a size"},
		"both":                 {"    size: 6GiB/2\n", "    connection: host=b\n", "g.yaml:11: workspace reports has a connection"},
		"version":              {"postgres: 17", "postgres: 9", "g.yaml:11: there is no managed PostgreSQL 9"},
		"host":                 {"east-2", "East_2", `g.yaml:12: "East_2" is no name for a host`},
		"secret":               {"work_mem: 64MB", "ldap.bindpassword: geheim", "g.yaml:13: setting ldap.bindpassword looks like a secret"},
		"conninfo":             {"work_mem: 64MB", "primary_conninfo: host=a password=geheim", "g.yaml:13: setting primary_conninfo looks like a secret"},
		"rule":                 {"10.0.0.0/8 cert", "10.0.0.0/8 radius radiussecrets=geheim", "g.yaml:15: a rule for pg_hba.conf holds a secret"},
		"rule of two lines":    {"- host all all 10.0.0.0/8 cert", "- |\n        host a\n        host b", "g.yaml:15: a rule for pg_hba.conf has more than one line"},
		"segment":              {"segmentSizeMB: 64", "segmentSizeMB: 65", "g.yaml:17: 65 MB is no size"},
		"unknown init":         {"icuLocale", "icu", `g.yaml:17:31: unknown field "icu"`},
		"secondary without it": {"smartDR: false", "smartDR: false\nsecondary: west", "g.yaml:4: a secondary region is named, and smartDR is turned off"},
	} {
		t.Run(name, func(t *testing.T) {
			if !strings.Contains(managedSpec, c.old) {
				t.Fatalf("the specification does not hold %q", c.old)
			}
			_, err := ParseGroupSpec("g.yaml", []byte(strings.Replace(managedSpec, c.old, c.new, 1)))
			if err == nil {
				t.Fatal("it was accepted")
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %q, want it to hold %q", err, c.want)
			}
			if strings.Contains(fmt.Sprint(err, fault.HintOf(err)), "geheim") || ClassOf(err) != Invalid || fault.HintOf(err) == "" {
				t.Errorf("%v: class %q, hint %q", err, ClassOf(err), fault.HintOf(err))
			}
		})
	}
}

func TestBadGroupSpec(t *testing.T) {
	change := func(old, new string) string {
		if !strings.Contains(goodSpec, old) {
			t.Fatalf("the specification does not hold %q", old)
		}
		return strings.Replace(goodSpec, old, new, 1)
	}
	for name, c := range map[string]struct{ spec, want string }{
		"empty":              {"", "g.yaml is empty"},
		"only a comment":     {"# nothing\n", "g.yaml"},
		"unknown field":      {change("primary:", "primry:"), "g.yaml:3:1: unknown field \"primry\""},
		"unknown deep field": {change("passwordFile:", "password:"), "g.yaml:9:5: unknown field \"password\""},
		"duplicate key":      {change("primary: east", "primary: east\nprimary: west"), "g.yaml:4:1: "},
		"not a list":         {change("[app]", "{a: b}"), "g.yaml:5:"},
		"syntax":             {change("[app]", "[app"), "g.yaml:6:1: "},
		"two documents":      {goodSpec + "---\nname: other\n", "more than one document"},
		"no name":            {change("name: prod\n", ""), "g.yaml:"},
		"bad name":           {change("name: prod", "name: Prod_1"), "g.yaml:2: \"Prod_1\""},
		"no primary":         {change("primary: east\n", ""), "primary region"},
		"same region twice":  {change("secondary: west", "secondary: east"), "g.yaml:4: east is both the primary and the secondary region"},
		"databases alone":    {change("secondary: west\n", ""), "g.yaml:4: databases to replicate are named"},
		"database twice":     {change("[app]", "[app, app]"), "g.yaml:5: database \"app\" is named twice"},
		"workspace twice":    {goodSpec + "  - name: main\n    connection: host=b\n", "g.yaml:10: workspace \"main\" is there twice"},
		"password":           {change("smartdr@db", "smartdr:geheim@db"), "g.yaml:8: the connection string holds a password"},
		"password word":      {change("postgresql://smartdr@db.east:5432/postgres", "host=db password=geheim"), "g.yaml:8: the connection string holds a password"},
		"sequences go back":  {change("databases: [app]", "sequenceGap: -1"), "g.yaml:5: sequences cannot be moved ahead by -1 values"},
		"two places":         {goodSpec + "    passwordEnv: X\n", "g.yaml:8: both passwordFile and passwordEnv"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ParseGroupSpec("g.yaml", []byte(c.spec))
			if err == nil {
				t.Fatal("it was accepted")
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %q, want it to hold %q", err, c.want)
			}
			if strings.Contains(fmt.Sprint(err, fault.HintOf(err)), "geheim") {
				t.Errorf("the password is shown: %v", err)
			}
			if ClassOf(err) != Invalid || fault.HintOf(err) == "" && name != "only a comment" {
				t.Errorf("class %q, hint %q", ClassOf(err), fault.HintOf(err))
			}
		})
	}
}

func FuzzParseGroupSpec(f *testing.F) {
	f.Add([]byte(goodSpec))
	f.Add([]byte("workspaces: [{name: 1}]"))
	f.Add([]byte("&a [*a]"))
	f.Add([]byte(managedSpec))
	f.Add([]byte("databases: !0000\n00000000000\n  -0000000"))
	f.Fuzz(func(t *testing.T, b []byte) {
		spec, err := ParseGroupSpec("g.yaml", b)
		if err == nil && spec.Validate() != nil {
			t.Error("an invalid specification was accepted")
		}
	})
}

func TestClassOf(t *testing.T) {
	for _, c := range []struct {
		err  error
		want Class
	}{
		{errors.New("x"), Failed},
		{context.DeadlineExceeded, Failed},
		{fault.New(fault.Invalid, "x", nil), Invalid},
		{fmt.Errorf("y: %w", fault.New(fault.Missing, "x", nil)), NotFound},
		{fault.New(fault.Conflict, "x", nil), Conflict},
		{fault.New(fault.Taken, "x", nil), Conflict},
		{fault.New(fault.Transient, "x", nil), Unreachable},
		{fault.New(fault.Corrupt, "x", nil), Failed},
		{As(Unsafe, fault.New(fault.Invalid, "x", nil)), Unsafe},
		{fmt.Errorf("z: %w", As(Failed, fault.New(fault.Missing, "x", nil))), Failed},
	} {
		if got := ClassOf(c.err); got != c.want {
			t.Errorf("%v is %s, want %s", c.err, got, c.want)
		}
	}
	if As(Unsafe, nil) != nil {
		t.Error("nil became an error")
	}
}

func aGroup() topology.Group {
	return topology.Group{
		Name: "prod", Primary: "east", Secondary: "west", Active: "east", Epoch: 1, SmartDR: true,
		Workspaces: []topology.Workspace{{Name: "main", Sites: map[string]topology.Site{
			"east": {Source: topology.Source{ConnString: "postgresql://smartdr@db1:5432,[::1]:5433/app?sslmode=require"}},
		}}},
	}
}

var moment = time.Date(2026, 11, 22, 22, 10, 30, 0, time.UTC)

func aStatus() topology.GroupStatus {
	g := aGroup()
	g.Replication = &topology.Replication{}
	return topology.GroupStatus{Group: g, Workspaces: []topology.WorkspaceStatus{{
		Workspace: "main",
		Snapshot:  &topology.SnapshotProgress{Complete: []string{"east", "west"}},
		WAL: &topology.WALProgress{MeasuredAt: moment.Add(-5 * time.Second), Cursors: []topology.Cursor{
			{Region: "east", Point: topology.RecoveryPoint{At: wal.Position{Timeline: 1, LSN: 0x300}}},
			{Region: "west", LagBytes: 17, LagSeconds: 2.5, Point: topology.RecoveryPoint{At: wal.Position{Timeline: 1, LSN: 0x200}}},
		}},
		Databases: []topology.DatabaseStatus{{Database: "app"}},
	}}}
}

func TestPreview(t *testing.T) {
	p := preview(aStatus(), "west", moment)
	if !p.Ready || !p.Alive || p.Workspaces[0].Point.At.LSN != 0x200 || p.Workspaces[0].LagBytes != 17 {
		t.Errorf("%+v", p)
	}
	caughtUp := aStatus()
	caughtUp.Workspaces[0].WAL.Cursors[1].LagBytes = 0
	if got := preview(caughtUp, "west", moment).Workspaces[0].Point.AsOf; !got.Equal(moment.Add(-5 * time.Second)) {
		t.Errorf("a bucket that lacked nothing when it was measured is complete to %s", got)
	}
	if err := p.Refusal(false); ClassOf(err) != Unsafe {
		t.Errorf("a failover of a region that is alive: %v", err)
	}
	if err := p.Refusal(true); err != nil {
		t.Errorf("with force: %v", err)
	}
	for name, c := range map[string]struct {
		change       func(*topology.GroupStatus)
		alive, ready bool
	}{
		"bucket silent":     {func(s *topology.GroupStatus) { s.Silent = map[string]string{"east": "refused"} }, false, true},
		"shipper silent":    {func(s *topology.GroupStatus) { s.Workspaces[0].WAL.MeasuredAt = moment.Add(-15 * time.Second) }, false, true},
		"shipper in error":  {func(s *topology.GroupStatus) { s.Workspaces[0].WAL.Error = "wrong password" }, false, true},
		"other is silent":   {func(s *topology.GroupStatus) { s.Silent = map[string]string{"west": "refused"} }, true, true},
		"snapshot pending":  {func(s *topology.GroupStatus) { s.Workspaces[0].Snapshot.Complete = []string{"east"} }, true, false},
		"never snapshotted": {func(s *topology.GroupStatus) { s.Workspaces[0].Snapshot = nil }, true, false},
		"no WAL there":      {func(s *topology.GroupStatus) { s.Workspaces[0].WAL.Cursors = s.Workspaces[0].WAL.Cursors[:1] }, true, false},
		"nothing known":     {func(s *topology.GroupStatus) { s.Workspaces = nil }, false, false},
	} {
		s := aStatus()
		c.change(&s)
		p := preview(s, "west", moment)
		if p.Alive != c.alive || p.Ready != c.ready || p.Ready != (p.Problem == "") || p.Evidence == "" {
			t.Errorf("%s: %+v", name, p)
		}
		if !p.Ready && ClassOf(p.Refusal(true)) != NotFound {
			t.Errorf("%s: force helps", name)
		}
	}
}

func TestDatabasesOf(t *testing.T) {
	w := aStatus().Workspaces[0]
	w.Snapshot.Databases = []topology.DatabaseProgress{
		{Name: "app", Replicated: true, TotalBytes: 7}, {Name: "template1", Replicated: true}, {Name: "scratch", TotalBytes: 5},
	}
	want := []Database{{Workspace: "main", Kind: topology.AttachedKind, Name: "app", Replicated: true, SizeBytes: 7}, {Workspace: "main", Kind: topology.AttachedKind, Name: "scratch", SizeBytes: 5, Reason: "not in a snapshot yet"}}
	if diff := cmp.Diff(want, databasesOf(aStatus().Group, w)); diff != "" {
		t.Error(diff)
	}
}

// The preview names the host that the failover chooses: the one on which an address is kept, before one with fewer servers.
func TestThePreviewAsksForTheHostWhereAnAddressIsKept(t *testing.T) {
	st := topology.GroupStatus{
		Group: topology.Group{Workspaces: []topology.Workspace{{Name: "main", Reservations: map[string]topology.Reservation{"west": {Host: "w2"}}}, {Name: "side"}}},
	}
	p := FailoverPreview{Group: "prod", To: "west"}
	for _, name := range []string{"main", "side"} {
		st.Workspaces = append(st.Workspaces, topology.WorkspaceStatus{Workspace: name, Snapshot: &topology.SnapshotProgress{TotalBytes: 7}})
		p.Workspaces = append(p.Workspaces, WorkspacePreview{Workspace: name, Ready: true})
	}
	want := []topology.Need{{Group: "prod", Workspace: "main", DiskBytes: 7, Prefer: "w2"}, {Group: "prod", Workspace: "side", DiskBytes: 7}}
	if diff := cmp.Diff(want, previewNeeds(st, p)); diff != "" {
		t.Error(diff)
	}
}
