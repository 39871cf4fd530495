package activities

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

// fixPlan makes a plan stand for operation op: main on host a, side on host b.
func fixPlan(t *testing.T, w *world) FailoverPlan {
	t.Helper()
	point := topology.RecoveryPoint{Lineage: "0001-00000000", At: wal.Position{Timeline: 1, LSN: 0x5000000}}
	plan := FailoverPlan{From: "east", To: "west", Epoch: 1, Workspaces: []WorkspacePlan{
		{Workspace: "main", Lineage: "0002-aaaaaaaa", Host: "a", Point: point}, {Workspace: "side", Lineage: "0002-bbbbbbbb", Host: "b", Point: point},
	}}
	raw, err := json.Marshal(plan)
	check(t, err)
	_, err = w.Catalog.FixPlan(t.Context(), "west", "prod", "op", func([]byte) ([]byte, error) { return raw, nil })
	check(t, err)
	w.update(t, func(g *topology.Group) {
		site := topology.Site{Kind: topology.Adopted, Source: topology.Source{ConnString: "postgres://dr@db2/postgres"}}
		g.Workspaces = append(g.Workspaces, topology.Workspace{Name: "side", Sites: map[string]topology.Site{"east": site}})
	})
	return plan
}

// servesMain makes the group's document say that main serves in west, with a lineage of the operation.
func servesMain(g *topology.Group) {
	g.Active, g.Epoch = "west", 2
	ws := g.Workspace("main")
	ws.Lineage = "0002-aaaaaaaa"
	ws.Lineages = append(ws.Lineages, topology.Lineage{ID: ws.Lineage, Epoch: 2, Region: "west", SystemID: "1", SegmentSize: 16 << 20})
	ws.Sites["west"] = topology.Site{Kind: topology.Managed, Host: "a", Instance: "/i", Endpoint: endpointOf("a", 6000), Source: topology.Source{ConnString: "host=/s"}}
}

func TestAPlanThatStandsIsKept(t *testing.T) {
	w := newWorld(t)
	plan := fixPlan(t, w)
	target := &Target{Site: w.Site}
	in := FixRecoveryPointInput{Group: "prod", To: "west", Operation: "op", Epoch: 2, Hosts: map[string]string{"main": "x", "side": "y"}}
	got, err := as(t, target.FixRecoveryPoint, in)
	check(t, err)
	if diff := cmp.Diff(plan, got); diff != "" {
		t.Error(diff)
	}
}

func TestResumingMovesWhatDoesNotServeAndNothingElse(t *testing.T) {
	w := newWorld(t)
	was := fixPlan(t, w)
	w.update(t, servesMain)
	target := &Target{Site: w.Site}
	in := FixRecoveryPointInput{Group: "prod", To: "west", Operation: "op", Epoch: 2, Hosts: map[string]string{"main": "x", "side": "c"}, Resume: true}
	first, err := as(t, target.FixRecoveryPoint, in)
	check(t, err)
	again, err := as(t, target.FixRecoveryPoint, in)
	check(t, err)
	if diff := cmp.Diff(first, again); diff != "" {
		t.Errorf("another attempt has another plan: %s", diff)
	}
	main, side := first.Workspaces[0], first.Workspaces[1]
	if main.Host != "a" || main.Lineage != "0002-aaaaaaaa" || main.Serving == nil || main.Serving.Hosts[0].Port != 6000 {
		t.Errorf("what serves became %+v", main)
	}
	if side.Host != "c" || side.Lineage == "0002-bbbbbbbb" || side.Serving != nil || side.Point != was.Workspaces[1].Point {
		t.Errorf("what does not became %+v", side)
	}
	stands, ok, err := target.standing(t.Context(), "prod", "west", "op")
	if err != nil || !ok || stands.Workspaces[0].Serving != nil || stands.Workspaces[1].Host != "c" {
		t.Errorf("the plan that stands is %+v, %v", stands, err)
	}
}

func putHosts(t *testing.T, w *world, ages map[string]time.Duration) {
	t.Helper()
	for name, age := range ages {
		check(t, w.Catalog.PutHost(t.Context(), topology.Host{Name: name, Region: "west", AnnouncedAt: time.Now().Add(-age), DiskBytes: 1 << 40}))
	}
}

