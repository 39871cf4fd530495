package config

import (
	"errors"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/hook"
	"github.com/smartdr/smartdr/internal/topology"
)

// Hook is told of what happens to groups: by a signed POST, or by a command. The workers deliver, so all of them have the same
// hooks.
type Hook struct {
	Name       string   `yaml:"name" json:"name"`
	URL        string   `yaml:"url,omitempty" json:"url,omitempty"`               // https, or http on this machine
	SecretEnv  string   `yaml:"secretEnv,omitempty" json:"secretEnv,omitempty"`   // of url: a variable in the workers' environment; or
	SecretFile string   `yaml:"secretFile,omitempty" json:"secretFile,omitempty"` // a file, relative to this one
	Insecure   bool     `yaml:"insecure,omitempty" json:"insecure,omitempty"`     // http is allowed, where others can read along
	Command    []string `yaml:"command,omitempty" json:"command,omitempty"`       // absolute path of a program, and its arguments
	Env        []string `yaml:"env,omitempty" json:"env,omitempty"`               // of command: variables of the worker that it gets too
	Timeout    Duration `yaml:"timeout,omitempty" json:"timeout,omitempty"`       // of an attempt; default 20s for a URL, 1m for a command
	Events     []string `yaml:"events,omitempty" json:"events,omitempty"`         // default: all
	Groups     []string `yaml:"groups,omitempty" json:"groups,omitempty"`         // default: all
	Region     string   `yaml:"region,omitempty" json:"region,omitempty"`         // whose workers deliver; default: any that is there
	Host       string   `yaml:"host,omitempty" json:"host,omitempty"`             // of region: whose worker delivers
}

// Duration is a time span; "30s" or "2m" in the file.
type Duration time.Duration

// UnmarshalYAML is time.ParseDuration.
func (d *Duration) UnmarshalYAML(unmarshal func(any) error) error {
	var text string
	if err := unmarshal(&text); err != nil {
		return err
	}
	v, err := time.ParseDuration(text)
	if err != nil || v < 0 {
		return errors.New("want a time span as 30s or 2m")
	}
	*d = Duration(v)
	return nil
}

// Deliverers returns the hooks, ready to deliver. Their secrets are read at each delivery.
func (c *Config) Deliverers() []hook.Hook {
	var all []hook.Hook
	for _, h := range c.Hooks {
		all = append(all, hook.Hook{
			Name: h.Name, URL: h.URL, Secrets: h.secret, Command: h.Command, Env: h.Env, Timeout: time.Duration(h.Timeout),
			Events: h.Events, Groups: h.Groups, Region: h.Region, Host: h.Host,
		})
	}
	return all
}

func (h Hook) secret() (string, error) {
	reading := "read the secret of hook " + h.Name
	if h.SecretEnv != "" {
		v := os.Getenv(h.SecretEnv)
		if v == "" {
			return "", fault.Newf(fault.Invalid, reading, "the variable %s is not set", h.SecretEnv).
				WithHint("Set it in the environment of the workers, or name a file that they have: secretFile.")
		}
		return v, nil
	}
	b, err := os.ReadFile(h.SecretFile)
	if err != nil {
		return "", fault.New(fault.Invalid, reading, err).WithHint("secretFile names it; the workers must be able to read it.")
	}
	return string(b), nil
}

// checkHooks refuses what cannot be meant. It looks at no secret and no program: what is wrong there must not keep a worker from
// its work.
func (c *Config) checkHooks() error {
	seen := map[string]bool{}
	for i, h := range c.Hooks {
		if err := topology.CheckName("hook", h.Name); err != nil {
			return c.wrong("hooks[%d]: %w", i, err).WithHint("%s", fault.HintOf(err))
		}
		if seen[h.Name] {
			return c.wrong("two hooks are named %s", h.Name).WithHint("Give each a name of its own.")
		}
		seen[h.Name] = true
		for _, check := range []func(Hook) *fault.Error{c.checkHookKind, c.checkHookURL, c.checkHookCommand, c.checkHookChoice} {
			if err := check(h); err != nil {
				return err
			}
		}
	}
	return nil
}

func (c *Config) checkHookKind(h Hook) *fault.Error {
	switch {
	case (h.URL == "") == (len(h.Command) == 0):
		return c.wrong("hook %s needs a url or a command, and not both", h.Name).WithHint("docs/hooks.md shows one of each.")
	case h.URL == "" && (h.SecretEnv != "" || h.SecretFile != "" || h.Insecure):
		return c.wrong("hook %s: secretEnv, secretFile and insecure are for a url", h.Name).WithHint("Take them out: a command gets the event from the worker itself.")
	case h.URL != "" && len(h.Env) > 0:
		return c.wrong("hook %s: env is for a command", h.Name).WithHint("Take it out.")
	case h.URL != "" && (h.SecretEnv == "") == (h.SecretFile == ""):
		return c.wrong("hook %s: a url needs secretEnv or secretFile, and not both", h.Name).
			WithHint("What is sent is signed, so that the receiver can tell it from what others send. Make a secret: echo whsec_$(openssl rand -base64 32)")
	case h.Timeout > Duration(hook.MaxTimeout):
		return c.wrong("hook %s: the timeout is longer than %s", h.Name, hook.MaxTimeout).WithHint("Have the receiver answer at once and do its work afterwards.")
	}
	return nil
}

func (c *Config) checkHookURL(h Hook) *fault.Error {
	if h.URL == "" {
		return nil
	}
	u, err := url.Parse(h.URL)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		return c.wrong("hook %s: the url is none", h.Name).WithHint("Write it as https://host/path.")
	case u.User != nil:
		return c.wrong("hook %s: the url carries a user name or a password", h.Name).WithHint("Take it out; the signature says who sends.")
	case u.Scheme == "http" && !h.Insecure && !loopback(u.Hostname()):
		return c.wrong("hook %s: the url is http, and others can read along", h.Name).WithHint("Use https; or say that it does not matter: insecure: true")
	}
	return nil
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func (c *Config) checkHookCommand(h Hook) *fault.Error {
	if len(h.Command) > 0 && !filepath.IsAbs(h.Command[0]) {
		return c.wrong("hook %s: the program %q is not an absolute path", h.Name, h.Command[0]).WithHint("Write the whole path, as /usr/local/bin/tell.")
	}
	for _, name := range h.Env {
		if name == "" || strings.ContainsAny(name, "= ") {
			return c.wrong("hook %s: %q in env is no name of a variable", h.Name, name).WithHint("Name variables of the worker that the command needs, without values.")
		}
	}
	return nil
}

func (c *Config) checkHookChoice(h Hook) *fault.Error {
	for _, e := range h.Events {
		if !slices.Contains(hook.Events, e) {
			return c.wrong("hook %s: there is no event %q", h.Name, e).WithHint("There are: %s.", strings.Join(hook.Events, ", "))
		}
	}
	for _, g := range h.Groups {
		if err := topology.CheckName("workspace group", g); err != nil {
			return c.wrong("hook %s: %w", h.Name, err).WithHint("%s", fault.HintOf(err))
		}
	}
	if _, known := c.Regions[h.Region]; h.Region != "" && !known {
		return c.wrong("hook %s: there is no region %q", h.Name, h.Region).WithHint("Known are: %s.", strings.Join(c.RegionNames(), ", "))
	}
	if h.Host != "" && h.Region == "" {
		return c.wrong("hook %s: host is a host of a region", h.Name).WithHint("Name the region too.")
	}
	return nil
}
