package catalog

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/internal/topology"
)

// model runs actors over the real catalog on two buckets in memory, one request at a time, in an order and with faults that a
// schedule chooses, and watches that what must never happen does not:
//   - two operations that hold one epoch, so that two lineages accept writes under it;
//   - a decision made in a bucket that does not decide, or two that are taken for the same one;
//   - a decision by a control plane that another one has taken over from;
//   - a fence that is lifted after the claim it was set for;
//   - a claim that somebody acts on and that an older epoch would not learn of;
//   - a change that was acknowledged and is lost.
type model struct {
	t      *testing.T
	net    *network
	actors []*actor
	limits limits

	wroteLast *actor // nil when the last thing that happened was no write

	mu        sync.Mutex
	holders   map[topology.Epoch]string // operations that were told they hold an epoch
	revisions map[int64]string          // documents, by revision
	taken     string                    // the control plane that was told last that it acts
	added     []string
	trace     []string
	failed    string
}

// limits bound what a schedule may do.
type limits struct {
	faults  int // lost requests and answers, kills, dead buckets, passed time
	seizure bool
	sparse  bool
}

func (m *model) fail(format string, args ...any) {
	if m.failed == "" {
		m.failed = fmt.Sprintf(format, args...)
	}
}

// claimed is called when an operation was told that it holds an epoch, and begins to take writes under it.
func (m *model) claimed(a *actor, won Claim) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if other := m.holders[won.Epoch]; other != "" && other != won.Operation {
		m.fail("%s: operation %s was told that it holds epoch %d, as %s was", a.name, won.Operation, won.Epoch, other)
	}
	m.holders[won.Epoch] = won.Operation
	m.net.mu.Lock()
	defer m.net.mu.Unlock()
	for e := topology.Epoch(2); e <= won.Epoch; e++ {
		told := func(region string) bool { return m.net.buckets[region].objects[epochKey("prod", e)] != nil }
		if !told("east") && !told("west") {
			m.fail("%s: acts on epoch %d, and a shipper of epoch %d finds none above its own", a.name, won.Epoch, e-1)
		}
	}
}

func (m *model) controls(a *actor) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.taken = a.controller
}

// schedule chooses among n possibilities; 0 is the plain one: the first actor goes on undisturbed.
type schedule interface{ choose(n int) int }

// run runs actors until all have ended, and then demands that the group is as good as new.
func (m *model) run(s schedule) {
	ctx, cancel := context.WithCancel(m.t.Context())
	for _, a := range m.actors {
		a.start(ctx)
	}
	for range 5_000 {
		synctest.Wait()
		if m.failed != "" || m.over() {
			break
		}
		m.step(ctx, s)
	}
	if m.failed == "" && !m.over() {
		m.fail("it never ended")
	}
	cancel()
	for _, a := range m.actors {
		<-a.done
	}
	m.net.waiting = nil
	for _, b := range m.net.buckets {
		b.dead = false
	}
	if m.failed == "" {
		m.asGoodAsNew()
	}
}

func (m *model) over() bool {
	for _, a := range m.actors {
		select {
		case <-a.done:
		default:
			return false
		}
	}
	return true
}

// step lets one thing happen.
func (m *model) step(ctx context.Context, s schedule) {
	requests := m.net.requests()
	acts := make([]func(), 0, len(requests)+8)
	say := func(what string, do func()) {
		acts = append(acts, func() { m.trace = append(m.trace, what); do() })
	}
	alive := 0
	for _, r := range requests {
		if !r.left {
			alive++
		}
		say(r.String()+" "+happens, func() {
			m.net.let(r, happens)
			if r.op == "PUT" {
				m.wroteLast = r.actor
			}
		})
	}
	pass := func(d time.Duration) func() { return func() { time.Sleep(d) } }
	if alive == 0 { // they sleep, or wait for a dead bucket
		acts = slices.Insert(acts, 0, pass(time.Second))
	}
	if m.limits.faults > 0 {
		m.disturb(ctx, requests, func(what string, do func()) {
			say(what, func() { m.limits.faults--; do() })
		})
	}
	act := acts[s.choose(len(acts))]
	m.wroteLast = nil
	act()
}

