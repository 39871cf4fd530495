package hook

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/smartdr/smartdr/internal/fault"
)

// secret is the one of the specification's own tests.
const secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

func saying(text string) func() (string, error) { return func() (string, error) { return text, nil } }

// The vector is published with the specification: standard-webhooks/libraries, TestWebhookSign.
func TestSignTheSpecificationsVector(t *testing.T) {
	all, err := keys(secret + "\n")
	if err != nil {
		t.Fatal(err)
	}
	got := sign(all, "msg_p5jXN8AQM9LWM0D4loKWxJek", time.Unix(1614265330, 0), []byte(`{"test": 2432232314}`))
	if want := "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="; got != want {
		t.Errorf("signed %s, want %s", got, want)
	}
}

func TestBadSecrets(t *testing.T) {
	for name, text := range map[string]string{
		"empty": " \n", "no base64": "whsec_hunter2!", "short": "whsec_aHVudGVyMg==", "long": "whsec_" + strings.Repeat("QUFB", 30),
	} {
		h := Hook{Name: "dns", URL: "https://127.0.0.1:1", Secrets: saying(text)}
		err := h.CheckSecret()
		_, delivered := Deliver(t.Context(), h, Message{ID: "1"})
		if !fault.Is(err, fault.Invalid) || fault.HintOf(err) == "" || !fault.Is(delivered, fault.Invalid) {
			t.Errorf("%s: %v, %v", name, err, delivered)
		}
		if strings.Contains(err.Error(), "unter") {
			t.Errorf("%s: the error shows the secret: %v", name, err)
		}
	}
}

// Somebody who knows one of the secrets can tell that the request is ours, also while one is replaced by another.
func TestPostIsSigned(t *testing.T) {
	other := "whsec_" + strings.Repeat("QUFB", 10)
	m := Message{ID: "018f-1", Type: Serving, Body: []byte(`{"type":"workspace.serving"}`)}
	at := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		sent, err2 := strconv.ParseInt(r.Header.Get("webhook-timestamp"), 10, 64)
		if err := errors.Join(err, err2); err != nil || r.Method != http.MethodPost || string(body) != string(m.Body) || r.Header.Get("webhook-id") != m.ID {
			t.Errorf("%s %v %q %v", r.Method, r.Header, body, err)
		}
		if age := time.Since(time.Unix(sent, 0)); age < 0 || age > time.Minute {
			t.Errorf("sent %s ago", age)
		}
		for _, s := range []string{secret, other} {
			all, err := keys(s)
			if err != nil || !strings.Contains(" "+r.Header.Get("webhook-signature")+" ", " "+sign(all, m.ID, time.Unix(sent, 0), body)+" ") {
				t.Errorf("%s: the signature %q does not hold: %v", s, r.Header.Get("webhook-signature"), err)
			}
		}
		w.WriteHeader(http.StatusNoContent)
	}))
	defer at.Close()
	answer, err := Deliver(t.Context(), Hook{Name: "dns", URL: at.URL, Secrets: saying(other + " " + secret)}, m)
	if err != nil || answer != "204 No Content" {
		t.Errorf("%q, %v", answer, err)
	}
}

func TestAnswers(t *testing.T) {
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a redirect was followed") }))
	defer elsewhere.Close()
	for code, kind := range map[int]fault.Kind{
		200: "", 299: "", 301: fault.Invalid, 307: fault.Invalid, 400: fault.Invalid, 404: fault.Invalid, 410: fault.Invalid,
		408: fault.Transient, 425: fault.Transient, 429: fault.Transient, 500: fault.Transient, 503: fault.Transient,
	} {
		at := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", elsewhere.URL)
			w.WriteHeader(code)
			fmt.Fprint(w, strings.Repeat("x", maxAnswer)+"hunter2")
		}))
		_, err := Deliver(t.Context(), Hook{Name: "dns", URL: at.URL + "/T0/hunter2", Secrets: saying(secret)}, Message{ID: "1"})
		at.Close()
		if fault.KindOf(err) != kind {
			t.Errorf("%d is %q: %v", code, fault.KindOf(err), err)
		}
		if err != nil && (strings.Contains(err.Error(), "hunter2") || !strings.Contains(err.Error(), "hook dns") || len(OutputOf(err)) != maxAnswer) {
			t.Errorf("%d: %v, and %d bytes of answer", code, err, len(OutputOf(err)))
		}
	}
}

