package activities

import (
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

const opDetach = "detach branch"

// RecordDetaching says in the group's document that a branch is being detached. The branch is returned as it was; one without an
// attachment is detached.
func (c *Control) RecordDetaching(ctx context.Context, in BranchInput) (topology.Branch, error) {
	p := beat(ctx)
	defer p.end()
	var was topology.Branch
	_, err := c.Catalog.Update(ctx, in.Group, func(g *topology.Group) error {
		b, err := branchOf(g, in.Branch)
		if err != nil {
			return err
		}
		was = *b
		if b.Attached != nil {
			a := *b.Attached
			a.State = topology.Detaching
			b.Attached = &a
		}
		return nil
	})
	return was, judge(ctx, describe(err, "branch %s", in.Branch))
}

// RecordDetached takes an attachment out of the group's document. With Unwritten the lineage that nobody has written to is forgotten, unless
// another branch begins in it. With Discard the lineage ends, by the same write, where the bucket has it: what arrives later is not read.
func (c *Control) RecordDetached(ctx context.Context, in RecordDetachedInput) (topology.Branch, error) {
	p := beat(ctx)
	defer p.end()
	b, err := c.recordDetached(ctx, in)
	return b, judge(ctx, describe(err, "branch %s", in.Branch))
}

func (c *Control) recordDetached(ctx context.Context, in RecordDetachedInput) (b topology.Branch, err error) {
	var end *topology.LineageEnd
	if in.Discard {
		if end, err = c.giveUp(ctx, in.BranchInput); err != nil {
			return b, err
		}
	}
	_, err = c.Catalog.Update(ctx, in.Group, func(g *topology.Group) error {
		there, err := branchOf(g, in.Branch)
		if err != nil {
			return err
		}
		if a := there.Attached; a != nil && a.ID == in.Attachment {
			if in.Discard {
				if in.Unwritten, err = discard(g, there, end); err != nil {
					return err
				}
			}
			if in.Unwritten {
				forgetLineage(g, there, a.Lineage)
			}
			there.Attached = nil
		}
		b = *there
		return nil
	})
	return b, err
}

// forgetLineage takes a branch's newest lineage away, unless another branch begins in it.
func forgetLineage(g *topology.Group, b *topology.Branch, lineage string) {
	last := len(b.Line) - 1
	if b.Own == 0 || last < 0 || b.Line[last].ID != lineage {
		return
	}
	for _, other := range g.Branches {
		in := slices.ContainsFunc(other.Line, func(l topology.Lineage) bool { return l.ID == lineage })
		if other.Name != b.Name && (other.Base.Lineage == lineage || in) {
			return
		}
	}
	b.Line, b.Own = slices.Clone(b.Line[:last]), b.Own-1
}

// DrainBranch lets nobody in any more, waits until the bucket has all that was written to the branch, for as long as it takes, and ends
// its server. What keeps it stands in the attachment meanwhile.
func (t *Target) DrainBranch(ctx context.Context, in BranchInput) (DetachedResult, error) {
	p := beat(ctx)
	defer p.end()
	result, err := t.drainBranch(ctx, in)
	return result, judge(ctx, describe(err, "branch %s", in.Branch))
}

func (t *Target) drainBranch(ctx context.Context, in BranchInput) (r DetachedResult, err error) {
	a, b, err := t.attached(ctx, in)
	if err != nil {
		return r, err
	}
	dir := branchDir(t.DataDir, in.Group, b.Workspace, a.ID)
	var o owner
	found, err := readState(dir, ownerFile, &o)
	if err != nil {
		return r, err
	}
	if !found {
		return r, fault.Newf(fault.Missing, opDetach, "host %s does not have its server any more", t.Host).
			WithHint("If its disk is lost, what had not reached the bucket is lost with it: detach it with discard (--discard).")
	}
	if o.Shipped {
		return DetachedResult{Unwritten: o.Unwritten}, nil
	}
	if a.ReadOnly {
		return r, t.endBranch(ctx, dir, false)
	}
	s, err := postgres.Load(dir)
	if err != nil {
		return r, err
	}
	if err := s.Start(ctx); err != nil { // one that died has something left to ship
		return r, err
	}
	end, err := shutOut(ctx, s)
	if err != nil {
		return r, err
	}
	if r.Unwritten, err = t.unwritten(ctx, in, b, s, end); err != nil {
		return r, err
	}
	if !r.Unwritten {
		if err := t.awaitBranch(ctx, in, b, end); err != nil {
			return r, err
		}
	}
	return r, t.endBranch(ctx, dir, r.Unwritten)
}

// endBranch ends a branch's server and says in its folder that nothing of it is needed any more.
func (t *Target) endBranch(ctx context.Context, dir string, unwritten bool) error {
	if err := stopInstance(ctx, dir); err != nil {
		return err
	}
	return changeOwner(dir, func(o *owner) { o.Shipped, o.Unwritten = true, unwritten })
}

// shutOut ends a server's clients, lets none in any more, and returns the end of what they have written.
func shutOut(ctx context.Context, s *postgres.Server) (wal.LSN, error) {
	if err := s.WriteHBA(""); err != nil {
		return 0, err
	}
	if err := follow(ctx, s); err != nil {
		return 0, err
	}
	for end := time.Now().Add(endsWithin); ; {
		left, err := endClients(ctx, s)
		if err != nil {
			return 0, err
		}
		if left == 0 {
			break
		}
		if time.Now().After(end) {
			return 0, fault.Newf(fault.Transient, opDetach, "%d sessions do not end", left)
		}
		if pauseFor(ctx, 100*time.Millisecond); ctx.Err() != nil {
			return 0, fault.New(fault.Transient, opDetach, ctx.Err())
		}
	}
	if err := ask(ctx, s, func(conn *pgx.Conn) error { // it flushes what was committed without waiting for that
		_, err := conn.Exec(ctx, "checkpoint")
		return err
	}); err != nil {
		return 0, err
	}
	return flushed(ctx, s)
}

// endClients ends the sessions of clients, all but those of this host's control, and says how many there were.
func endClients(ctx context.Context, s *postgres.Server) (left int, err error) {
	err = ask(ctx, s, func(conn *pgx.Conn) error {
		return conn.QueryRow(ctx, `select count(pg_terminate_backend(pid)) from pg_stat_activity
			where backend_type = 'client backend' and pid <> pg_backend_pid() and application_name not like 'smartdr%'`).Scan(&left)
	})
	return left, err
}

const (
	// tellBranch is how long a detach may wait before it says why.
	tellBranch = 10 * time.Second
)

// awaitBranch waits until the branch's bucket holds its WAL up to a point, as its shipper announces.
func (t *Target) awaitBranch(ctx context.Context, in BranchInput, b topology.Branch, at wal.LSN) error {
	next := time.Now().Add(tellBranch)
	for {
		lacking, err := t.branchLacks(ctx, in, b, at)
		if err != nil || lacking == "" {
			return err
		}
		if time.Now().After(next) {
			t.tellAttachment(ctx, in, lacking, "It is shipped as soon as the bucket takes it. To give it up, detach with discard (--discard).")
			next = time.Now().Add(6 * tellBranch)
		}
		if pauseFor(ctx, askShipped); ctx.Err() != nil {
			return fault.New(fault.Transient, opDetach, ctx.Err())
		}
	}
}

// branchLacks says what of a branch's WAL has not arrived, or "".
func (t *Target) branchLacks(ctx context.Context, in BranchInput, b topology.Branch, at wal.LSN) (string, error) {
	if _, _, err := t.attached(ctx, in); fault.Is(err, fault.Fenced) || fault.Is(err, fault.Missing) {
		return "", err // somebody has discarded it meanwhile
	}
	p, err := t.Catalog.BranchProgress(ctx, in.Group, b.Name, b.Attached.ID)
	switch c := p.Cursor(b.Region); {
	case fault.Is(err, fault.Missing), err == nil && c == nil:
		return "what was written up to " + at.String() + " is not in the bucket: its shipper has announced nothing yet", nil
	case err != nil:
		return "what was written up to " + at.String() + " is perhaps not in the bucket: " + err.Error(), nil
	case p.Lineage != b.Attached.Lineage || c.Point.At.LSN < at:
		why := c.Error
		if why == "" {
			why = p.Error
		}
		if why != "" {
			why = ": " + why
		}
		return "what was written up to " + at.String() + " is not in the bucket of " + b.Region + ", which ends at " + c.Point.At.LSN.String() + why, nil
	}
	return "", nil
}

// tellAttachment says in the group's document what keeps an attachment; "" that nothing does. It is for people: who cannot say it goes on.
func (s *Site) tellAttachment(ctx context.Context, in BranchInput, why, hint string) {
	_, err := s.Catalog.Update(ctx, in.Group, func(g *topology.Group) error {
		if _, _, err := attachedIn(g, in); err != nil {
			return err
		}
		b := g.Branch(in.Branch)
		a := *b.Attached
		a.Error, a.Hint = why, hint
		b.Attached = &a
		return nil
	})
	if err != nil && ctx.Err() == nil {
		s.Log.WarnContext(ctx, "what keeps a branch was not recorded", "branch", in.Branch, "why", why, "error", err)
	}
}

// RemoveBranchServer removes what is left on this host of an attachment that is over.
func (t *Target) RemoveBranchServer(ctx context.Context, in RestoreInput) error {
	p := beat(ctx)
	defer p.end()
	return judge(ctx, describe(t.removeBranchServer(ctx, in), "branch %s", in.Branch))
}

func (t *Target) removeBranchServer(ctx context.Context, in RestoreInput) error {
	dir := t.dir(in)
	var o owner
	found, err := readState(dir, ownerFile, &o)
	if err != nil || !found {
		return err
	}
	loaded, err := t.Catalog.Load(ctx, in.Group)
	if err != nil {
		return err
	}
	if t.attachmentHere(&loaded.Group, o) != nil {
		return fault.Newf(fault.Invalid, "remove server of branch", "it is attached as %s", o.Attachment)
	}
	if err := stopInstance(ctx, dir); err != nil {
		return err
	}
	may, err := t.mayRemove(ctx, o)
	if err != nil || !may {
		return errorsOr(err, fault.Newf(fault.Transient, "remove server of branch", "not all that was written to it is in the bucket"))
	}
	return t.removeBranch(ctx, dir, o)
}
