package config

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"

	"github.com/smartdr/smartdr/internal/fault"
)

const opRead = "read configuration"

// Load reads and validates the file at path; empty means EnvPath's, then DefaultPath. All errors are fault.Invalid and name
// the file and, for what is no YAML or has an unknown name in it, the line.
func Load(path string) (*Config, error) {
	if path == "" {
		path = os.Getenv(EnvPath)
	}
	if path == "" {
		path = DefaultPath
	}
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fault.Newf(fault.Invalid, opRead, "there is no file %s", path).
			WithHint("Name it with --config or %s; docs/smartdr.example.yaml shows one.", EnvPath)
	}
	if err != nil {
		return nil, fault.New(fault.Invalid, opRead, err)
	}
	return parse(path, b)
}

func parse(path string, b []byte) (*Config, error) {
	c := &Config{}
	d := yaml.NewDecoder(bytes.NewReader(b), yaml.Strict())
	if err := d.Decode(c); err != nil && !errors.Is(err, io.EOF) { // EOF: there is nothing in it
		return nil, explain(path, err)
	}
	c.path = path
	if err := c.setDefaults(); err != nil {
		return nil, err
	}
	return c, c.Validate()
}

// explain puts a YAML error into a line. The library's own text quotes the lines around it, where a secret may stand that
// somebody put into the file by mistake.
func explain(path string, err error) error {
	text := strings.TrimSpace(yaml.FormatError(err, false, false))
	text, _, _ = strings.Cut(text, "\n")
	e := fault.Newf(fault.Invalid, opRead, "%s: %s", path, lineOf(text))
	if strings.Contains(text, "unknown field") {
		return e.WithHint("docs/smartdr.example.yaml has every name. Keys to a bucket are never written here: credentials says where they are.")
	}
	return e.WithHint("docs/smartdr.example.yaml shows how the file is written.")
}

// lineOf turns "[3:5] text" into "line 3: text".
func lineOf(text string) string {
	place, rest, ok := strings.Cut(text, "] ")
	line, _, ok2 := strings.Cut(strings.TrimPrefix(place, "["), ":")
	if _, err := strconv.Atoi(line); !ok || !ok2 || err != nil {
		return text
	}
	return "line " + line + ": " + rest
}

const (
	defaultListen    = "127.0.0.1"
	defaultFirstPort = 6000
	defaultLastPort  = 6099
)

func (c *Config) setDefaults() error {
	folder, err := filepath.Abs(filepath.Dir(c.path))
	if err != nil {
		return fault.New(fault.Invalid, opRead, err)
	}
	for name, r := range c.Regions {
		if r.Credentials.File != "" && !filepath.IsAbs(r.Credentials.File) {
			r.Credentials.File = filepath.Join(folder, r.Credentials.File)
		}
		if r.Prefix != "" && !strings.HasSuffix(r.Prefix, "/") {
			r.Prefix += "/"
		}
		r.Worker.setDefaults()
		c.Regions[name] = r
	}
	for i, h := range c.Hooks {
		if h.SecretFile != "" && !filepath.IsAbs(h.SecretFile) {
			c.Hooks[i].SecretFile = filepath.Join(folder, h.SecretFile)
		}
	}
	return nil
}

func (w *Worker) setDefaults() {
	if w.Listen == "" {
		w.Listen = defaultListen
	}
	if w.AdvertiseHost == "" && !strings.ContainsAny(w.Listen, "*, ") {
		w.AdvertiseHost = w.Listen
	}
	if w.Ports == (Ports{}) {
		w.Ports = Ports{defaultFirstPort, defaultLastPort}
	}
}