func TestRetryAfter(t *testing.T) {
	soon := time.Now().Add(100 * time.Second).UTC().Format(http.TimeFormat)
	for text, want := range map[string]time.Duration{"": 0, "120": 2 * time.Minute, "-5": 0, "999999999999": mostLater, "9999999999999999999999": 0, soon: 100 * time.Second, "soon": 0} {
		if got := retryAfter(text); got > want || got < want-3*time.Second {
			t.Errorf("%q is %s, want %s", text, got, want)
		}
	}
	at := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Retry-After", "30")
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	defer at.Close()
	_, err := Deliver(t.Context(), Hook{URL: at.URL, Secrets: saying(secret)}, Message{})
	var later *Later
	if !errors.As(err, &later) || later.Wait != 30*time.Second {
		t.Errorf("%v", err)
	}
}

func TestWhatDoesNotAnswer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() // takes connections, and says nothing
	h := Hook{Name: "dns", URL: "http://" + l.Addr().String() + "/hunter2", Secrets: saying(secret), Timeout: 50 * time.Millisecond}
	if _, err := Deliver(t.Context(), h, Message{}); !fault.Is(err, fault.Transient) || !strings.Contains(err.Error(), "50ms") || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("silent: %v", err)
	}
	l.Close()
	if _, err := Deliver(t.Context(), h, Message{}); !fault.Is(err, fault.Transient) || !strings.Contains(err.Error(), l.Addr().String()) || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("refused: %v", err)
	}
}

const body = `{"type":"workspace.serving","group":"prod","workspace":"main","region":"west","epoch":2,"timestamp":"2026-11-23T10:00:00Z",
"message":"it's \"served\"; $(exit)","operation":{"id":"7","kind":"Failover","state":"Active","from":"east","to":"west"},
"endpoint":{"hosts":[{"host":"10.0.0.7","port":6000}]}}`

// script writes a program of shell lines.
func script(t *testing.T, lines string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "hook")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+lines+"\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestCommandGetsTheEventAndNoSecret(t *testing.T) {
	t.Setenv("AWS_SECRET_ACCESS_KEY", "hunter2")
	t.Setenv("ZONE", "example.com")
	out := filepath.Join(t.TempDir(), "out")
	h := Hook{Name: "dns", Command: []string{script(t, `{ echo "$1"; env; cat; } > "$2"`), "an argument", out}, Env: []string{"ZONE", "NOT_SET"}}
	answer, err := Deliver(t.Context(), h, Message{ID: "018f", Type: Serving, Body: []byte(body)})
	if err != nil || answer != "exit code 0" {
		t.Fatal(answer, err)
	}
	b, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	got := string(b)
	for _, want := range []string{
		"an argument\n", "ZONE=example.com\n", "SMARTDR_EVENT_ID=018f\n", "SMARTDR_EVENT_TYPE=workspace.serving\n", "SMARTDR_EVENT_GROUP=prod\n",
		"SMARTDR_EVENT_WORKSPACE=main\n", "SMARTDR_EVENT_REGION=west\n", "SMARTDR_EVENT_EPOCH=2\n", "SMARTDR_EVENT_HOST=10.0.0.7\n", "SMARTDR_EVENT_PORT=6000\n",
		"SMARTDR_EVENT_MESSAGE=it's \"served\"; $(exit)\n", "SMARTDR_EVENT_OPERATION=7\n", "SMARTDR_EVENT_OPERATION_KIND=Failover\n", "SMARTDR_EVENT_OPERATION_TO=west\n",
		"SMARTDR_EVENT_TIMESTAMP=2026-11-23T10:00:00Z\n", body,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is missing in:\n%s", want, got)
		}
	}
	if strings.Contains(got, "hunter2") {
		t.Errorf("the command gets the keys to the buckets:\n%s", got)
	}
}

