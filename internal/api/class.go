package api

import (
	"errors"

	"github.com/smartdr/smartdr/internal/fault"
)

// Class says what a caller can do about an error: the CLI's exit codes and the portal's HTTP statuses follow it.
type Class string

const (
	// Failed: it was tried and did not work.
	Failed Class = "failed"
	// Invalid: the request cannot be carried out as it is.
	Invalid Class = "invalid"
	// NotFound: there is no such group, workspace, database or operation.
	NotFound Class = "not-found"
	// Conflict: another operation, or a group of that name, is in the way.
	Conflict Class = "conflict"
	// Unreachable: no bucket, no Temporal or no worker answers.
	Unreachable Class = "unreachable"
	// Unsafe: it would hurt, and nobody has agreed to that.
	Unsafe Class = "unsafe"
	// Partly: of what was asked for a part was done, and the rest can follow.
	Partly Class = "partly"
	// Undone: it was canceled, or everything was put back: nothing has changed.
	Undone Class = "undone"
)

// classed is an error whose class does not follow from its kind.
type classed struct {
	error
	class Class
}

func (c classed) Unwrap() error { return c.error }

// As gives err a class; nil stays nil.
func As(class Class, err error) error {
	if err == nil {
		return nil
	}
	return classed{err, class}
}

var classes = map[fault.Kind]Class{
	fault.Invalid:   Invalid,
	fault.Missing:   NotFound,
	fault.Conflict:  Conflict,
	fault.Taken:     Conflict,
	fault.Transient: Unreachable,
}

// ClassOf returns what was said with As, or what follows from the error's kind; Failed for errors without one.
func ClassOf(err error) Class {
	var c classed
	if errors.As(err, &c) {
		return c.class
	}
	var f *fault.Error
	if !errors.As(err, &f) {
		return Failed
	}
	if class, ok := classes[f.Kind]; ok {
		return class
	}
	return Failed
}
