package estate

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"time"

	"github.com/smartdr/smartdr/internal/devenv/ledger"
	"github.com/smartdr/smartdr/internal/topology"
)

// The kinds of operations that move a group.
const (
	Failover   = "Failover"
	Switchover = "Switchover"
	Failback   = "Failback"
)

// commands are how each is asked for.
var commands = map[string][]string{
	Failover:   {"failover", "--group", Group, "--yes"},
	Switchover: {"switchover", "--group", Group, "--yes"},
	Failback:   {"failback", "--group", Group, "--yes"},
}

// operateWithin is how long an operation may take with everything killed once in each phase.
const operateWithin = 10 * time.Minute

// Operate asks for an operation until it has ended, and returns its account. The command may be cut off, as a person's would be
// whose Temporal dies; what it has started goes on, and is not asked for twice. An operation that did not complete is an error.
func (e *Estate) Operate(ctx context.Context, kind string, flags ...string) (topology.Operation, error) {
	ctx, cancel := context.WithTimeout(ctx, operateWithin)
	defer cancel()
	before, err := e.writers()
	if err != nil {
		return topology.Operation{}, err
	}
	op, err := e.carryOut(ctx, kind, flags)
	if err != nil {
		return op, err
	}
	e.note(before, op)
	return op, nil
}

// writers returns of each workspace the last commit that was acknowledged: which server writes.
func (e *Estate) writers() (map[string]ledger.Commit, error) {
	last := map[string]ledger.Commit{}
	for _, s := range e.Spaces {
		if s.load == nil {
			continue
		}
		commits := s.load.Commits()
		if len(commits) == 0 {
			return nil, fmt.Errorf("nothing was written to %s yet: %w", s.Name, errors.Join(s.load.Errors()...))
		}
		last[s.Name] = commits[len(commits)-1]
	}
	return last, nil
}

// carryOut gives the command until the operation that it began has ended.
func (e *Estate) carryOut(ctx context.Context, kind string, flags []string) (topology.Operation, error) {
	begun := time.Now()
	var said error
	var op topology.Operation
	for found := false; ctx.Err() == nil; rest(ctx) {
		if !found {
			_, said = e.Env.SmartDR(ctx, append(slices.Clone(commands[kind]), flags...)...)
		}
		now, ok, err := e.newest(ctx, kind, begun)
		switch {
		case err != nil: // nothing answers at the moment
		case ok && now.State == topology.OperationCompleted:
			return now, nil
		case ok && now.State != topology.OperationActive:
			return now, fmt.Errorf("the %s is %s: %s (%w)", kind, now.State, now.Error, said)
		case ok:
			op, found = now, true
		case said != nil && !passing(said):
			return op, said
		}
	}
	return op, fmt.Errorf("the %s has not ended after %s, it is %q: %w", kind, time.Since(begun).Round(time.Second), op.State, said)
}

// The exit codes of `smartdr` that a script tries again on.
const (
	exitConflict    = 4 // it is under way already
	exitUnreachable = 5
)

// passing reports whether the command could not be given at the moment.
func passing(err error) bool {
	var exit *exec.ExitError
	return errors.As(err, &exit) && (exit.ExitCode() == exitConflict || exit.ExitCode() == exitUnreachable)
}

func rest(ctx context.Context) {
	select {
	case <-ctx.Done():
	case <-time.After(200 * time.Millisecond):
	}
}

// newest returns the newest operation of a kind that was begun since then.
func (e *Estate) newest(ctx context.Context, kind string, since time.Time) (last topology.Operation, found bool, err error) {
	var all []topology.Operation
	if err := e.Env.SmartDRJSON(ctx, &all, "operations", "--group", Group); err != nil {
		return last, false, err
	}
	for _, op := range all {
		if op.Kind == kind && !op.StartedAt.Before(since) && op.StartedAt.After(last.StartedAt) {
			last, found = op, true
		}
	}
	return last, found, nil
}
