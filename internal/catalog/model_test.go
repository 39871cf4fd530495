package catalog

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
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
	time.Sleep(5 * time.Minute) // copies that were sent beside the actors are given up: they would hide what failed
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
		if !m.net.abandoned(r) {
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
		if m.net.abandoned(r) || r.op != "PUT" {
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
