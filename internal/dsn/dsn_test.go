package dsn_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/smartdr/smartdr/internal/dsn"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
)

func TestParse(t *testing.T) {
	t.Setenv("PGPASSFILE", filepath.Join(t.TempDir(), "none"))
	for _, c := range []struct {
		text string
		want dsn.Parsed
	}{
		{"postgres://ann@db.example:6432/shop?sslmode=require", dsn.Parsed{
			Hosts: []topology.HostPort{{Host: "db.example", Port: 6432}}, Database: "shop", User: "ann", TargetSessionAttrs: "any"}},
		{"host=a,b port=1,2 user=ann dbname=shop target_session_attrs=read-write", dsn.Parsed{
			Hosts: []topology.HostPort{{Host: "a", Port: 1}, {Host: "b", Port: 2}}, Database: "shop", User: "ann", TargetSessionAttrs: "read-write"}},
		{"host=/run/pg user='o''x' dbname=shop keepalives=1 gssencmode=disable", dsn.Parsed{}}, // '' is no escape in this form
		{"host=/run/pg user=ann dbname=shop keepalives=1 gssencmode=disable", dsn.Parsed{
			Hosts: []topology.HostPort{{Host: "/run/pg", Port: 5432}}, Database: "shop", User: "ann", TargetSessionAttrs: "any"}},
	} {
		got, err := dsn.Parse(topology.Source{ConnString: c.text})
		if (err != nil) != (c.want.User == "") {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		if diff := cmp.Diff(c.want, got); err == nil && diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.text, diff)
		}
	}
}

// TestFilesAreReadWhereAWorkerConnects: certificates that are on the workers alone do not keep a string from being read elsewhere.
func TestFilesAreReadWhereAWorkerConnects(t *testing.T) {
	t.Setenv("PGPASSFILE", filepath.Join(t.TempDir(), "none"))
	want := dsn.Parsed{Hosts: []topology.HostPort{{Host: "a", Port: 1}, {Host: "b", Port: 2}}, Database: "shop", User: "ann", TargetSessionAttrs: "read-write"}
	t.Setenv("PGSSLROOTCERT", "/nowhere/environment.crt")
	for _, text := range []string{
		"postgres://ann@a:1,b:2/shop?sslmode=verify-full&sslrootcert=/nowhere/ca.crt&target_session_attrs=read-write",
		"postgresql://ann@a:1,b:2/shop?target_session_attrs=read-write&sslrootcert=%2Fnowhere%2Fca.crt&sslcert=/nowhere/me.crt&sslkey=/nowhere/me.key",
		"host=a,b port=1,2 user=ann dbname=shop sslmode=verify-ca sslrootcert='/nowhere/ca.crt' target_session_attrs=read-write",
		"host=a,b port=1,2 user=ann dbname=shop target_session_attrs=read-write sslcert=/nowhere/me.crt sslkey=/nowhere/me.key",
		"postgres://ann@a:1,b:2/shop?target_session_attrs=read-write",
	} {
		src := topology.Source{ConnString: text}
		got, err := dsn.Parse(src)
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("%s: %v (-want +got):\n%s", text, err, diff)
		}
		_, err = dsn.ConnConfig(src)
		if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "/nowhere/") || !strings.Contains(fault.HintOf(err), "/nowhere/") {
			t.Errorf("%s: connecting without the file: %v, %s", text, err, fault.HintOf(err))
		}
	}
	_, err := dsn.Parse(topology.Source{ConnString: "host=a user=ann password=hunter2 sslrootcert=/nowhere/ca.crt"})
	if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "holds a password") || strings.Contains(err.Error(), secret) {
		t.Errorf("with a password and a file: %v", err)
	}
}

func TestEveryTargetSessionAttrs(t *testing.T) {
	for _, attrs := range []string{"any", "read-write", "read-only", "primary", "standby", "prefer-standby"} {
		got, err := dsn.Parse(topology.Source{ConnString: "host=a user=b target_session_attrs=" + attrs})
		if err != nil || got.TargetSessionAttrs != attrs {
			t.Errorf("%s: got %q, %v", attrs, got.TargetSessionAttrs, err)
		}
	}
}

const secret = "hunter2"

