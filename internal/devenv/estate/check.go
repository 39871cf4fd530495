package estate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/smartdr/smartdr/internal/devenv/ledger"
	"github.com/smartdr/smartdr/internal/topology"
)

// Lose kills the region that serves, at once, and remembers when.
func (e *Estate) Lose(ctx context.Context, region string) error {
	e.lostAt = time.Now()
	return e.Env.KillRegion(ctx, region)
}

// note remembers how each workspace's writer changed.
func (e *Estate) note(before map[string]ledger.Commit, op topology.Operation) {
	for _, s := range e.Spaces {
		last, wrote := before[s.Name]
		if !wrote {
			continue
		}
		m := ledger.Move{Timeline: last.Timeline, Planned: op.Kind != Failover}
		if !m.Planned {
			m.Fork, m.Cut = recovered(op, s.Name).Point.RecordEnd, op.StartedAt
			if !e.lostAt.IsZero() {
				m.Cut = e.lostAt
			}
		}
		s.moves = append(s.moves, m)
	}
	e.lostAt = time.Time{}
}

func recovered(op topology.Operation, workspace string) topology.Recovered {
	i := slices.IndexFunc(op.Workspaces, func(r topology.Recovered) bool { return r.Workspace == workspace })
	if i < 0 {
		return topology.Recovered{}
	}
	return op.Workspaces[i]
}

// Written waits until each workspace's clients have n more commits acknowledged than now.
func (e *Estate) Written(ctx context.Context, n int) error {
	for _, s := range e.Spaces {
		if err := s.load.More(ctx, n); err != nil {
			return fmt.Errorf("clients of %s do not get on: %w", s.Name, err)
		}
	}
	return nil
}

// Gap returns the longest time without a writer, of all workspaces' clients, at the last change of the writer.
func (e *Estate) Gap() (longest time.Duration) {
	for _, s := range e.Spaces {
		if gaps := ledger.Gaps(s.load.Commits()); len(gaps) > 0 {
			longest = max(longest, gaps[len(gaps)-1].Length())
		}
	}
	return longest
}

// LastChange returns when the last workspace's clients were first told by the server that writes now that a commit is there.
func (e *Estate) LastChange() (at time.Time) {
	for _, s := range e.Spaces {
		if gaps := ledger.Gaps(s.load.Commits()); len(gaps) > 0 && gaps[len(gaps)-1].First.After(at) {
			at = gaps[len(gaps)-1].First
		}
	}
	return at
}

// Verify compares every workspace with all that its clients were ever told. It returns the accounts by workspace, and an error with
// each promise that was broken.
func (e *Estate) Verify(ctx context.Context) (map[string]ledger.Account, error) {
	accounts := map[string]ledger.Account{}
	var broken []error
	for _, s := range e.Spaces {
		a, err := s.verify(ctx)
		if err != nil {
			return accounts, err
		}
		accounts[s.Name] = a
		for _, b := range a.Broken {
			broken = append(broken, fmt.Errorf("%s: %s", s.Name, b))
		}
		for _, g := range ledger.Gaps(s.load.Commits()) {
			// After a loss the old server may come back and be found before it is fenced: what it takes then is in its tail.
			if g.Length() <= 0 && slices.ContainsFunc(s.moves, func(m ledger.Move) bool { return m.Planned && m.Timeline == g.From }) {
				broken = append(broken, fmt.Errorf("%s: timelines %d and %d were both written to, for %s", s.Name, g.From, g.To, -g.Length()))
			}
		}
	}
	return accounts, errors.Join(broken...)
}

func (s *Space) verify(ctx context.Context) (ledger.Account, error) {
	conn, err := s.Serving(ctx)
	if err != nil {
		return ledger.Account{}, err
	}
	defer conn.Close(context.WithoutCancel(ctx)) //nolint:errcheck // only read from
	return ledger.VerifyMoves(ctx, conn, s.load.Commits(), s.moves)
}

