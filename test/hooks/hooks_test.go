// Package hooks_test loses a region while somebody wants to be told of it, and while clients know nothing but the connection string that
// they were given at the beginning. Everything is real, and asked for by the CLI.
package hooks_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/smartdr/smartdr/internal/devenv"
	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/workflows"
)

const key = "c21hcnRkciB0ZXN0cyBpdHMgb3duIGhvb2tz" // of the receiver, as base64

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// receiver is told of events. The first attempt of each is refused, as by a server that is just being started.
type receiver struct {
	mu     sync.Mutex
	wrong  []string // what was not signed as it ought to be
	tried  map[string]int
	events []workflows.Event
	came   chan struct{} // holds one when something has come
}

func newReceiver(t *testing.T) (*receiver, string) {
	r := &receiver{tried: map[string]int{}, came: make(chan struct{}, 1)}
	s := httptest.NewServer(r)
	t.Cleanup(s.Close)
	return r, s.URL
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	id := req.Header.Get("webhook-id")
	secret, err2 := base64.StdEncoding.DecodeString(key)
	mac := hmac.New(sha256.New, secret)
	fmt.Fprintf(mac, "%s.%s.%s", id, req.Header.Get("webhook-timestamp"), body)
	var e workflows.Event
	err3 := json.Unmarshal(body, &e)
	r.mu.Lock()
	defer r.mu.Unlock()
	if want := "v1," + base64.StdEncoding.EncodeToString(mac.Sum(nil)); err != nil || err2 != nil || err3 != nil || req.Header.Get("webhook-signature") != want || id != e.ID || id == "" {
		r.wrong = append(r.wrong, fmt.Sprintf("%v: %s", req.Header, body))
	}
	if r.tried[id]++; r.tried[id] == 1 && e.Type != workflows.EventTest {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	if r.tried[id] <= 2 {
		r.events = append(r.events, e)
	}
	select {
	case r.came <- struct{}{}:
	default:
	}
}

// await waits for an event of a type.
func (r *receiver) await(t *testing.T, typ workflows.EventType) workflows.Event {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), devtest.Patience)
	defer cancel()
	for {
		r.mu.Lock()
		at := slices.IndexFunc(r.events, func(e workflows.Event) bool { return e.Type == typ })
		if at >= 0 {
			defer r.mu.Unlock()
			return r.events[at]
		}
		r.mu.Unlock()
		select {
		case <-r.came:
		case <-ctx.Done():
			t.Fatalf("no event %s came: %+v", typ, r.events)
		}
	}
}

// TestARegionIsLost: the ways to the outside and the clients' way in, before and after a failover.
func TestARegionIsLost(t *testing.T) {
	dir := devtest.Dir(t)
	env, err := devenv.StartEnv(t.Context(), devenv.EnvOptions{Dir: filepath.Join(dir, "env"), NoUI: true, NoWorkers: true})
	check(t, err)
	t.Cleanup(func() { devtest.End(t, env) })
	people, url := newReceiver(t)
	told := configure(t, env, url)
	for _, r := range env.Regions {
		check(t, r.StartWorker(t.Context(), env.Temporal))
	}
	smartdr := func(args ...string) string {
		t.Helper()
		out, err := env.SmartDR(t.Context(), args...)
		check(t, err)
		return out
	}
	group := []string{"--group", devenv.GroupName}
	smartdr("group", "create", "-f", env.GroupPath())
	smartdr(append([]string{"configure", "--secondary", devenv.Secondary, "--wait", "--timeout", devtest.Patience.String()}, group...)...)

	if out := smartdr(append([]string{"hooks", "test"}, group...)...); !strings.Contains(out, "200 OK") || !strings.Contains(out, "exit code 0") {
		t.Errorf("a test of the hooks:\n%s", out)
	}
	given := givenAtTheBeginning(t, env)
	writesThrough(t, env, given, env.Server.Port)

	check(t, env.KillRegion(t.Context(), devenv.Primary))
	smartdr(append([]string{"failover", "--yes", "--timeout", devtest.Patience.String()}, group...)...)

	serving := people.await(t, workflows.EventServing)
	if len(serving.Endpoint.Hosts) != 1 || !strings.Contains(given, fmt.Sprintf(":%d", serving.Endpoint.Hosts[0].Port)) || serving.Region != devenv.Secondary || serving.Workspace != "main" {
		t.Errorf("%+v serves, and clients were given %s", serving, given)
	}
	writesThrough(t, env, given, serving.Endpoint.Hosts[0].Port)
	started, completed := people.await(t, workflows.EventStarted), people.await(t, workflows.EventCompleted)
	if started.Operation == nil || completed.Operation == nil || started.Operation.ID != completed.Operation.ID || completed.Operation.State != "Completed" {
		t.Errorf("started %+v, completed %+v", started, completed)
	}
	if len(people.wrong) > 0 {
		t.Errorf("not signed as it ought to be: %s", people.wrong)
	}
	want := fmt.Sprintf("workspace.serving %s main 127.0.0.1:%d", devenv.GroupName, serving.Endpoint.Hosts[0].Port)
	devtest.Until(t, "the command to be told "+want, func() bool {
		b, err := os.ReadFile(told)
		return err == nil && strings.Contains(string(b), want)
	})
}

