package test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/smartdr/smartdr/internal/api"
	"github.com/smartdr/smartdr/internal/devenv"
)

// TestWorkspaces goes with `smartdr` through the life of a group that mixes an adopted server with two that SmartDR makes:
// create, change, suspend, resume, choose databases, lose the region, fail over, connect, terminate.
func TestWorkspaces(t *testing.T) {
	env := startEnv(t)
	s := smartdr{t: t, env: env}
	group := devenv.GroupName

	s.ok("group", "create", "-f", mixedGroup(t, env))
	s.states(map[string]string{"main": "adopted active", "reports": "managed active"})
	if hosts := s.hosts(); len(hosts) != 2 || len(hosts[1].Placed) == 0 {
		t.Errorf("the hosts after a workspace was placed: %+v", hosts)
	}
	s.fails(2, "workspace", "create", "--group", group, "--name", "huge", "--size", "1000GiB/2")
	s.fails(2, "workspace", "create", "--group", group, "--name", "odd", "--set", "no_such_setting=1")
	s.ok("workspace", "create", "--group", group, "--name", "ledger", "--size", "128MiB/0.1", "--set", "work_mem=5MB")
	s.fails(4, "workspace", "create", "--group", group, "--name", "ledger", "--size", "128MiB/0.1")

	s.ok("workspace", "change", "ledger", "--group", group, "--set", "work_mem=6MB", "--set", "max_connections=33", "--restart")
	if got := s.admin("ledger", "postgres", "show work_mem; show max_connections"); got != "6MB\n33" {
		t.Errorf("after the change: %q", got)
	}
	s.admin("ledger", "postgres", "create database books")
	s.admin("ledger", "books", "create table kept (n int); insert into kept select generate_series(1, 77)")
	s.ok("group", "change", group, "--add-firewall", "192.0.2.0/24")

	s.ok("configure", "--group", group, "--secondary", devenv.Secondary, "--wait", "--timeout", "3m")
	s.ok("databases", "remove", "--group", group, "main/app")
	s.fails(2, "databases", "add", "--group", group, "main/nope")
	if out := s.ok("databases"); !strings.Contains(out, "left out") {
		t.Errorf("the databases:\n%s", out)
	}
	s.ok("databases", "all", "--group", group)

	s.ok("workspace", "suspend", "reports", "--group", group)
	s.states(map[string]string{"main": "adopted active", "reports": "managed suspended", "ledger": "managed active"})
	s.fails(3, "connect", "--workspace", "reports")
	if out := s.ok("status"); !strings.Contains(out, "Workspace reports is suspended") {
		t.Errorf("the status:\n%s", out)
	}
	s.ok("workspace", "resume", "reports", "--group", group)
	s.ok("status", "--wait", "--timeout", "2m")

	password := s.password("ledger")
	if err := env.KillRegion(t.Context(), devenv.Primary); err != nil {
		t.Fatal(err)
	}
	s.ok("failover", "--group", group, "--yes", "--timeout", "4m")
	s.states(map[string]string{"main": "managed active", "reports": "managed active", "ledger": "managed active"})
	t.Setenv("PGPASSWORD", password)
	if got := s.psql("ledger", "books", "select count(*) from kept"); got != "77" {
		t.Errorf("after the failover ledger has %q rows", got)
	}
	s.fails(2, "connect")

	s.ok("workspace", "terminate", "reports", "--group", group, "--yes", "--force")
	s.ok("group", "terminate", group, "--yes", "--force")
	if out := s.ok("group", "list"); !strings.Contains(out, "No group yet") {
		t.Errorf("after the end:\n%s", out)
	}
	s.fails(3, "connect", "--group", group, "--workspace", "ledger")
}

// mixedGroup writes the environment's group with one more workspace, which SmartDR makes.
func mixedGroup(t *testing.T, env *devenv.Env) string {
	t.Helper()
	b, err := os.ReadFile(env.GroupPath())
	if err != nil {
		t.Fatal(err)
	}
	text := string(b) + "  - name: reports\n    size: 128MiB/0.1\n    settings: {work_mem: 5MB}\n"
	path := filepath.Join(t.TempDir(), "mixed.yaml")
	text = strings.Replace(text, "workspaces:\n", "firewall: [127.0.0.0/8]\nworkspaces:\n", 1)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// states compares what `smartdr workspace list` says with "kind state" by name.
func (s smartdr) states(want map[string]string) {
	s.t.Helper()
	var all []api.Workspace
	s.json(&all, "workspace", "list")
	got := map[string]string{}
	for _, w := range all {
		got[w.Name] = fmt.Sprintf("%s %s", w.Kind, w.State)
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		s.t.Errorf("the workspaces are %v, want %v", got, want)
	}
}

func (s smartdr) hosts() []api.Host {
	s.t.Helper()
	var h api.Hosts
	s.json(&h, "hosts")
	return h.Hosts
}

// password is that of the administrator, in the file that `smartdr connect` names.
func (s smartdr) password(workspace string) string {
	s.t.Helper()
	var c api.Connection
	s.json(&c, "connect", "--workspace", workspace)
	b, err := os.ReadFile(c.PasswordFile)
	if err != nil {
		s.t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

// admin runs SQL as the workspace's administrator.
func (s smartdr) admin(workspace, database, sql string) string {
	s.t.Helper()
	s.t.Setenv("PGPASSWORD", s.password(workspace))
	return s.psql(workspace, database, sql)
}

func (s smartdr) psql(workspace, database, sql string) string {
	s.t.Helper()
	return strings.TrimSpace(s.ok("connect", "--workspace", workspace, "--database", database, "--quiet", "--", "-Atc", sql))
}