// Until asks for the status until it is as wanted. A question that is under way when the time is over is still answered.
func (e *Estate) Until(ctx context.Context, within time.Duration, what string, wanted func(topology.GroupStatus) bool) error {
	deadline := time.Now().Add(within)
	var last topology.GroupStatus
	for {
		s, err := e.Status(ctx)
		if err == nil {
			if last = s; wanted(s) {
				return nil
			}
		}
		if ctx.Err() != nil || time.Now().After(deadline) {
			return errors.Join(fmt.Errorf("not within %s: %s; %s", within, what, describe(last)), err)
		}
		rest(ctx)
	}
}

// describe tells in a line how a group stands, for errors.
func describe(s topology.GroupStatus) string {
	text := fmt.Sprintf("active %s, authority %s, epoch %d", s.Group.Active, s.Group.Authority, s.Group.Epoch)
	if s.Protection != nil {
		text += fmt.Sprintf(", protected %v (%s)", s.Protection.Protected, s.Protection.Reason)
	}
	for _, w := range s.Workspaces {
		for _, t := range w.Tails {
			text += fmt.Sprintf(", tail of %s at %s complete %v %s", t.Lineage, t.At, t.Complete, t.Error)
		}
		if w.WAL != nil && w.WAL.Error != "" {
			text += ", " + w.Workspace + ": " + w.WAL.Error
		}
	}
	return text
}

// protectedWithin is how long a snapshot into a bucket that has just come back may take on a busy machine.
const protectedWithin = 5 * time.Minute

// WaitProtected waits until a failover of the group as it serves now would work.
func (e *Estate) WaitProtected(ctx context.Context) error {
	return e.Until(ctx, protectedWithin, "the group to be protected", func(s topology.GroupStatus) bool {
		return s.Protection != nil && s.Protection.Protected && s.Protection.Epoch == s.Group.Epoch && s.Group.Operation == nil
	})
}

// WaitMovable waits until the group is protected, and all is in a bucket that the servers wrote which it has left: until then a planned move back to
// them is refused.
func (e *Estate) WaitMovable(ctx context.Context) error {
	if err := e.WaitProtected(ctx); err != nil {
		return err
	}
	return e.Until(ctx, protectedWithin, "all that was left to be in a bucket", func(s topology.GroupStatus) bool {
		return !slices.ContainsFunc(s.Workspaces, func(w topology.WorkspaceStatus) bool {
			return slices.ContainsFunc(w.Tails, func(t topology.Tail) bool { return !t.Complete })
		})
	})
}

// WaitTails waits until all that servers wrote which were lost is in a bucket, and returns the lost commits that are not there.
func (e *Estate) WaitTails(ctx context.Context) error {
	accounts, err := e.Verify(ctx)
	if err != nil {
		return err
	}
	var lacks error
	err = e.Until(ctx, protectedWithin, "the tails of what was lost to be complete", func(s topology.GroupStatus) bool {
		lacks = lacking(s, accounts)
		return lacks == nil
	})
	if err != nil {
		return errors.Join(err, lacks)
	}
	return nil
}

// lacking names a lost commit of each workspace that no complete tail holds.
func lacking(s topology.GroupStatus, accounts map[string]ledger.Account) error {
	var all []error
	for _, w := range s.Workspaces {
		for _, l := range accounts[w.Workspace].Lost {
			if !held(w.Tails, l) {
				all = append(all, fmt.Errorf("%s: of %d commits on timeline %d some are in no complete tail; the last is %+v", w.Workspace,
					len(l.Commits), l.Move.Timeline, l.Commits[len(l.Commits)-1]))
			}
		}
	}
	return errors.Join(all...)
}

// held reports whether some complete tail holds every commit of a loss.
func held(tails []topology.Tail, l ledger.Lost) bool {
	return len(l.Commits) == 0 || slices.ContainsFunc(tails, func(t topology.Tail) bool {
		return t.Complete && t.At.Timeline == l.Move.Timeline && len(l.OutsideOf(t.At.LSN)) == 0
	})
}
