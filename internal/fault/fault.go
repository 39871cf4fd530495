// Package fault names the kinds of failure that the rest of SmartDR decides by.
// An error gets its kind where it is understood, travels wrapped, and is judged once at the activity's edge.
package fault

import (
	"errors"
	"fmt"
)

// Kind says what can be done about an error.
type Kind string

const (
	// Transient errors may pass by themselves: retry.
	Transient Kind = "Transient"
	// Conflict means that a conditional write lost: read again and decide anew.
	Conflict Kind = "Conflict"
	// Taken means that another operation holds the place, or something else the name: asking again at once cannot help.
	Taken Kind = "Taken"
	// Fenced means that a newer epoch exists: stop writing, for good.
	Fenced Kind = "Fenced"
	// Diverged means that two histories claim the same place: never merge them, tell a person.
	Diverged Kind = "Diverged"
	// Missing means that something that must exist does not: an object, a range of WAL, a slot.
	Missing Kind = "Missing"
	// Corrupt means that bytes are not what was written.
	Corrupt Kind = "Corrupt"
	// Invalid means that the request or the configuration cannot be carried out as it is.
	Invalid Kind = "Invalid"
	// Full means that a disk or a quota has no room.
	Full Kind = "Full"
)

// Error is an error with a kind, the operation that failed, and what the operator can do about it.
// Neither Op, Hint nor Err's text may hold a secret.
type Error struct {
	Kind Kind
	Op   string // what was being done, as "put segment"; no trailing colon
	Hint string // one sentence that says what to do; may be empty
	Err  error  // the cause; may be nil
}

// New returns an Error without a hint.
func New(kind Kind, op string, err error) *Error { return &Error{Kind: kind, Op: op, Err: err} }

// Newf returns an Error whose cause is the formatted text; %w works as in fmt.Errorf.
func Newf(kind Kind, op, format string, args ...any) *Error {
	return &Error{Kind: kind, Op: op, Err: fmt.Errorf(format, args...)}
}

// WithHint returns a copy of e that tells the operator what to do.
func (e *Error) WithHint(format string, args ...any) *Error {
	c := *e
	c.Hint = fmt.Sprintf(format, args...)
	return &c
}

func (e *Error) Error() string {
	if e.Err == nil {
		return e.Op
	}
	return e.Op + ": " + e.Err.Error()
}

func (e *Error) Unwrap() error { return e.Err }

// KindOf returns the kind of the outermost Error in err's tree; errors without one are Transient, since
// giving up on what might pass is the worse mistake. It returns "" for nil.
func KindOf(err error) Kind {
	if err == nil {
		return ""
	}
	var e *Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return Transient
}

// Is reports whether err is of the given kind.
func Is(err error, kind Kind) bool { return err != nil && KindOf(err) == kind }

// HintOf returns the first hint found in err's tree, or "".
func HintOf(err error) string {
	var e *Error
	for errors.As(err, &e) {
		if e.Hint != "" {
			return e.Hint
		}
		err = e.Err
	}
	return ""
}