// A workspace stays on its host while that is there, and moves when it is not.
func TestResumingPlansWithTheHostsThatAreThere(t *testing.T) {
	w := newWorld(t)
	fixPlan(t, w)
	w.update(t, servesMain)
	target := &Target{Site: w.Site}
	in := PlanFailoverInput{Group: "prod", To: "west", Operation: "op"}
	for _, c := range []struct {
		ages    map[string]time.Duration
		without []string
		want    string
	}{
		{map[string]time.Duration{"a": 0, "b": 0, "c": 0}, nil, "b"},
		{map[string]time.Duration{"b": time.Hour}, []string{"a"}, "c"},
		{map[string]time.Duration{"b": 0}, []string{"a", "b"}, "c"},
	} {
		putHosts(t, w, c.ages)
		in.Without = c.without
		plan, err := as(t, target.PlanFailover, in)
		check(t, err)
		if got := plan.Workspaces[1].Host; got != c.want || plan.Workspaces[0].Serving == nil || plan.Workspaces[0].Host != "a" {
			t.Errorf("without %v, ages %v: side is to be on %s, want %s; main %+v", c.without, c.ages, got, c.want, plan.Workspaces[0])
		}
	}
	in.Without = []string{"a", "b", "c"}
	if _, err := as(t, target.PlanFailover, in); err == nil || !strings.Contains(err.Error(), "no host") {
		t.Errorf("without any host: %v", err)
	}
}

func TestTheFirstWorkspaceThatIsPublishedMakesTheRegionServe(t *testing.T) {
	w := newWorld(t)
	target, s, o := attachedServer(t, w)
	target.Host = "a"
	stale := topology.Site{Kind: topology.Managed, Instance: "/long/past", Source: topology.Source{ConnString: "host=/s"}}
	w.update(t, func(g *topology.Group) {
		g.Workspaces = append(g.Workspaces, topology.Workspace{Name: "side", Sites: map[string]topology.Site{"west": stale}})
	})
	lineage := topology.Lineage{ID: o.Plan.Lineage, Epoch: 2, Region: "west", SystemID: "1", SegmentSize: 16 << 20}
	place := Place{Instance: s.InstanceDir(), DataDir: s.DataDir, Port: s.Port, Endpoint: endpointOf("a", s.Port)}
	in := PublishEndpointInput{Group: "prod", To: "west", Operation: "op", Epoch: 2,
		Workspaces: []Attached{{Workspace: "main", Place: place, Lineage: lineage, Source: s.Source("postgres")}}}
	for range 2 { // another attempt changes nothing more
		g, err := as(t, target.PublishEndpoint, in)
		check(t, err)
		_, sideThere := g.Workspace("side").Sites["west"]
		if site := g.Workspace("main").Sites["west"]; g.Active != "west" || g.Epoch != 2 || site.Host != "a" || site.Instance != s.InstanceDir() || sideThere {
			t.Fatalf("published %+v", g)
		}
	}
	other := in
	other.Workspaces = []Attached{in.Workspaces[0]}
	other.Workspaces[0].Lineage.ID = "0002-cccccccc"
	if _, err := as(t, target.PublishEndpoint, other); err == nil || !strings.Contains(err.Error(), "instead") {
		t.Errorf("a second server of the workspace: %v", err)
	}
}

// A host that was taken for lost and comes back late publishes nothing.
func TestAHostThatWasReplacedPublishesNothing(t *testing.T) {
	w := newWorld(t)
	target, s, o := attachedServer(t, w)
	fixPlan(t, w) // for lineage 0002-aaaaaaaa
	in := PublishEndpointInput{Group: "prod", To: "west", Operation: "op", Epoch: 2,
		Workspaces: []Attached{{Workspace: "main", Place: Place{Instance: s.InstanceDir()}, Lineage: topology.Lineage{ID: o.Plan.Lineage, Epoch: 2}}}}
	if _, err := as(t, target.PublishEndpoint, in); err == nil || !strings.Contains(err.Error(), `on host "a" instead`) {
		t.Errorf("published: %v", err)
	}
	loaded, err := w.Catalog.Load(t.Context(), "prod")
	if err != nil || loaded.Group.Active != "east" {
		t.Errorf("%s is active, %v", loaded.Group.Active, err)
	}
}

