// Package chaos_test moves a group from side to side while clients write and things are killed at random, and demands that the
// ledger balances after each move.
package chaos_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/smartdr/smartdr/internal/devenv"
	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/internal/devenv/estate"
	"github.com/smartdr/smartdr/internal/devenv/estate/estatetest"
	"github.com/smartdr/smartdr/internal/topology"
)

const (
	seedVariable = "SMARTDR_TEST_SEED" // plays the same story again
	fullVariable = "SMARTDR_TEST_FULL"
	// usualSeed is played unless more is asked for, so that a plain run depends on nothing but the code. It tells of a switchover with
	// Temporal and a worker killed, a failback, and a failover with servers killed twice.
	usualSeed = 11
)

// TestTheLedgerBalancesOverManyMoves moves the group three times, or ten times with SMARTDR_TEST_FULL=1: regions are lost and come
// back, planned moves go there and back, and processes are killed in the middle. The seed is printed. A plain run plays one story,
// a full one any.
func TestTheLedgerBalancesOverManyMoves(t *testing.T) {
	t.Parallel()
	seed := chooseSeed(t)
	story := tell(rand.New(rand.NewPCG(seed, 1)), length())
	t.Logf("%s=%d tells: %v", seedVariable, seed, story)
	c := newChaos(t)
	for i, move := range story {
		t.Logf("move %d: %s", i+1, move)
		began := time.Now()
		c.play(move)
		t.Logf("move %d: %s took %s", i+1, move.kind, time.Since(began).Round(100*time.Millisecond))
		if t.Failed() {
			t.Fatalf("the story broke at move %d of %s=%d", i+1, seedVariable, seed)
		}
	}
}

func chooseSeed(t *testing.T) uint64 {
	t.Helper()
	text := os.Getenv(seedVariable)
	switch {
	case text == "" && os.Getenv(fullVariable) == "1":
		return rand.Uint64() >> 32 // short enough to be typed
	case text == "":
		return usualSeed
	}
	seed, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", seedVariable, err)
	}
	return seed
}

func length() int {
	if os.Getenv(fullVariable) == "1" {
		return 10
	}
	return 3
}

// move is one operation, and what is killed in it.
type move struct {
	kind    string
	strikes []strike
}

// strike kills one thing when the n-th activity of the operation begins.
type strike struct {
	at     int
	target int // of targets
}

func (m move) String() string {
	text := m.kind
	for _, s := range m.strikes {
		text += fmt.Sprintf(", %s killed at activity %d", targets[s.target].name, s.at)
	}
	return text
}

// most is the number of activities among which a strike is placed; an operation has more.
const most = 24

// tell invents a story that begins at home. The first moves are one of each kind, and where the group is away it comes home in most
// cases, since every kind of move begins there again.
func tell(r *rand.Rand, n int) (story []move) {
	first := []string{estate.Failover, estate.Failback, estate.Switchover}
	if r.IntN(2) == 0 {
		first = []string{estate.Switchover, estate.Failback, estate.Failover}
	}
	home := true
	for i := range n {
		kind := next(r, home)
		if i < len(first) {
			kind = first[i]
		}
		m := move{kind: kind}
		for range r.IntN(3) {
			m.strikes = append(m.strikes, strike{1 + r.IntN(most), r.IntN(len(targets))})
		}
		story = append(story, m)
		home = !home
	}
	return story
}

func next(r *rand.Rand, home bool) string {
	switch n := r.IntN(10); {
	case home && n < 5, !home && n < 2:
		return estate.Failover
	case home, n < 4:
		return estate.Switchover
	}
	return estate.Failback
}

