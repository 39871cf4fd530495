package workspaces_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/smartdr/smartdr/internal/api"
	"github.com/smartdr/smartdr/internal/devenv"
	"github.com/smartdr/smartdr/internal/devenv/devtest"
)

// exits runs the CLI, which must end with an exit code that scripts rely on.
func (w *world) exits(code int, args ...string) {
	w.t.Helper()
	out, err := w.env.SmartDR(w.t.Context(), args...)
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != code {
		w.t.Errorf("smartdr %s: want exit code %d, got %v\n%s", strings.Join(args, " "), code, err, out)
	}
}

// states compares what `smartdr workspace list` says with "kind state" by name.
func (w *world) states(want map[string]string) {
	w.t.Helper()
	var all []api.Workspace
	w.json(&all, "workspace", "list")
	got := map[string]string{}
	for _, ws := range all {
		got[ws.Name] = fmt.Sprintf("%s %s", ws.Kind, ws.State)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		w.t.Errorf("the workspaces (-want +got):\n%s", diff)
	}
}

func (w *world) json(into any, args ...string) {
	w.t.Helper()
	if err := json.Unmarshal([]byte(w.smartdr(append(args, "-o", "json")...)), into); err != nil {
		w.t.Fatalf("smartdr %v: %v", args, err)
	}
}

// commandsAtHome gives the commands that the story of a failover does not need, and those that are refused.
func (w *world) commandsAtHome(t *testing.T) {
	w.states(map[string]string{"main": "adopted active", "orders": "managed active", "asleep": "managed active"})
	var h api.Hosts
	w.json(&h, "hosts")
	if len(h.Hosts) != 2 || len(h.Hosts[1].Placed) == 0 {
		t.Errorf("the hosts after a workspace was placed: %+v", h.Hosts)
	}
	w.exits(2, "workspace", "create", "--group", group, "--name", "huge", "--size", "1000GiB/2")
	w.exits(2, "workspace", "create", "--group", group, "--name", "odd", "--set", "no_such_setting=1")
	w.exits(4, "workspace", "create", "--group", group, "--name", "orders", "--size", "128MiB/0.1")
	w.smartdr("group", "change", group, "--add-firewall", "192.0.2.0/24")
	w.smartdr("configure", "--group", group, "--secondary", devenv.Secondary, "--wait", "--timeout", devtest.Patience.String())
	w.smartdr("databases", "remove", "--group", group, "main/"+bank)
	w.exits(2, "databases", "add", "--group", group, "main/nope")
	if out := w.smartdr("databases"); !strings.Contains(out, "left out") {
		t.Errorf("the databases:\n%s", out)
	}
	w.smartdr("databases", "all", "--group", group)
}

// commandsWhileAsleep asks about a workspace that is suspended.
func (w *world) commandsWhileAsleep(t *testing.T) {
	w.states(map[string]string{"main": "adopted active", "orders": "managed active", "asleep": "managed suspended"})
	w.exits(3, "connect", "--workspace", "asleep")
	if out := w.smartdr("status"); !strings.Contains(out, "Workspace asleep is suspended") {
		t.Errorf("the status:\n%s", out)
	}
}

// commandsAway connects to what a failover brought up, with the password of the server that it was at home.
func (w *world) commandsAway(t *testing.T) {
	w.states(map[string]string{"main": "managed active", "orders": "managed active", "asleep": "managed suspended"})
	w.exits(2, "connect") // to which of three?
	home := w.workspace("orders").Sites[devenv.Primary]
	password, err := os.ReadFile(filepath.Join(home.Instance, "admin.password"))
	check(t, err)
	out, notes := w.says("PGPASSWORD="+strings.TrimSpace(string(password)), "connect", "--workspace", "orders", "--database", bank, "--", "-Atc", "select current_user")
	if out != "admin\n" {
		t.Errorf("smartdr connect, as %q", out)
	}
	if strings.Contains(notes, home.Instance) || !strings.Contains(notes, `\password admin`) {
		t.Errorf("the password is looked for on a host that is lost:\n%s", notes)
	}
}

// says runs the CLI with one more variable, and returns what it prints on both streams.
func (w *world) says(variable string, args ...string) (stdout, stderr string) {
	w.t.Helper()
	path, err := devenv.Tool("smartdr")
	check(w.t, err)
	ctx, cancel := context.WithTimeout(w.t.Context(), devtest.Patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = append(os.Environ(), "SMARTDR_CONFIG="+w.env.ConfigPath(), variable)
	var notes strings.Builder
	cmd.Stderr = &notes
	out, err := cmd.Output()
	if err != nil {
		w.t.Errorf("smartdr %v: %v\n%s", args, err, &notes)
	}
	return string(out), notes.String()
}

// commandsAtTheEnd takes the group down while of the region that it came from nothing but the bucket is there, which decides.
func (w *world) commandsAtTheEnd(t *testing.T) {
	check(t, w.env.KillRegion(t.Context(), devenv.Primary))
	check(t, w.env.Regions[devenv.Primary].Gateway.Restart(t.Context()))
	w.smartdr("workspace", "terminate", "asleep", "--group", group, "--yes", "--force")
	w.smartdr("group", "terminate", group, "--yes", "--force")
	if out := w.smartdr("group", "list"); !strings.Contains(out, "No group yet") {
		t.Errorf("after the end:\n%s", out)
	}
	w.exits(3, "connect", "--group", group, "--workspace", "orders")
}
