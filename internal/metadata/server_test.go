package metadata_test

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/jackc/pgx/v5"

	"github.com/smartdr/smartdr/internal/devenv"
	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/internal/metadata"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/topology"
)

// rules has one rule of every form that matters; the server must understand what is made of it.
const rules = `host all all 127.0.0.1/32 scram-sha-256
host "my ""db""",all "a b",+ops 10.0.0.0/8 scram-sha-256
host replication all 127.0.0.1 255.255.255.255 scram-sha-256
host app all .example.com md5
host app all ::1/128 reject
host all all samenet radius radiusservers="127.0.0.1" radiussecrets="hunter2" radiusports="1812"
local all all peer map=people
local all broken nomethod
`

// primary is a server with something of everything that is captured.
func primary(t *testing.T, major int) *devenv.Postgres {
	t.Helper()
	p := devtest.Postgres(t, devenv.PostgresOptions{Major: major, Settings: map[string]string{"archive_mode": "off"}})
	for database, statements := range map[string][]string{"postgres": {
		`create role plain login password 'plain' replication`, `create role boss superuser login`, `create role "a b" login password 'secretpw1'`,
		`create database app`, `create database "my ""db"""`, `create database half`, `update pg_database set datconnlimit = -2 where datname = 'half'`,
		`revoke connect on database "my ""db""" from public`,
		`alter system set work_mem = '33MB'`, `alter system set primary_conninfo = 'host=old password=hunter2'`,
		`alter system set archive_command = 'AWS_SECRET_ACCESS_KEY=hunter2 aws s3 cp'`,
		`alter system set session_preload_libraries = 'auto_explain'`, `alter database app set app.jwt_secret = 'hunter2'`,
		`alter role plain set session_preload_libraries = 'gone'`, `select pg_reload_conf()`,
	}} {
		if err := p.Exec(t.Context(), database, statements...); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.Exec(t.Context(), "app", `create unlogged table u()`, `create schema s`); err != nil {
		t.Fatal(err)
	}
	if err := p.WriteHBA(rules); err != nil {
		t.Fatal(err)
	}
	return p
}

func connect(t *testing.T, p *devenv.Postgres, role, password string) *pgx.Conn {
	t.Helper()
	c, err := devenv.Connect(t.Context(), p.URL(role, "postgres"), password)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(context.Background()) })
	return c
}

func TestCapture(t *testing.T) {
	devtest.EachMajor(t, func(t *testing.T, major int) {
		p := primary(t, major)
		super, err := p.Open(t.Context(), "postgres")
		if err != nil {
			t.Fatal(err)
		}
		defer super.Close(context.Background())
		t.Run("as a superuser", func(t *testing.T) { checkCapture(t, super, true) })
		t.Run("as an ordinary role", func(t *testing.T) {
			if _, err := super.Exec(t.Context(), `alter role plain reset session_preload_libraries`); err != nil { // it cannot connect with it
				t.Fatal(err)
			}
			checkCapture(t, connect(t, p, "plain", "plain"), false)
		})
	})
}

func checkCapture(t *testing.T, conn *pgx.Conn, super bool) {
	m, err := metadata.Capture(t.Context(), conn)
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{"hunter2", "secretpw1", "SCRAM-SHA-256$"} {
		if strings.Contains(string(b), secret) {
			t.Errorf("the capture holds %s: %s", secret, b)
		}
	}
	if !slices.Equal(m.Superusers, []string{"postgres", "boss"}) || m.Superuser != super || m.SystemID == "" || m.ServerVersion < 150000 {
		t.Errorf("superusers %v, superuser %v, system %q, version %d", m.Superusers, m.Superuser, m.SystemID, m.ServerVersion)
	}
	if m.Setting("work_mem") != "33MB" || m.Setting("max_connections") == "" || m.Setting("archive_command") != "" {
		t.Errorf("settings %+v", m.Settings)
	}
	i := slices.IndexFunc(m.Databases, func(d metadata.Database) bool { return d.Name == "half" })
	if i < 0 || !m.Databases[i].Invalid {
		t.Errorf("databases %+v", m.Databases)
	}
	if !slices.Contains(m.Extensions, metadata.Extension{Database: "app", Name: "plpgsql", Version: "1.0"}) {
		t.Errorf("extensions %+v", m.Extensions)
	}
	notes := strings.Join(m.Notes, "\n")
	if super {
		if m.Setting("session_preload_libraries") != "auto_explain" { // our own connection has another value
			t.Error("a setting that the connection overrides was not captured")
		}
		wantNotes(t, notes, "archive_command", "1 unlogged", "DROP DATABASE \"half\"", "access rule is wrong")
		checkRules(t, m)
		if !m.FilesKnown || !slices.Contains(m.FileSettings, metadata.FileSetting{Name: "work_mem", Value: "33MB", Kind: metadata.ByAlterSystem}) {
			t.Errorf("lines of files: %+v", m.FileSettings)
		}
		return
	}
	wantNotes(t, notes, `GRANT pg_read_all_settings TO "plain"`, "pg_hba_file_rules", "pg_ident_file_mappings", `my "db"`)
	if m.HBAKnown || m.FilesKnown || m.Setting("session_preload_libraries") != "" {
		t.Errorf("an ordinary role knows too much: %+v", m)
	}
}

