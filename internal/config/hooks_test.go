package config

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/smartdr/smartdr/internal/fault"
)

func TestBadHooksGetASentence(t *testing.T) {
	url := "name: dns, url: https://dns.example.com/x, secretEnv: S"
	for name, c := range map[string]struct{ hook, says string }{
		"no name":            {"url: https://x", "hooks[0]"},
		"neither":            {"name: dns", "a url or a command"},
		"both":               {url + ", command: [/bin/x]", "a url or a command"},
		"no secret":          {"name: dns, url: https://x", "secretEnv or secretFile"},
		"two secrets":        {url + ", secretFile: s", "secretEnv or secretFile"},
		"secret of command":  {"name: dns, command: [/bin/x], secretEnv: S", "for a url"},
		"a secret itself":    {url + ", secret: hunter2", "secret"},
		"env of a url":       {url + ", env: [A]", "for a command"},
		"env with value":     {"name: dns, command: [/bin/x], env: ['A=hunter2']", "no name of a variable"},
		"no URL":             {"name: dns, url: dns.example.com, secretEnv: S", "the url is none"},
		"password":           {"name: dns, url: 'https://u:hunter2@x/', secretEnv: S", "password"},
		"in the clear":       {"name: dns, url: http://dns.example.com/x, secretEnv: S", "read along"},
		"relative program":   {"name: dns, command: [tell]", "absolute"},
		"unknown event":      {url + ", events: [workspace.serves]", `"workspace.serves"`},
		"unknown region":     {url + ", region: mars", `"mars"`},
		"host of no region":  {url + ", host: db1", "region"},
		"bad name of group":  {url + ", groups: [PROD]", `"PROD"`},
		"timeout in words":   {url + ", timeout: soon", "30s"},
		"timeout too long":   {url + ", timeout: 5m", "longer than 2m"},
		"two of one name":    {url + "}, {" + url, "two hooks"},
		"timeout of nothing": {url + ", timeout: -5s", "30s"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := parse("x.yaml", fmt.Appendf(nil, "regions: {west: {bucket: b-w}}\nhooks: [{%s}]\n", c.hook))
			if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), c.says) || fault.HintOf(err) == "" {
				t.Errorf("got %v, want fault.Invalid with a hint and %q", err, c.says)
			}
			if all := fmt.Sprintf("%v %s", err, fault.HintOf(err)); strings.Contains(all, "hunter2") && name != "env with value" {
				t.Errorf("the error shows a secret: %s", all)
			}
		})
	}
}

func TestHooksOfTheExample(t *testing.T) {
	c, err := Load("../../docs/smartdr.example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	folder, err := filepath.Abs("../../docs")
	if err != nil {
		t.Fatal(err)
	}
	want := []Hook{
		{Name: "people", URL: "https://alerts.example.com/smartdr", SecretFile: folder + "/people.secret", Timeout: Duration(10 * time.Second),
			Events: []string{"operation.failed", "operation.completed", "group.unprotected"}},
		{Name: "dns", Command: []string{"/usr/local/bin/point-dns", "example.com"}, Env: []string{"DNS_TOKEN"}, Events: []string{"workspace.serving"}, Groups: []string{"prod"}},
		{Name: "proxy-west", Command: []string{"/usr/local/bin/reload-haproxy"}, Events: []string{"workspace.serving", "workspace.fenced"}, Region: "west", Host: "db1"},
	}
	if diff := cmp.Diff(want, c.Hooks); diff != "" {
		t.Error(diff)
	}
}

func TestHooksThatAreAllowed(t *testing.T) {
	for _, hook := range []string{
		"name: dns, url: http://127.0.0.1:8080/x, secretEnv: S", "name: dns, url: 'http://[::1]/x', secretEnv: S", "name: dns, url: http://localhost/x, secretEnv: S",
		"name: dns, url: http://dns.example.com/x, secretEnv: S, insecure: true", "name: dns, command: [/bin/x, a, b], region: west, host: db1",
	} {
		if _, err := parse("x.yaml", fmt.Appendf(nil, "regions: {west: {bucket: b-w}}\nhooks: [{%s}]\n", hook)); err != nil {
			t.Errorf("%s: %v", hook, err)
		}
	}
}

// A secret is read at each delivery, so that it can be replaced while the worker runs.
func TestWhereTheSecretsOfHooksAre(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secret")
	c, err := parse(filepath.Join(filepath.Dir(file), "x.yaml"), []byte(`
regions: {west: {bucket: b-w}}
hooks: [{name: a, url: "https://a", secretFile: secret}, {name: b, url: "https://b", secretEnv: HOOK_B}, {name: c, command: [/bin/c]}]`))
	if err != nil {
		t.Fatal(err)
	}
	all := c.Deliverers()
	for i, says := range []string{file, "HOOK_B"} {
		if err := all[i].CheckSecret(); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), says) || fault.HintOf(err) == "" {
			t.Errorf("%s: %v", all[i].Name, err)
		}
	}
	secret := "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
	t.Setenv("HOOK_B", secret)
	if err := os.WriteFile(file, []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, h := range all {
		if err := h.CheckSecret(); err != nil {
			t.Errorf("%s: %v", h.Name, err)
		}
	}
}
