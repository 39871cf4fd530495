package ledger

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/smartdr/smartdr/internal/wal"
)

// Commit is one transfer whose commit the server acknowledged.
type Commit struct {
	ID     string
	Before wal.LSN   // the commit record lies at or after it
	After  wal.LSN   // the commit record ends at or before it, and the server had flushed that much
	At     time.Time // when the acknowledgement had arrived

	// Which server it was that acknowledged; each promotion begins a timeline.
	Timeline wal.Timeline
	Server   string // host:port, or the socket
}

// Load writes transfers from several connections until it is stopped or, unless it roams, the server goes away.
type Load struct {
	stop context.CancelFunc
	done sync.WaitGroup

	mu      sync.Mutex
	commits []Commit
	errs    []error
	waits   []wait
}

// wait is for so many commits to be acknowledged.
type wait struct {
	commits int
	over    chan struct{} // closed then
}

// Options say how hard a load works.
type Options struct {
	Writers int           // connections; 2 when 0
	Pause   time.Duration // between a writer's transfers; none when 0
	Name    string        // prefix of the transfers' ids; must be unlike any other load's on the same database
}

// Start opens the connections and writes until Stop. A writer whose connection fails ends; Errors says why.
func Start(ctx context.Context, connect func(context.Context) (*pgx.Conn, error), o Options) (*Load, error) {
	if o.Writers == 0 {
		o.Writers = 2
	}
	conns := make([]*pgx.Conn, 0, o.Writers)
	for range o.Writers {
		c, err := connect(ctx)
		if err != nil {
			for _, c := range conns {
				c.Close(ctx) //nolint:errcheck // the failed connect is what counts
			}
			return nil, fmt.Errorf("start the load: %w", err)
		}
		conns = append(conns, c)
	}
	ctx, stop := context.WithCancel(ctx)
	l := &Load{stop: stop}
	for n, c := range conns {
		l.done.Go(func() { l.write(ctx, c, fmt.Sprintf("%s-%d", o.Name, n), o.Pause) })
	}
	return l, nil
}

// Stop ends the load after the transfers under way and waits for them.
func (l *Load) Stop() { l.stop(); l.done.Wait() }

// Wait returns when every writer has ended, by Stop or because its connection failed.
func (l *Load) Wait() { l.done.Wait() }

// Commits returns what was acknowledged so far, by acknowledgement time.
func (l *Load) Commits() []Commit {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := slices.Clone(l.commits)
	slices.SortStableFunc(c, func(a, b Commit) int { return a.At.Compare(b.At) })
	return c
}

// Count returns how many commits were acknowledged so far.
func (l *Load) Count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.commits)
}

// More waits until n more commits are acknowledged than when it is called. Without them it ends with ctx, and says what writers met last.
func (l *Load) More(ctx context.Context, n int) error {
	l.mu.Lock()
	w := wait{commits: len(l.commits) + n, over: make(chan struct{})}
	l.waits = append(l.waits, w)
	l.mu.Unlock()
	select {
	case <-w.over:
		return nil
	case <-ctx.Done():
	}
	err := ctx.Err()
	if errs := l.Errors(); len(errs) > 0 {
		err = fmt.Errorf("%w; the last error of a client: %w", err, errs[len(errs)-1])
	}
	return fmt.Errorf("of %d commits only %d are acknowledged: %w", w.commits, l.Count(), err)
}

// Errors returns why writers ended before Stop, or why writers that roam had to connect again.
func (l *Load) Errors() []error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.errs)
}

// write runs one connection's transfers. It checks for the stop between transfers only, so that every outcome is known
// as long as the server lives.
func (l *Load) write(ctx context.Context, conn *pgx.Conn, name string, pause time.Duration) {
	work := context.WithoutCancel(ctx)
	defer conn.Close(work) //nolint:errcheck // nothing hangs on a clean goodbye
	for n := 1; ctx.Err() == nil; n++ {
		c, err := commitOne(work, conn, fmt.Sprintf("%s-%d", name, n))
		if err != nil {
			l.failed(err)
			return
		}
		l.acknowledged(c)
		rest(ctx, pause)
	}
}

func (l *Load) acknowledged(c Commit) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.commits = append(l.commits, c)
	l.waits = slices.DeleteFunc(l.waits, func(w wait) bool {
		due := len(l.commits) >= w.commits
		if due {
			close(w.over)
		}
		return due
	})
}

func (l *Load) failed(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.errs = append(l.errs, err)
}

func commitOne(ctx context.Context, conn *pgx.Conn, id string) (Commit, error) {
	from := rand.IntN(accounts) + 1
	to := from%accounts + 1
	before, err := transfer(ctx, conn, id, from, to, rand.IntN(50)+1)
	if err != nil {
		return Commit{}, err
	}
	c := Commit{ID: id, At: time.Now()}
	if c.Before, err = wal.ParseLSN(before); err != nil {
		return Commit{}, err
	}
	// The commit is acknowledged from here on, whatever becomes of the question where it ends.
	c.After = unknownEnd
	var after string
	if conn.QueryRow(ctx, `select pg_current_wal_flush_lsn()::text`).Scan(&after) == nil {
		c.After, err = wal.ParseLSN(after)
	}
	return c, err
}

// End returns the end of the last of some commits whose end their clients were told; 0 without any.
func End(commits []Commit) (end wal.LSN) {
	for _, c := range commits {
		if c.After != unknownEnd {
			end = max(end, c.After)
		}
	}
	return end
}

// unknownEnd is the end of a commit record that the server did not live to tell.
const unknownEnd = ^wal.LSN(0)

func rest(ctx context.Context, d time.Duration) {
	if d == 0 {
		return
	}
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