func wantNotes(t *testing.T, notes string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(notes, part) {
			t.Errorf("no note says %q:\n%s", part, notes)
		}
	}
}

func checkRules(t *testing.T, m metadata.Metadata) {
	t.Helper()
	secret := metadata.HBARule{Type: "host", Databases: []string{"all"}, Users: []string{"all"}, Address: "samenet", Method: "radius",
		Options: []string{"radiusservers=127.0.0.1", "radiusports=1812"}, Redacted: true}
	quoted := metadata.HBARule{Type: "host", Databases: []string{`my "db"`, "all"}, Users: []string{"a b", "+ops"},
		Address: "10.0.0.0", Netmask: "255.0.0.0", Method: "scram-sha-256"}
	for _, want := range []metadata.HBARule{secret, quoted} {
		if !slices.ContainsFunc(m.HBA, func(r metadata.HBARule) bool { return cmp.Equal(want, r, cmpopts.EquateEmpty()) }) {
			t.Errorf("no rule %+v among %+v", want, m.HBA)
		}
	}
}

// TestARestoredServerTakesWhatIsWritten starts a server with the settings and the rules made of its own metadata.
func TestARestoredServerTakesWhatIsWritten(t *testing.T) {
	devtest.EachMajor(t, func(t *testing.T, major int) {
		p := primary(t, major)
		m := captureAsSuperuser(t, p)
		if err := p.Stop(t.Context(), postgres.Fast); err != nil {
			t.Fatal(err)
		}
		host, err := metadata.Inspect(t.Context(), p.Bin, p.DataDir)
		if err != nil {
			t.Fatal(err)
		}
		place := metadata.Place{DataDir: p.DataDir, Admin: p.Superuser, Host: host, Firewall: topology.Firewall{Ranges: []string{"127.0.0.0/8"}}}
		mapping := restoreSettings(t, p.Server, m, place)
		hba, hbaNotes, err := metadata.HBA(m, place)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("notes: %q %q %q\n%s\n%v", mapping.Mapped, mapping.Notes, hbaNotes, hba, mapping.CommandLine)
		p.Settings = mapping.CommandLine
		if err := p.WriteHBA(hba); err != nil {
			t.Fatal(err)
		}
		if err := p.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		conn, err := p.Open(t.Context(), "postgres")
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(context.Background())
		wrong, err := metadata.FileErrors(t.Context(), conn)
		if err != nil || len(wrong) > 0 {
			t.Errorf("%v, errors in files: %q", err, wrong)
		}
		want := map[string]string{"primary_conninfo": "", "archive_mode": "off", "work_mem": "33MB", "max_connections": m.Setting("max_connections")}
		for name, value := range want {
			var got string
			if err := conn.QueryRow(t.Context(), `select current_setting($1)`, name).Scan(&got); err != nil || got != value {
				t.Errorf("%s is %q, want %q (%v)", name, got, value, err)
			}
		}
		connect(t, p, "a%20b", "secretpw1") // by the primary's rule
		again := captureAsSuperuser(t, p)
		second, _, err := metadata.HBA(again, place)
		if diff := cmp.Diff(hba, second); diff != "" || err != nil {
			t.Errorf("the rules change with every failover:\n%s", diff)
		}
	})
}

func captureAsSuperuser(t *testing.T, p *devenv.Postgres) metadata.Metadata {
	t.Helper()
	conn, err := p.Open(t.Context(), "postgres")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	m, err := metadata.Capture(t.Context(), conn)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestInspect(t *testing.T) {
	devtest.EachMajor(t, func(t *testing.T, major int) {
		bin, err := postgres.Find(major, devenv.PostgresDirs())
		if err != nil {
			t.Fatal(err)
		}
		h, err := metadata.Inspect(t.Context(), bin, filepath.Join(t.TempDir(), "not", "there", "yet"))
		if err != nil {
			t.Fatal(err)
		}
		if h.Major != major || !h.Extensions["plpgsql"] || !h.Libraries["plpgsql"] || h.FreeBytes <= 0 || h.MemoryBytes <= 0 {
			t.Errorf("got %+v", h)
		}
		t.Log(fmt.Sprint(h.Features, h.LibcVersion, len(h.Locales), len(h.Extensions), len(h.Libraries)))
		if problems := metadata.Compare(metadata.Metadata{ServerVersion: bin.Version, Extensions: []metadata.Extension{{Database: "a", Name: "no_such_thing"}}}, h, 1<<50); len(problems) != 2 {
			t.Errorf("a missing extension and a full disk: %v", problems)
		}
	})
}