// disturb offers everything that can go wrong now. What goes wrong between two reads shows at the next write: in a sparse
// model it is offered there alone.
func (m *model) disturb(ctx context.Context, requests []*request, offer func(string, func())) {
	writes := map[*actor]bool{m.wroteLast: true}
	for _, r := range requests {
		if r.left || r.op != "PUT" {
			continue
		}
		writes[r.actor] = true
		for _, fate := range []string{dropped, unheard, twice} {
			offer(r.String()+" "+fate, func() { m.net.let(r, fate) })
		}
	}
	if m.limits.sparse && len(writes) == 1 && m.wroteLast == nil {
		return
	}
	for _, a := range m.actors {
		select {
		case <-a.done:
			continue
		default:
		}
		if m.limits.sparse && !writes[a] {
			continue
		}
		offer(a.name+" is killed, and begins anew", func() {
			a.cancel()
			<-a.done
			a.start(ctx)
		})
	}
	for _, region := range []string{"east", "west"} {
		b := m.net.buckets[region]
		offer(fmt.Sprintf("the bucket of %s dies: %t", region, !b.dead), func() { b.dead = !b.dead })
	}
	offer("12 s pass", func() { time.Sleep(12 * time.Second) }) // every request is given up
	offer("2 min pass", func() { time.Sleep(2 * time.Minute) })
}

// asGoodAsNew demands, once everything answers again, that both buckets can be brought together, that nothing acknowledged is
// lost, and that another failover can be made. After a seizure the two may have parted for good, and say so.
func (m *model) asGoodAsNew() {
	acts := m.acts()
	if m.taken != "" && acts != m.taken {
		m.fail("control plane %s was told that it acts, and %s does", m.taken, acts)
	}
	c := &Catalog{Stores: map[string]objectstore.Store{}, Controller: acts}
	last := &actor{name: "last", model: m, controller: acts}
	for region := range m.net.buckets {
		c.Stores[region] = store{m.net, last, region}
	}
	last.catalog = c
	last.done = make(chan struct{})
	var err error
	go func() {
		defer close(last.done)
		if err = c.Mirror(m.t.Context(), "prod"); err == nil {
			time.Sleep(2 * topology.AbandonedAfter)
			err = failover("last", "west")(m.t.Context(), last)
		}
	}()
	for {
		synctest.Wait()
		requests := m.net.requests()
		select {
		case <-last.done:
			m.judgeEnd(err)
			return
		default:
		}
		if len(requests) == 0 {
			time.Sleep(time.Second)
			continue
		}
		m.net.let(requests[0], happens)
	}
}

// acts returns the control plane that the newest document names.
func (m *model) acts() string {
	var newest topology.Group
	for _, b := range m.net.buckets {
		var g topology.Group
		if json.Unmarshal(b.objects[groupKey("prod")], &g) == nil && g.Revision > newest.Revision {
			newest = g
		}
	}
	return newest.Controller.ID
}

func (m *model) judgeEnd(err error) {
	if m.limits.seizure && fault.Is(err, fault.Diverged) {
		return
	}
	if err != nil {
		m.fail("the group cannot be used any more: %v", err)
		return
	}
	var east, west topology.Group
	for region, g := range map[string]*topology.Group{"east": &east, "west": &west} {
		if err := json.Unmarshal(m.net.buckets[region].objects[groupKey("prod")], g); err != nil {
			m.fail("the document in %s: %v", region, err)
		}
	}
	if east.Revision != west.Revision {
		m.fail("revision %d is in east, %d in west", east.Revision, west.Revision)
	}
	for _, db := range m.added {
		if !slices.Contains(east.Replication.Databases, db) {
			m.fail("database %s was acknowledged and is lost", db)
		}
	}
}

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
	n := 250
	if os.Getenv("SMARTDR_TEST_FULL") != "" {
		n = 20_000
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
	most, patience := 2, 6*time.Second // for each situation
	if os.Getenv("SMARTDR_TEST_FULL") != "" {
		patience = time.Hour
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