// targets are what can be killed. What nobody else starts again is started again at once.
var targets = []struct {
	name string
	kill func(context.Context, *devenv.Env) error
}{
	{"the worker of " + devenv.Primary, func(ctx context.Context, e *devenv.Env) error {
		return e.Regions[devenv.Primary].RestartWorkers(ctx, e.Temporal)
	}},
	{"the worker of " + devenv.Secondary, func(ctx context.Context, e *devenv.Env) error {
		return e.Regions[devenv.Secondary].RestartWorkers(ctx, e.Temporal)
	}},
	{"Temporal", func(ctx context.Context, e *devenv.Env) error { return e.Temporal.Restart(ctx) }},
	{"the object store of " + devenv.Primary, func(ctx context.Context, e *devenv.Env) error {
		return e.Regions[devenv.Primary].Gateway.Restart(ctx)
	}},
	{"the object store of " + devenv.Secondary, func(ctx context.Context, e *devenv.Env) error {
		return e.Regions[devenv.Secondary].Gateway.Restart(ctx)
	}},
	{"the servers of " + devenv.Primary, func(ctx context.Context, e *devenv.Env) error {
		if err := e.Server.Restart(ctx); err != nil { // as its service manager does
			return err
		}
		return e.Regions[devenv.Primary].KillServers(ctx)
	}},
	{"the servers of " + devenv.Secondary, func(ctx context.Context, e *devenv.Env) error {
		return e.Regions[devenv.Secondary].KillServers(ctx)
	}},
}

// chaos is a group in use that is moved.
type chaos struct {
	t    *testing.T
	env  *devenv.Env
	in   *estate.Estate
	lost string // the region that is gone now
}

func newChaos(t *testing.T) *chaos {
	t.Helper()
	majors, err := devenv.Majors() // the first of SMARTDR_TEST_PG_MAJORS, else the newest
	if err != nil {
		t.Fatal(err)
	}
	env, err := devenv.StartEnv(t.Context(), devenv.EnvOptions{Dir: filepath.Join(devtest.Dir(t), "env"), NoUI: true, Major: majors[0]})
	if err != nil {
		t.Fatal(err)
	}
	c := &chaos{t: t, env: env}
	t.Cleanup(func() {
		if c.in != nil {
			c.in.Stop()
		}
		devtest.End(t, env)
	})
	c.in, err = estate.New(t.Context(), env, estate.Options{Adopted: true, Managed: true, Megabytes: 4})
	c.must(err)
	c.in.Write(t.Context(), estatetest.ClientsPause)
	c.must(c.in.WaitProtected(t.Context()))
	return c
}

func (c *chaos) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

// play makes one move, and checks what must hold after it.
func (c *chaos) play(m move) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), 4*devtest.Patience)
	defer cancel()
	c.must(c.in.Written(ctx, 20))
	if m.kind == estate.Failover {
		c.lose(ctx)
	}
	op := c.moveUnderFire(ctx, m)
	c.must(c.in.Written(ctx, 20))
	accounts, err := c.in.Verify(ctx)
	c.must(err)
	for name, a := range accounts {
		c.t.Logf("%s: %d commits acknowledged, %d kept", name, a.Acknowledged, a.Kept)
	}
	c.report(op)
	if c.lost != "" {
		c.must(c.env.ReviveRegion(ctx, c.lost))
		c.lost = ""
		c.must(c.in.WaitTails(ctx))
	}
	c.must(c.in.WaitMovable(ctx))
}

func (c *chaos) report(op topology.Operation) {
	if op.Gap != nil {
		c.t.Logf("without a writer for %s, as clients saw it %s", op.Gap.Length().Round(time.Millisecond), c.in.Gap().Round(time.Millisecond))
	}
	for _, w := range op.Workspaces {
		if w.Moved != nil {
			c.t.Logf("%s: %+v", w.Workspace, *w.Moved)
		}
	}
}

// lose kills the region that serves.
func (c *chaos) lose(ctx context.Context) {
	c.t.Helper()
	s, err := c.in.Status(ctx)
	c.must(err)
	c.lost = s.Group.Active
	c.must(c.in.Lose(ctx, c.lost))
}
