// Package fence keeps everybody from writing to a PostgreSQL server, by SQL alone, and lets them write again.
//
// A fence consists of settings and access rules, and of no catalog change: nothing of it is in the WAL, so that it reaches no copy
// of the server, and all of it stands over a restart, whoever starts the server:
//
//   - session_preload_libraries names a library that does not exist, so that no SQL session begins. Superusers alone get past it,
//     with options='-c session_preload_libraries='. SmartDR's own connections do that.
//   - pg_hba.conf lets in superusers through the server's socket, the role that SmartDR connects as, and replication.
//   - Transactions begin read-only. That is for background workers, which neither of the two keeps out.
//   - Subscriptions' workers are not started again.
//   - Sessions that are there are ended.
//
// WAL goes on being sent to whoever replicates. What the server had before is kept on the server itself: the settings in
// smartdr.fence in postgresql.auto.conf, the access rules within pg_hba.conf.
package fence

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

// Options say what is fenced, and for whom.
type Options struct {
	Lineage topology.Lineage // that the server writes
	// By is who asks: an operation's ID, "self", or "epoch-2". Only the one who fenced last lifts.
	By string
	// ForGood fences are not meant to be lifted: what takes effect with a restart alone is set, too.
	ForGood bool
	// Newer are the newer lineages that left an older one: a server that writes one of them is not the one that is to be fenced,
	// but one that serves now, or did later.
	Newer []topology.Lineage
	// Wrote reports whether the server writes a newer lineage whose fork and timeline its history has: both sides may have been
	// promoted at the same place to the same number. Nil: it does. fault.Missing means that nobody can tell any more.
	Wrote func(ctx context.Context, newer topology.Lineage) (bool, error)
	// EndWithin is how long the sessions may take to end; default 15 s.
	EndWithin time.Duration
}

func (o Options) endWithin() time.Duration {
	if o.EndWithin > 0 {
		return o.EndWithin
	}
	return 15 * time.Second
}

// Result is what a fence came to.
type Result struct {
	Worth  topology.FenceWorth
	Means  []string // what is in force, in words
	Reason string   // why it is worth no more
	// End is the server's flush position when the last session of a client had ended; zero when one has not, or when
	// another could begin.
	End    wal.Position
	Before map[string]*string // the server's own values of the settings that were replaced

	// DataDir is the server's data directory on its host; empty where the role may not know.
	DataDir string

	held *pgx.Conn // nil, or a session that keeps subscriptions from running
}

// Apply fences a server; the caller guards the result or closes it. It can be called again and again, also where it was killed half-way. Errors: fault.Diverged when the
// server is not the lineage's; fault.Transient when it cannot be reached.
func Apply(ctx context.Context, src topology.Source, o Options) (Result, error) {
	s, err := open(ctx, src)
	if err != nil {
		return Result{}, err
	}
	defer s.close(ctx)
	if err := s.identify(ctx, o); err != nil {
		return Result{}, err
	}
	if err := s.lock(ctx); err != nil {
		return Result{}, err
	}
	a := &applying{session: s, options: o, result: Result{DataDir: s.dataDir}}
	if !s.superuser {
		return a.asFarAsAllowed(ctx)
	}
	return a.run(ctx)
}

// applying is one Apply.
type applying struct {
	*session
	options Options
	result  Result
	reasons []string
	mark    mark
	library bool // session_preload_libraries is in force
	rules   bool // pg_hba.conf is in force
}

func (a *applying) run(ctx context.Context) (Result, error) {
	r, err := a.fence(ctx)
	if err != nil {
		a.result.Close(ctx)
	}
	return r, err
}

func (a *applying) fence(ctx context.Context) (Result, error) {
	if err := a.set(ctx); err != nil {
		return a.result, err
	}
	if err := a.narrowRules(ctx); err != nil {
		return a.result, err
	}
	since, err := a.reload(ctx)
	if err != nil {
		return a.result, err
	}
	if err := a.stillLetIn(ctx); err != nil {
		return a.result, err
	}
	if err := a.holdSubscriptions(ctx); err != nil {
		return a.result, err
	}
	out, err := a.end(ctx, since)
	if err != nil {
		return a.result, err
	}
	a.tryAsClient(ctx)
	if out && (a.library || a.rules) && !a.inRecovery {
		if a.result.End, err = a.flushed(ctx); err != nil {
			return a.result, err
		}
	}
	if err := a.nameWhatRemains(ctx); err != nil {
		return a.result, err
	}
	a.result.Worth = topology.FenceBestEffort
	if out && a.library && a.rules && !a.inRecovery {
		a.result.Worth = topology.FenceProven
	}
	a.result.Reason = sentences(a.reasons)
	return a.result, nil
}

// tryAsClient tries the source's own connection string without anything that would let it past.
func (a *applying) tryAsClient(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	conn, err := postgres.OpenAsClient(ctx, a.source)
	switch {
	case err == nil:
		_ = conn.Close(ctx)
		a.because("whoever connects as role %s still gets in", a.role)
	case codeOf(err) == noSuchFile:
		a.library = true
		a.by("no SQL session begins, since session_preload_libraries names a library that does not exist; superusers alone get past it, with options='-c session_preload_libraries='")
	default:
		a.because("whether a client gets in could not be tried: %v", err)
	}
}

func (a *applying) because(format string, args ...any) {
	a.reasons = append(a.reasons, fmt.Sprintf(format, args...))
}

func (a *applying) by(format string, args ...any) {
	a.result.Means = append(a.result.Means, fmt.Sprintf(format, args...))
}

// Check reports whether a fence for the lineage is in force as a whole and nobody is in, without changing anything.
func Check(ctx context.Context, src topology.Source, o Options) (bool, error) {
	s, err := open(ctx, src)
	if err != nil {
		return false, err
	}
	defer s.close(ctx)
	if !s.superuser {
		return s.limitedInForce(ctx)
	}
	return s.inForce(ctx, o)
}

// Lift puts everything back as it was before Apply by the same one. Where somebody else fenced since, or nobody did, it changes
// nothing. The note, if there is one, says what takes effect later.
func Lift(ctx context.Context, src topology.Source, o Options) (note string, err error) {
	s, err := open(ctx, src)
	if err != nil {
		return "", err
	}
	defer s.close(ctx)
	if err := s.lock(ctx); err != nil {
		return "", err
	}
	if !s.superuser {
		return "", s.liftLimited(ctx)
	}
	return s.lift(ctx, o)
}

// errNotOurs refuses to fence a server that is not the lineage's.
func errNotOurs(format string, args ...any) error {
	return fault.Newf(fault.Diverged, "fence server", format, args...).
		WithHint("The connection string leads to another server than the one that wrote the lineage: fence that one by hand, or put the address right.")
}
