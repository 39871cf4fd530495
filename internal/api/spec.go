package api

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"github.com/smartdr/smartdr/internal/dsn"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
)

// GroupSpec asks for a workspace group around servers that are there already: what group.yaml says.
type GroupSpec struct {
	Name       string          `yaml:"name" json:"name"`
	Primary    string          `yaml:"primary" json:"primary"`                         // region
	Secondary  string          `yaml:"secondary,omitempty" json:"secondary,omitempty"` // region; replication is configured too when it is set
	Databases  []string        `yaml:"databases,omitempty" json:"databases,omitempty"` // to replicate; empty means all
	Workspaces []WorkspaceSpec `yaml:"workspaces" json:"workspaces"`
}

// WorkspaceSpec is one server to adopt. With neither password field set, libpq's own places hold.
type WorkspaceSpec struct {
	Name         string `yaml:"name" json:"name"`
	Connection   string `yaml:"connection" json:"connection"`                         // URL or keyword/value form, without a password
	PasswordFile string `yaml:"passwordFile,omitempty" json:"passwordFile,omitempty"` // on the workers of the primary region
	PasswordEnv  string `yaml:"passwordEnv,omitempty" json:"passwordEnv,omitempty"`   // in the environment of those workers
}

// Source returns how a worker reaches the server.
func (w WorkspaceSpec) Source() topology.Source {
	return topology.Source{ConnString: w.Connection, PasswordFile: w.PasswordFile, PasswordEnv: w.PasswordEnv}
}

const opSpec = "read group"

// ParseGroupSpec reads group.yaml strictly: unknown fields, duplicate keys and trailing documents are refused.
// Errors are fault.Invalid and begin with "<file>:<line>:".
func ParseGroupSpec(file string, b []byte) (GroupSpec, error) {
	var spec GroupSpec
	d := yaml.NewDecoder(bytes.NewReader(b), yaml.Strict())
	if err := d.Decode(&spec); err != nil {
		return GroupSpec{}, yamlError(file, err)
	}
	if err := d.Decode(new(any)); !errors.Is(err, io.EOF) {
		return GroupSpec{}, fault.Newf(fault.Invalid, opSpec, "%s: more than one document", file).
			WithHint("Put each group into a file of its own.")
	}
	if err := spec.Validate(); err != nil {
		return GroupSpec{}, atLine(file, b, err)
	}
	return spec, nil
}

func yamlError(file string, err error) error {
	var y yaml.Error
	switch {
	case errors.Is(err, io.EOF):
		return fault.Newf(fault.Invalid, opSpec, "%s is empty", file).WithHint("See the example in `smartdr group create --help`.")
	case errors.As(err, &y) && y.GetToken() != nil:
		p := y.GetToken().Position
		return fault.Newf(fault.Invalid, opSpec, "%s:%d:%d: %s", file, p.Line, p.Column, dsn.Redact(y.GetMessage())).
			WithHint("See the example in `smartdr group create --help`.")
	}
	return fault.Newf(fault.Invalid, opSpec, "%s: %s", file, dsn.Redact(err.Error()))
}

// FieldError is a field that cannot be as it is.
type FieldError struct {
	Path string // YAML path, as $.workspaces[0].name
	Err  error
}

func (e *FieldError) Error() string { return e.Err.Error() }
func (e *FieldError) Unwrap() error { return e.Err }

// atLine puts the file and the line of the field at fault before its error.
func atLine(file string, b []byte, err error) error {
	var field *FieldError
	line := 1
	if errors.As(err, &field) {
		line = lineOf(b, field.Path)
	}
	var hint string
	if hint = fault.HintOf(err); hint == "" {
		hint = "See the example in `smartdr group create --help`."
	}
	return fault.Newf(fault.Invalid, opSpec, "%s:%d: %w", file, line, plain(err)).WithHint("%s", hint)
}