func TestWhatCanBeResumed(t *testing.T) {
	at := time.Unix(10_000, 0)
	op := func(state topology.OperationState, epoch topology.Epoch, silent time.Duration) topology.Operation {
		return topology.Operation{ID: "op", Group: "prod", State: state, Epoch: epoch, RecordedAt: at.Add(-silent)}
	}
	for name, c := range map[string]struct {
		op   topology.Operation
		kind fault.Kind // "": it can
	}{
		"failed":                {op(topology.OperationFailed, 2, 0), ""},
		"abandoned":             {op(topology.OperationActive, 2, 2*time.Minute), ""},
		"abandoned at a claim":  {op(topology.OperationActive, 0, 2*time.Minute), ""},
		"running":               {op(topology.OperationActive, 2, time.Second), fault.Taken},
		"completed":             {op(topology.OperationCompleted, 2, 0), fault.Invalid},
		"failed before a claim": {op(topology.OperationFailed, 0, 0), fault.Invalid},
		"superseded":            {op(topology.OperationFailed, 1, 0), fault.Fenced},
	} {
		err := resumable(c.op, 2, at)
		if (err == nil) != (c.kind == "") || err != nil && fault.KindOf(err) != c.kind {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A switchover that has claimed is gone on with as a failover is; one that went back never was.
func TestWhichOperationIsGoneOnWith(t *testing.T) {
	in := FindFailoverInput{Kind: "Failover", Moves: []string{"Switchover", "Failback"}}
	op := func(id, kind string, epoch topology.Epoch) topology.Operation {
		return topology.Operation{ID: id, Kind: kind, Epoch: epoch, State: topology.OperationFailed}
	}
	abandoned := op("abandoned", "Failover", 0)
	abandoned.State = topology.OperationActive
	for want, all := range map[string][]topology.Operation{
		"move":      {op("reverted", "Switchover", 0), op("refused", "Failover", 0), op("move", "Failback", 3), op("failover", "Failover", 2)},
		"failover":  {op("failover", "Failover", 4), op("move", "Switchover", 3)},
		"abandoned": {op("reverted", "Switchover", 0), abandoned, op("move", "Switchover", 3)},
		"refused":   {op("reverted", "Switchover", 0), op("refused", "Failover", 0)},
		"":          {op("reverted", "Switchover", 0), op("standby", "Preprovision", 3)},
	} {
		got := ""
		if at := lastClaim(all, in); at >= 0 {
			got = all[at].ID
		}
		if got != want {
			t.Errorf("%q is gone on with instead of %q", got, want)
		}
	}
}

func TestAPlanThatLacksWorkspaces(t *testing.T) {
	lost := fault.Newf(fault.Missing, "plan", "never in sync").WithHint("wait")
	two := FailoverPlan{Workspaces: make([]WorkspacePlan, 2)}
	for name, c := range map[string]struct {
		plan   FailoverPlan
		lost   []error
		partly bool
		says   string
	}{
		"all there":        {two, nil, false, ""},
		"one lost":         {two, []error{lost}, false, "never in sync"},
		"one lost, forced": {two, []error{lost}, true, ""},
		"all lost, forced": {two, []error{lost, lost}, true, "never in sync"},
		"nothing":          {FailoverPlan{}, nil, true, "no workspace"},
	} {
		err := unplanned(c.plan, c.lost, c.partly)
		if (err == nil) != (c.says == "") || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if hint := fault.HintOf(unplanned(two, []error{lost}, false)); !strings.Contains(hint, "--force") {
		t.Errorf("hint %q", hint)
	}
}

// Branches that fill the hosts of a region keep nobody from failing over to it.
func TestWhatIsToServeFindsAPlaceBesideBranches(t *testing.T) {
	w := newWorld(t)
	size := topology.Size{MemoryBytes: 4 << 30, CPUs: 1}
	host := topology.Host{Name: "a", Region: "west", AnnouncedAt: time.Now(), DiskBytes: 1 << 40, MemoryBytes: 6 << 30, CPUs: 2}
	host.Placed = []topology.Placed{{Group: "prod", Workspace: "main", Branch: "look", Size: size}}
	check(t, w.Catalog.PutHost(t.Context(), host))
	target := &Target{Site: w.Site}
	plan := FailoverPlan{To: "west", Workspaces: []WorkspacePlan{{Workspace: "main", Need: Need{Size: size}}}}
	check(t, target.placeAll(t.Context(), PlanFailoverInput{Group: "prod", To: "west"}, &plan))
	if got := plan.Workspaces[0]; got.Host != "a" || len(got.Notes) != 1 || !strings.Contains(got.Notes[0], "prod/look") {
		t.Errorf("it was placed on %q, with notes %q", got.Host, got.Notes)
	}
	plan.Workspaces[0].Need.Size.MemoryBytes = 8 << 30
	if err := target.placeAll(t.Context(), PlanFailoverInput{Group: "prod", To: "west"}, &plan); !fault.Is(err, fault.Invalid) {
		t.Errorf("one that is larger than the host: %v", err)
	}
}
