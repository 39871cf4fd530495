package catalog

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/internal/topology"
)

// newModel is group prod, replicated from east to west, and the actors by name.
func newModel(t *testing.T, l limits, scripts []scripted) *model {
	m := &model{t: t, net: newNetwork("east", "west"), limits: l, holders: map[topology.Epoch]string{}, revisions: map[int64]string{}}
	g := newGroup("prod")
	g.ID, g.Secondary, g.Active, g.Authority, g.Epoch, g.Term, g.Format, g.Revision = "id", "west", "east", "west", 1, 1, 1, 1
	g.Controller = &topology.Controller{ID: "old"}
	g.Replication = &topology.Replication{}
	g.Workspaces[0].Lineage, g.Workspaces[0].Lineages = firstLineage, []topology.Lineage{{ID: firstLineage, Epoch: 1, Region: "east"}}
	g.Claimed = &topology.Claimed{Epoch: 1, Region: "east", Operation: "create", At: time.Unix(0, 0).UTC()}
	body, _ := encode(g)
	claim, _ := encode(claimOf(&g))
	for _, b := range m.net.buckets {
		b.put(groupKey("prod"), body, objectstore.PutOptions{})
		b.put(epochKey("prod", 1), claim, objectstore.PutOptions{})
	}
	m.revisions[1] = string(body)
	m.net.wrote = m.wrote
	for i, s := range scripts {
		m.actors = append(m.actors, &actor{name: s.name, index: i, controller: s.controller, blind: s.blind, script: s.script, model: m})
	}
	return m
}

type scripted struct {
	name, controller string
	script           func(context.Context, *actor) error
	blind            string
}

// situation is a handful of actors that meet.
type situation struct {
	name    string
	seizure bool
	actors  func() []scripted
}

var situations = []situation{
	{"two failovers", false, func() []scripted {
		return []scripted{{"a", "old", failover("a", "west"), ""}, {"b", "old", failover("b", "west"), ""}, {"entity", "old", entity, ""}}
	}},
	{"failover and back while the decision moves", false, func() []scripted {
		return []scripted{{"there", "old", failover("there", "west"), ""}, {"entity", "old", entity, ""}, {"back", "old", failover("back", "east"), ""}}
	}},
	{"changes while the decision moves", false, func() []scripted {
		return []scripted{{"there", "old", failover("there", "west"), ""}, {"writer", "old", writer("w"), ""}, {"entity", "old", entity, ""}}
	}},
	{"another control plane", false, func() []scripted {
		return []scripted{{"old", "old", failover("old", "west"), ""}, {"young", "young", takeover("young", "west", false), ""}, {"entity", "old", entity, ""}}
	}},
	{"a bucket is made to decide", true, func() []scripted {
		return []scripted{{"seizer", "young", takeover("seizer", "east", true), "west"}, {"old", "old", failover("old", "west"), "east"}, {"writer", "old", writer("w"), ""}}
	}},
	{"a switchover and who takes it for dead", false, func() []scripted {
		return []scripted{{"switchover", "old", switchover("s", "west"), ""}, {"keeper", "old", keeper("s"), ""}, {"failover", "old", failover("f", "west"), ""}}
	}},
}

func (s situation) play(t *testing.T, l limits, by schedule) (m *model) {
	l.seizure = s.seizure
	synctest.Test(t, func(t *testing.T) {
		m = newModel(t, l, s.actors())
		m.run(by)
	})
	return m
}

func (m *model) report(t *testing.T, how string) {
	t.Helper()
	if m.failed != "" {
		t.Fatalf("%s\n%s:\n  %s", m.failed, how, strings.Join(m.trace, "\n  "))
	}
}

// TestEpochModelByChance plays many histories that are drawn by chance. SMARTDR_TEST_SEED repeats one.
func TestEpochModelByChance(t *testing.T) {
	n := 200
	if os.Getenv("SMARTDR_TEST_FULL") != "" {
		n = 4_000
	}
	for _, s := range situations {
		t.Run(strings.ReplaceAll(s.name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			var only uint64
			if _, err := fmt.Sscan(os.Getenv("SMARTDR_TEST_SEED"), &only); err == nil {
				s.play(t, limits{faults: 5}, &chance{rand.New(rand.NewPCG(only, 0))}).report(t, "the history")
				return
			}
			for seed := range uint64(n) {
				s.play(t, limits{faults: 5}, &chance{rand.New(rand.NewPCG(seed, 0))}).report(t, fmt.Sprintf("SMARTDR_TEST_SEED=%d", seed))
			}
		})
	}
}

// chance chooses what is plain most of the time.
type chance struct{ *rand.Rand }

func (c *chance) choose(n int) int {
	if c.IntN(3) > 0 {
		return 0
	}
	return c.IntN(n)
}

// TestEpochModelInBounds plays every history that departs from the plain one at most so many times.
func TestEpochModelInBounds(t *testing.T) {
	most, patience := 2, 4*time.Second // for each situation
	if os.Getenv("SMARTDR_TEST_FULL") != "" {
		patience = 2 * time.Minute
	}
	for _, s := range situations {
		t.Run(strings.ReplaceAll(s.name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			began, played := time.Now(), 0
			e := &exploration{most: most}
			for e.next() && time.Since(began) < patience {
				s.play(t, limits{faults: most, sparse: true}, e).report(t, fmt.Sprint("the departures ", e.path))
				played++
			}
			t.Logf("%d histories, all of them: %t", played, e.finished)
		})
	}
}

// exploration goes through all schedules with at most so many departures, those with fewer first. It is a schedule by itself.
type exploration struct {
	most     int
	path     []departure // of the history that is played
	queue    [][]departure
	at       int // how many choices were made
	began    bool
	finished bool
}

type departure struct{ at, choice int }

// next prepares the next history.
func (e *exploration) next() bool {
	if !e.began {
		e.began, e.queue = true, [][]departure{nil}
	}
	if len(e.queue) == 0 {
		e.finished = true
		return false
	}
	e.path, e.queue, e.at = e.queue[0], e.queue[1:], 0
	return true
}

func (e *exploration) choose(n int) int {
	at := e.at
	e.at++
	last := -1
	for _, d := range e.path {
		if d.at == at {
			return min(d.choice, n-1)
		}
		last = max(last, d.at)
	}
	if at > last && len(e.path) < e.most {
		for c := 1; c < n; c++ {
			e.queue = append(e.queue, append(slices.Clone(e.path), departure{at, c}))
		}
	}
	return 0
}