// plain drops the operation of a fault, which the caller names anew.
func plain(err error) error {
	var f *fault.Error
	if errors.As(err, &f) && f.Err != nil {
		return f.Err
	}
	return err
}

// lineOf returns the line of a field, or of the nearest one around it that is there.
func lineOf(b []byte, path string) int {
	f, err := parser.ParseBytes(b, 0)
	if err != nil {
		return 1
	}
	for ; path != ""; path = path[:max(0, lastStep(path))] {
		if n := nodeAt(f, path); n != nil {
			return n.GetToken().Position.Line
		}
	}
	return 1
}

func lastStep(path string) int {
	return bytes.LastIndexAny([]byte(path), ".[")
}

func nodeAt(f *ast.File, path string) ast.Node {
	p, err := yaml.PathString(path)
	if err != nil {
		return nil
	}
	n, err := p.FilterFile(f)
	if err != nil || n == nil || n.GetToken() == nil {
		return nil
	}
	return n
}

func validName(what, name string) error {
	if name == "" {
		return fault.Newf(fault.Invalid, opSpec, "the %s has no name", what)
	}
	return topology.CheckName(what, name)
}

func field(path string, err error) error {
	if err == nil {
		return nil
	}
	return &FieldError{Path: path, Err: err}
}

func firstOf(checks ...func() error) error {
	for _, check := range checks {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

// Validate checks what can be known without asking anybody. Errors are fault.Invalid, inside a FieldError.
func (s GroupSpec) Validate() error {
	return firstOf(
		func() error { return field("$.name", validName("group", s.Name)) },
		func() error { return field("$.primary", validName("primary region", s.Primary)) },
		func() error { return s.validateSecondary() },
		func() error { return s.validateDatabases() },
		func() error { return s.validateWorkspaces() },
	)
}

func (s GroupSpec) validateSecondary() error {
	if s.Secondary == "" {
		return nil
	}
	if s.Secondary == s.Primary {
		return field("$.secondary", sameRegion(s.Primary))
	}
	return field("$.secondary", validName("secondary region", s.Secondary))
}

func sameRegion(region string) error {
	return fault.Newf(fault.Invalid, opSpec, "%s is both the primary and the secondary region", region).
		WithHint("Disaster recovery needs a second region that does not fail with the first. `smartdr regions` lists them.")
}

func (s GroupSpec) validateDatabases() error {
	if len(s.Databases) > 0 && s.Secondary == "" {
		return field("$.databases", fault.Newf(fault.Invalid, opSpec, "databases to replicate are named, and no secondary region").
			WithHint("Add secondary, or leave databases to `smartdr configure`."))
	}
	return field("$.databases", validDatabases(s.Databases))
}

func validDatabases(names []string) error {
	for i, name := range names {
		if name == "" {
			return fault.Newf(fault.Invalid, opSpec, "a database has no name")
		}
		if slices.Contains(names[:i], name) {
			return fault.Newf(fault.Invalid, opSpec, "database %q is named twice", name)
		}
	}
	return nil
}

func (s GroupSpec) validateWorkspaces() error {
	if len(s.Workspaces) == 0 {
		return field("$.workspaces", fault.Newf(fault.Invalid, opSpec, "the group has no workspace").
			WithHint("Name at least one server under workspaces, with its connection string."))
	}
	for i, w := range s.Workspaces {
		at := fmt.Sprintf("$.workspaces[%d]", i)
		if err := field(at+".name", validName("workspace", w.Name)); err != nil {
			return err
		}
		same := func(o WorkspaceSpec) bool { return o.Name == w.Name }
		if slices.ContainsFunc(s.Workspaces[:i], same) {
			return field(at+".name", fault.Newf(fault.Invalid, opSpec, "workspace %q is there twice", w.Name))
		}
		if _, err := dsn.Parse(w.Source()); err != nil {
			return field(at+".connection", err)
		}
	}
	return nil
}
