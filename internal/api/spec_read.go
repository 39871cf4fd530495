package api

import (
	"bytes"
	"errors"
	"io"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"github.com/smartdr/smartdr/internal/dsn"
	"github.com/smartdr/smartdr/internal/fault"
)

const opSpec = "read group"

// ParseGroupSpec reads group.yaml strictly: unknown fields, duplicate keys and trailing documents are refused.
// Errors are fault.Invalid and begin with "<file>:<line>:".
func ParseGroupSpec(file string, b []byte) (GroupSpec, error) {
	var spec GroupSpec
	d := yaml.NewDecoder(bytes.NewReader(b), yaml.Strict())
	if err := decode(d, &spec); err != nil {
		return GroupSpec{}, yamlError(file, err)
	}
	if err := decode(d, new(any)); !errors.Is(err, io.EOF) {
		return GroupSpec{}, fault.Newf(fault.Invalid, opSpec, "%s: more than one document", file).
			WithHint("Put each group into a file of its own.")
	}
	if err := spec.Validate(); err != nil {
		return GroupSpec{}, atLine(file, b, err)
	}
	return spec, nil
}

// decode is the decoder's own, which panics on some malformed tags instead of saying so.
func decode(d *yaml.Decoder, into any) (err error) {
	defer func() {
		if recover() != nil {
			err = errors.New("it is no YAML that can be read: a tag does not fit what it stands before")
		}
	}()
	return d.Decode(into)
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
	return fault.Newf(fault.Invalid, opSpec, "%s: %s", file, dsn.Redact(err.Error())).WithHint("See the example in `smartdr group create --help`.")
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
