package test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/smartdr/smartdr/internal/devenv"
	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/internal/topology"
)

// TestCommandLine goes the whole way with `smartdr` as a script would: create, configure, look, lose a region, fail
// over, connect. Exit codes and JSON are what scripts rely on.
func TestCommandLine(t *testing.T) {
	env := startEnv(t)
	s := smartdr{t: t, env: env}

	s.ok("group", "create", "-f", env.GroupPath())
	s.fails(4, "group", "create", "-f", env.GroupPath())
	s.fails(3, "failover", "--group", devenv.GroupName, "--yes")
	s.fails(2, "configure", "--group", devenv.GroupName, "--secondary", devenv.Secondary, "--database", "nope")
	s.ok("configure", "--group", devenv.GroupName, "--secondary", devenv.Secondary, "--wait", "--timeout", devtest.Patience.String())

	var st topology.GroupStatus
	s.json(&st, "status")
	for _, d := range st.Workspaces[0].Databases {
		if d.State != topology.Active || d.Region != devenv.Secondary || d.Lag.MeasuredAt.IsZero() {
			t.Errorf("after configure --wait: %+v", d)
		}
	}
	if out := s.ok("databases"); !strings.Contains(out, "app") {
		t.Errorf("the databases:\n%s", out)
	}
	s.fails(6, "failover", "--group", devenv.GroupName, "--yes")

	if err := env.KillRegion(t.Context(), devenv.Primary); err != nil {
		t.Fatal(err)
	}
	if out := s.ok("failover", "--group", devenv.GroupName, "--dry-run"); !strings.Contains(out, "seems lost") {
		t.Errorf("the preview:\n%s", out)
	}
	if out := s.ok("failover", "--group", devenv.GroupName, "--yes", "--timeout", devtest.Patience.String()); !strings.Contains(out, "✓ Publish") {
		t.Errorf("the phases were not shown:\n%s", out)
	}
	s.fails(2, "failover", "--group", devenv.GroupName, "--to", devenv.Secondary, "--yes")

	var ops []topology.Operation
	s.json(&ops, "operations")
	if len(ops) != 1 || ops[0].State != topology.OperationCompleted || ops[0].EndedAt.IsZero() {
		t.Fatalf("the operations: %+v", ops)
	}
	s.ok("operations", ops[0].ID)
	if out := s.ok("connect", "--multi-host"); !strings.HasSuffix(strings.TrimSpace(out), "?target_session_attrs=read-write") {
		t.Errorf("the multi-host connection string: %s", out)
	}
	s.checkPSQL()
}

// checkPSQL runs psql through `smartdr connect`, over the multi-host string: the client finds the living side itself.
func (s smartdr) checkPSQL() {
	s.t.Helper()
	if _, err := exec.LookPath("psql"); err != nil {
		s.t.Log("psql is not there: not tried")
		return
	}
	password, err := os.ReadFile(s.env.Server.PasswordFile)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Setenv("PGPASSWORD", strings.TrimSpace(string(password)))
	out := s.ok("connect", "--user", s.env.Server.Superuser, "--database", "app", "--multi-host", "--", "-Atc", "select count(*) from kept")
	if strings.TrimSpace(out) != "1000" {
		s.t.Errorf("psql says %q", out)
	}
	s.fails(2, "connect", "--user", s.env.Server.Superuser, "--database", "nope", "--exec")
}

func startEnv(t *testing.T) *devenv.Env {
	t.Helper()
	env, err := devenv.StartEnv(t.Context(), devenv.EnvOptions{Dir: devtest.Dir(t), NoUI: true, AfterServer: someData})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), devtest.Patience)
		defer cancel()
		if err := env.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	return env
}

// smartdr runs bin/smartdr.
type smartdr struct {
	t   *testing.T
	env *devenv.Env
}

func (s smartdr) run(args ...string) (stdout, stderr string, code int) {
	s.t.Helper()
	path, err := devenv.Tool("smartdr")
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(s.t.Context(), 2*devtest.Patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = append(os.Environ(), "SMARTDR_CONFIG="+s.env.ConfigPath())
	cmd.WaitDelay = time.Second
	var out, problem bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &problem
	var exit *exec.ExitError
	if err := cmd.Run(); errors.As(err, &exit) {
		code = exit.ExitCode()
	} else if err != nil {
		s.t.Fatal(err)
	}
	return out.String(), problem.String(), code
}

func (s smartdr) ok(args ...string) string {
	s.t.Helper()
	out, problem, code := s.run(args...)
	s.t.Logf("$ smartdr %s\n%s%s", strings.Join(args, " "), out, problem)
	if code != 0 {
		s.t.Fatalf("exit code %d", code)
	}
	return out
}

func (s smartdr) fails(want int, args ...string) {
	s.t.Helper()
	out, problem, code := s.run(args...)
	s.t.Logf("$ smartdr %s\n%s%s", strings.Join(args, " "), out, problem)
	if code != want {
		s.t.Errorf("exit code %d, want %d", code, want)
	}
}

func (s smartdr) json(into any, args ...string) {
	s.t.Helper()
	out, problem, code := s.run(append(args, "-o", "json")...)
	if code != 0 {
		s.t.Fatalf("smartdr %v: exit code %d: %s", args, code, problem)
	}
	if err := json.Unmarshal([]byte(out), into); err != nil {
		s.t.Fatalf("smartdr %v: %v\n%s", args, err, out)
	}
}