// configure writes a URL and a command into smartdr.yaml, and returns the file that the command writes to.
func configure(t *testing.T, env *devenv.Env, url string) (told string) {
	t.Helper()
	folder := filepath.Dir(env.ConfigPath())
	told = filepath.Join(folder, "told")
	command := filepath.Join(folder, "tell")
	script := "#!/bin/sh\necho \"$SMARTDR_EVENT_TYPE $SMARTDR_EVENT_GROUP $SMARTDR_EVENT_WORKSPACE $SMARTDR_EVENT_HOST:$SMARTDR_EVENT_PORT\" >> " + told + "\n"
	check(t, os.WriteFile(command, []byte(script), 0o755))
	check(t, os.WriteFile(filepath.Join(folder, "people.secret"), []byte("whsec_"+key+"\n"), 0o600))
	f, err := os.OpenFile(env.ConfigPath(), os.O_APPEND|os.O_WRONLY, 0)
	check(t, err)
	_, err = fmt.Fprintf(f, "hooks:\n  - {name: people, url: %q, secretFile: people.secret}\n  - {name: proxy, command: [%s], events: [workspace.serving]}\n", url, command)
	check(t, err)
	check(t, f.Close())
	return told
}

// givenAtTheBeginning is the multi-host string, as soon as both sides are in it.
func givenAtTheBeginning(t *testing.T, env *devenv.Env) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), devtest.Patience)
	defer cancel()
	for {
		var c struct {
			MultiHost string
			Sides     int
		}
		check(t, env.SmartDRJSON(ctx, &c, "connect", "--group", devenv.GroupName, "--user", env.Server.Superuser, "--database", "postgres", "--multi-host"))
		if c.Sides == 2 {
			return c.MultiHost
		}
		select {
		case <-time.After(300 * time.Millisecond):
		case <-ctx.Done():
			t.Fatalf("clients know one side alone: %s", c.MultiHost)
		}
	}
}

// writesThrough checks that libpq and pgx find the server at port, which takes writes, by the string that they were given.
func writesThrough(t *testing.T, env *devenv.Env, given string, port int) {
	t.Helper()
	password, err := os.ReadFile(env.Server.PasswordFile)
	check(t, err)
	conn, err := devenv.Connect(t.Context(), given, strings.TrimSpace(string(password)))
	check(t, err)
	var at int
	err = conn.QueryRow(t.Context(), "SELECT inet_server_port() FROM pg_create_restore_point('a write')").Scan(&at)
	if _ = conn.Close(t.Context()); err != nil || at != port {
		t.Errorf("pgx finds %d, %v; want %d", at, err, port)
	}
	if _, err := exec.LookPath("psql"); err != nil {
		t.Log("psql is not there: not tried")
		return
	}
	cmd := exec.CommandContext(t.Context(), "psql", given+"&connect_timeout=60", "-XAtc", "SELECT inet_server_port() FROM pg_create_restore_point('a write')")
	cmd.Env = append(os.Environ(), "PGPASSWORD="+strings.TrimSpace(string(password)))
	out, err := cmd.CombinedOutput()
	if err != nil || strings.TrimSpace(string(out)) != fmt.Sprint(port) {
		t.Errorf("psql finds %s, %v; want %d", out, err, port)
	}
}
