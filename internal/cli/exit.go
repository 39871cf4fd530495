package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/smartdr/smartdr/internal/api"
	"github.com/smartdr/smartdr/internal/dsn"
	"github.com/smartdr/smartdr/internal/fault"
)

// The exit codes are a promise to scripts: they do not change.
const (
	exitOK          = 0
	exitFailed      = 1
	exitUsage       = 2
	exitNotFound    = 3
	exitConflict    = 4
	exitUnreachable = 5
	exitUnsafe      = 6
	exitBlocked     = 7
	exitPartly      = 8
	exitUndone      = 9
	exitLost        = 10
	exitMissing     = 11
)

const exitCodesText = `

Exit codes:
  0  done
  1  it was tried and failed
  2  the command line, a file or the configuration cannot be carried out as it is
  3  no such group, workspace, database or operation, nothing to recover from, or no server to connect to
  4  another operation, or a group or workspace of that name, is in the way
  5  no bucket, no Temporal or no worker answers
  6  it would hurt, and nobody has agreed to that (see --yes and --force of smartdr failover, --yes of terminate, of restore
     --in-place and of missing-rows --apply)
  7  a failover would not work now (smartdr readiness, smartdr failover --preview)
  8  a part was done: a failover brought up some workspaces and not others (see smartdr failover --resume), or conflicts are
     left after a merge, or a database could not be compared (smartdr missing-rows)
  9  it was canceled, or could not keep what was asked of it: everything is as it was before
  10 something cannot be restored any more (smartdr verify)
  11 rows are missing, and were only listed (smartdr missing-rows without --apply)
With -o json errors are JSON too: {"error": ..., "hint": ..., "code": ...} on stderr.`

var exitCodes = map[api.Class]int{
	api.Failed: exitFailed, api.Invalid: exitUsage, api.NotFound: exitNotFound,
	api.Conflict: exitConflict, api.Unreachable: exitUnreachable, api.Unsafe: exitUnsafe,
	api.Partly: exitPartly, api.Undone: exitUndone,
}

// exited is a program's own exit code, to be passed on without a word.
type exited int

func (e exited) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// errorText is what is said of an error with -o json.
type errorText struct {
	Error string `json:"error"`
	Hint  string `json:"hint,omitempty"`
	Code  int    `json:"code"`
}

// finish says what went wrong, on stderr, and returns the exit code.
func (a *app) finish(err error) int {
	var code exited
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &code):
		return int(code)
	}
	e := a.explain(err)
	if a.json() {
		j := json.NewEncoder(a.Err)
		j.SetEscapeHTML(false)
		_ = j.Encode(e) // there is nowhere to say that stderr is closed
		return e.Code
	}
	fmt.Fprintf(a.Err, "error: %s\n", e.Error)
	if e.Hint != "" {
		fmt.Fprintf(a.Err, "hint: %s\n", e.Hint)
	}
	return e.Code
}

func (a *app) explain(err error) errorText {
	e := errorText{Error: dsn.Redact(text(err)), Hint: dsn.Redact(fault.HintOf(err)), Code: exitCodes[api.ClassOf(err)]}
	switch {
	case !a.began: // cobra's own errors: unknown command or flag, wrong number of arguments
		e.Code = exitUsage
		if e.Hint == "" {
			e.Hint = "See `smartdr --help`."
		}
	case errors.Is(err, context.Canceled):
		e.Error = "interrupted"
	case errors.Is(err, context.DeadlineExceeded) && e.Hint == "":
		e.Hint = "--timeout says how long to try."
	}
	return e
}

// text is the error on one line, without the name of an operation that the user did not ask for.
func text(err error) string {
	s := err.Error()
	var f *fault.Error
	if errors.As(err, &f) && f.Err != nil && quietOps[f.Op] {
		s = strings.TrimPrefix(s, f.Op+": ")
	}
	return strings.TrimSpace(s)
}

// quietOps are the operations whose name only repeats the command.
var quietOps = map[string]bool{
	"read command line": true, "read group": true, "connect": true, "choose group": true, "read connection string": true,
	"check names": true, "read point": true, "read size": true, "read firewall": true, "change group": true, "check settings": true,
}
