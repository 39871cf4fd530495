// Package hook delivers an event to what an operator named for it: a URL, signed as the Standard Webhooks specification 1.0.0
// says (https://www.standardwebhooks.com), or a command. One call is one attempt; the caller tries again.
package hook

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/smartdr/smartdr/internal/fault"
)

const opDeliver = "deliver event"

// The types of events, which the workflows name. A hook that names none wants all.
const (
	Started     = "operation.started"
	Completed   = "operation.completed"
	Failed      = "operation.failed"
	Canceled    = "operation.canceled"
	Fenced      = "workspace.fenced"
	Serving     = "workspace.serving"
	Protected   = "group.protected"
	Unprotected = "group.unprotected"
	Test        = "hook.test" // goes to every hook
)

// Events are those that a hook can be chosen for.
var Events = []string{Started, Completed, Failed, Canceled, Fenced, Serving, Protected, Unprotected}

const (
	// urlTimeout is for an answer: the specification recommends 15 to 30 s.
	urlTimeout = 20 * time.Second
	// commandTimeout is for a command, which may wait for a name server or a reload.
	commandTimeout = time.Minute
	// MaxTimeout is the longest that an attempt may be given.
	MaxTimeout = 2 * time.Minute
)

// Hook is told of events: by a POST to URL, or by Command. One of both is set.
type Hook struct {
	Name    string
	URL     string
	Secrets func() (string, error) // of URL: read at each attempt, so that it can be replaced; several, between spaces, while it is
	Command []string               // program and arguments
	Env     []string               // of Command: names of variables that it gets from this process besides the usual ones
	Timeout time.Duration          // of one attempt; 0 is the default
	Events  []string               // types; empty: all
	Groups  []string               // names; empty: all
	Region  string                 // whose workers deliver; empty: any
	Host    string                 // of Region; empty: any
}

// Wants reports whether the hook is to be told of an event.
func (h Hook) Wants(event, group string) bool {
	return h.Serves(group) && (len(h.Events) == 0 || slices.Contains(h.Events, event))
}

// Serves reports whether the hook is one for the group.
func (h Hook) Serves(group string) bool {
	return len(h.Groups) == 0 || slices.Contains(h.Groups, group)
}

// Message is one event, as it is delivered.
type Message struct {
	ID   string // the same in every attempt
	Type string
	Body []byte // JSON
}

// Later is a failure after which the receiver wants to be left alone for a while.
type Later struct {
	Wait time.Duration
	Err  error
}

func (l *Later) Error() string { return l.Err.Error() }
func (l *Later) Unwrap() error { return l.Err }

// Failure is an attempt that did not succeed. Output is what the receiver said, its last 2 kB: it may hold what belongs to the
// receiver alone, so it is for the log of the host that delivered, and for nothing else.
type Failure struct {
	Output string
	Err    error
}

func (f *Failure) Error() string { return f.Err.Error() }
func (f *Failure) Unwrap() error { return f.Err }

// OutputOf returns what the receiver said of a delivery that failed.
func OutputOf(err error) string {
	var f *Failure
	if errors.As(err, &f) {
		return f.Output
	}
	return ""
}

// Deliver makes one attempt and returns the answer in a line, as "204 No Content" or "exit code 0". Errors are fault.Transient
// when another attempt may succeed, else fault.Invalid; none holds the URL's path or anything that the receiver said.
func Deliver(ctx context.Context, h Hook, m Message) (answer string, err error) {
	timeout, attempt := commandTimeout, h.run
	if h.URL != "" {
		timeout, attempt = urlTimeout, h.post
	}
	if h.Timeout > 0 {
		timeout = h.Timeout
	}
	within, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	answer, err = attempt(within, m)
	if err != nil && ctx.Err() == nil && errors.Is(within.Err(), context.DeadlineExceeded) {
		late := fault.Newf(fault.Transient, opDeliver, "hook %s did not end within %s", h.Name, timeout)
		return "", &Failure{Output: OutputOf(err), Err: late.WithHint("Make it faster, or give it more time: timeout, up to %s.", MaxTimeout)}
	}
	if err != nil {
		return "", fmt.Errorf("hook %s: %w", h.Name, err)
	}
	return answer, nil
}