// TestNoPasswordInTheString also checks that no refusal repeats it.
func TestNoPasswordInTheString(t *testing.T) {
	for _, text := range []string{
		"postgres://ann:hunter2@db/shop", "postgres://ann@db/shop?password=hunter2", "host=db user=ann password=hunter2",
		"host=db user=ann password = 'hunter2'", "host=db sslpassword=hunter2", "host=db password='hunter2",
		"postgres://ann:hunter2@db:port/shop", "postgres://ann:hunter2@db/%zz", "host=db password=hunter2 port=x", "host=db password=hunter2 nosuch=1",
		"postgres://ann:hunter2@[::1/shop", "postgres://ann:hunter2@db/shop?sslmode=odd", "host=db 'password=hunter2",
		"", "host=db passwort=1",
	} {
		for _, f := range []func(topology.Source) error{
			func(s topology.Source) error { _, err := dsn.Parse(s); return err },
			func(s topology.Source) error { _, err := dsn.ConnConfig(s); return err },
		} {
			err := f(topology.Source{ConnString: text})
			if !fault.Is(err, fault.Invalid) || fault.HintOf(err) == "" {
				t.Errorf("%q: want Invalid with a hint, got %v", text, err)
			}
			if err != nil && strings.Contains(err.Error()+fault.HintOf(err), secret) {
				t.Errorf("%q: the refusal repeats the password: %v", text, err)
			}
		}
	}
}

func TestPasswordPlaces(t *testing.T) {
	dir := t.TempDir()
	file, empty, passfile := filepath.Join(dir, "pw"), filepath.Join(dir, "empty"), filepath.Join(dir, "pgpass")
	for path, content := range map[string]string{file: "from file\n", empty: "\n", passfile: "db:5432:shop:ann:from pgpass\n"} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PGPASSFILE", passfile)
	t.Setenv("SHOP_PASSWORD", "from env")
	const str = "host=db port=5432 user=ann dbname=shop"
	for _, c := range []struct {
		src       topology.Source
		want, err string
	}{
		{topology.Source{PasswordFile: file}, "from file", ""},
		{topology.Source{PasswordEnv: "SHOP_PASSWORD"}, "from env", ""},
		{topology.Source{}, "from pgpass", ""},
		{topology.Source{PasswordFile: filepath.Join(dir, "gone")}, "", "gone"},
		{topology.Source{PasswordFile: empty}, "", "empty"},
		{topology.Source{PasswordEnv: "NOT_SET"}, "", "NOT_SET"},
		{topology.Source{PasswordEnv: "SHOP_PASSWORD", PasswordFile: file}, "", "both"},
	} {
		c.src.ConnString = str
		cfg, err := dsn.ConnConfig(c.src)
		if c.err != "" {
			if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), c.err) || fault.HintOf(err) == "" {
				t.Errorf("%+v: want Invalid naming %q, got %v", c.src, c.err, err)
			}
			continue
		}
		if err != nil || cfg.Password != c.want {
			t.Errorf("%+v: %v, got %q", c.src, err, cfg.Password)
		}
	}
	t.Setenv("PGPASSWORD", "from PGPASSWORD")
	if cfg, err := dsn.ConnConfig(topology.Source{ConnString: str, PasswordFile: file}); err != nil || cfg.Password != "from file" {
		t.Errorf("a named place beats PGPASSWORD: %v", err)
	}
}

func TestRedact(t *testing.T) {
	for in, want := range map[string]string{
		"postgres://ann:hunter2@db/x":                          "postgres://ann:xxxxx@db/x",
		"postgresql://ann:hunt@er2@db/x":                       "postgresql://ann:xxxxx@db/x",
		"cannot parse `postgres://ann:hunter2@db/x`: no":       "cannot parse `postgres://ann:xxxxx@db/x`: no",
		"postgres://ann@db:5432/x?password=hunter2&a=b":        "postgres://ann@db:5432/x?password=xxxxx&a=b",
		"host=db password=hunter2 user=a":                      "host=db password=xxxxx user=a",
		"host=db password = 'hun ter2\\' x' user=a":            "host=db password = xxxxx user=a",
		"host=db password='hunter2":                            "host=db password=xxxxx",
		"host=db PASSWORD=hun\\ ter2":                          "host=db PASSWORD=xxxxx",
		"host=db passfile=/home/ann/.pgpass target=postgres:x": "host=db passfile=/home/ann/.pgpass target=postgres:x",
		"password authentication failed for user \"ann\"":      "password authentication failed for user \"ann\"",
	} {
		if got := dsn.Redact(in); got != want {
			t.Errorf("Redact(%q)\n got %q\nwant %q", in, got, want)
		}
	}
}

func FuzzParseAndRedact(f *testing.F) {
	f.Add("postgres://a:b@c/d?e=f")
	f.Add("host=a password='b c'")
	f.Fuzz(func(_ *testing.T, s string) {
		_, _ = dsn.Parse(topology.Source{ConnString: s})
		_ = dsn.Redact(s)
	})
}