func TestCommandThatFails(t *testing.T) {
	h := Hook{Name: "dns", Command: []string{script(t, `echo hunter2 >&2; exit 3`)}}
	_, err := Deliver(t.Context(), h, Message{Body: []byte(body)})
	if !fault.Is(err, fault.Transient) || !strings.Contains(err.Error(), "exit status 3") || strings.Contains(err.Error(), "hunter2") || OutputOf(err) != "hunter2\n" {
		t.Errorf("%v, output %q", err, OutputOf(err))
	}
	h.Command = []string{"/nowhere/tell"}
	if _, err := Deliver(t.Context(), h, Message{}); !fault.Is(err, fault.Transient) || !strings.Contains(err.Error(), "/nowhere/tell") {
		t.Errorf("%v", err)
	}
}

// A command whose time is over ends with all that it started.
func TestCommandIsKilledWithItsChildren(t *testing.T) {
	pids := filepath.Join(t.TempDir(), "pids")
	h := Hook{Name: "dns", Command: []string{script(t, `sleep 600 & echo $! > "$1"; echo $$ >> "$1"; wait`), pids}, Timeout: 10 * time.Second} // which a busy machine has begun to run by then
	began := time.Now()
	_, err := Deliver(t.Context(), h, Message{Body: []byte(body)})
	if took := time.Since(began); !fault.Is(err, fault.Transient) || !strings.Contains(err.Error(), "10s") || took > 5*time.Minute {
		t.Errorf("after %s: %v", took, err)
	}
	b, err := os.ReadFile(pids)
	if err != nil {
		t.Fatal(err)
	}
	started := strings.Fields(string(b))
	if len(started) != 2 {
		t.Fatalf("started %q", started)
	}
	for _, text := range started {
		pid, err := strconv.Atoi(text)
		if err != nil {
			t.Fatal(err)
		}
		if !gone(t.Context(), pid) {
			t.Errorf("process %d is still there", pid)
		}
	}
}

// gone waits until a process has ended: one that was killed may be there for a moment, or wait for somebody to reap it.
func gone(ctx context.Context, pid int) bool {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	for {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ESRCH) || strings.Contains(string(stat), ") Z ") {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// A command may leave something running behind it.
func TestCommandThatLeavesAChild(t *testing.T) {
	pid := filepath.Join(t.TempDir(), "pid")
	h := Hook{Name: "dns", Command: []string{script(t, `sleep 600 & echo $! > "$1"`), pid}, Timeout: 8 * time.Minute}
	began := time.Now()
	answer, err := Deliver(t.Context(), h, Message{})
	if took := time.Since(began); err != nil || answer != "exit code 0" || took > 5*time.Minute {
		t.Errorf("after %s: %q, %v", took, answer, err)
	}
	b, err := os.ReadFile(pid)
	if err != nil {
		t.Fatal(err)
	}
	child, err := strconv.Atoi(strings.TrimSpace(string(b)))
	if err != nil || child <= 1 {
		t.Fatal(child, err)
	}
	if gone(canceled(t), child) { // one look
		t.Error("the child has ended")
	}
	if err := syscall.Kill(child, syscall.SIGKILL); err != nil {
		t.Error(err)
	}
}

func canceled(t *testing.T) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}

func TestWants(t *testing.T) {
	h := Hook{Events: []string{Serving}, Groups: []string{"prod"}}
	for _, c := range []struct {
		event, group string
		want         bool
	}{{Serving, "prod", true}, {Fenced, "prod", false}, {Serving, "test", false}, {Test, "prod", false}} {
		if got := h.Wants(c.event, c.group); got != c.want {
			t.Errorf("%v: %v", c, got)
		}
	}
	if !(Hook{}).Wants(Fenced, "any") || !h.Serves("prod") || h.Serves("test") {
		t.Error("a hook without a choice wants all, and one with groups is for those")
	}
}
