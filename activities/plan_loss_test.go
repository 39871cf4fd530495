package activities

import (
	"strings"
	"testing"
	"time"

	"github.com/smartdr/smartdr/internal/catalog"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

func TestWhatIsAcceptedToBeLost(t *testing.T) {
	at := time.Unix(10_000, 0)
	plan := func(l *topology.Loss, complete time.Duration) FailoverPlan {
		return FailoverPlan{From: "east", To: "west", Workspaces: []WorkspacePlan{
			{Workspace: "left", Error: "never in sync"},
			{Workspace: "main", Loss: l, Point: topology.RecoveryPoint{AsOf: at.Add(-complete)}},
		}}
	}
	some := &topology.Loss{Seconds: 3, Bytes: 500, Transactions: 7, Databases: map[string]int64{"app": 6, "b": 1}}
	silent := *some
	silent.AtLeast = true
	for name, c := range map[string]struct {
		plan  FailoverPlan
		limit string
		force bool
		says  string // "": accepted
	}{
		"no limit":                       {plan(nil, time.Hour), "", false, ""},
		"within":                         {plan(some, 5*time.Second), "3s", false, ""},
		"beyond":                         {plan(some, 5*time.Second), "2s", true, "would lose 3.0 s, 500 bytes of WAL with 7 transactions (app 6, b 1); accepted is 2s"},
		"beyond in bytes":                {plan(some, 5*time.Second), "499B", true, "accepted is 499 bytes of WAL"},
		"nothing is known":               {plan(nil, time.Second), "1h", true, "unknown amount"},
		"silent, and cannot be more":     {plan(&silent, 20*time.Second), "20s", false, ""},
		"silent, and may be more":        {plan(&silent, 21*time.Second), "20s", false, "at least 3.0 s"},
		"silent, by what is known":       {plan(&silent, time.Hour), "20s", true, ""},
		"silent, and known to be more":   {plan(&silent, time.Hour), "2s", true, "would lose at least 3.0 s"},
		"silent, may be more bytes":      {plan(&silent, time.Second), "1GB", false, "is not known"},
		"no loss at all, with a quiet 1": {plan(&topology.Loss{}, time.Hour), "0", false, ""},
	} {
		limit, err := topology.ParseLossLimit(c.limit)
		check(t, err)
		err = acceptable(c.plan, limit, c.force, at)
		if (err == nil) != (c.says == "") || err != nil && (!strings.Contains(err.Error(), c.says) || !fault.Is(err, fault.Invalid)) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestASideThatIsNotInSyncIsRefused(t *testing.T) {
	older := []WorkspacePlan{{Workspace: "main", Behind: "it lacks lineage 0002", Loss: &topology.Loss{Seconds: 60, Bytes: 9}}}
	for name, c := range map[string]struct {
		authority string
		silent    bool
		plans     []WorkspacePlan
		force     bool
		says      string
	}{
		"in sync":                   {"west", false, []WorkspacePlan{{Workspace: "main"}}, false, ""},
		"older":                     {"west", false, older, false, "would lose 60.0 s"},
		"older, forced":             {"west", false, older, true, ""},
		"decided there":             {"east", false, older, true, `the bucket of "east" still decides`},
		"decided there, and silent": {"east", true, older, true, "does not answer"},
	} {
		g := topology.Group{Name: "prod", Active: "east", Primary: "west", Secondary: "east", Authority: c.authority}
		loaded := catalog.Loaded{Group: g, Silent: map[string]string{}}
		if c.silent {
			loaded.Silent["east"] = "refused"
		}
		err := inSync(loaded, FailoverPlan{To: "west", Workspaces: c.plans}, c.force)
		if (err == nil) != (c.says == "") || err != nil && (!strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), "not in sync") || fault.HintOf(err) == "") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// lines are lineages A, then B and C that forked off A and B, and D after a hole in C.
func lines() topology.Workspace {
	fork := func(of string, at wal.LSN) *topology.Fork {
		return &topology.Fork{Lineage: of, At: wal.Position{Timeline: 1, LSN: at}}
	}
	l := func(id string, start wal.LSN, f *topology.Fork) topology.Lineage {
		return topology.Lineage{ID: id, Start: wal.Position{Timeline: 1, LSN: start}, SegmentSize: 16, Parent: f}
	}
	return topology.Workspace{Name: "main", Lineage: "C", Lineages: []topology.Lineage{
		l("A", 0, nil), l("X", 96, fork("A", 100)), l("B", 64, fork("A", 70)), l("C", 192, fork("B", 200)),
	}}
}

// A newer lineage of which nothing is there is passed over for the ones that it continues, each up to where it was left; one that
// nobody follows any more is none of them.
func TestOlderLineages(t *testing.T) {
	p := &planner{workspace: lines()}
	var got []string
	for l := p.newest(); l != nil; l = p.older(*l) {
		got = append(got, l.ID+" "+p.left.LSN.String())
	}
	if want := "C 0/0, B 0/C8, A 0/46"; strings.Join(got, ", ") != want {
		t.Errorf("got %v, want %s", got, want)
	}
}

func TestWhereTwoWaysPart(t *testing.T) {
	p := &planner{workspace: lines()}
	current := *p.workspace.CurrentLineage()
	for last, c := range map[string]struct{ at, want wal.LSN }{
		"C": {300, 300}, "B": {150, 150}, "A": {90, 70},
	} {
		plan := WorkspacePlan{Legs: []Leg{{Lineage: *p.workspace.FindLineage(last)}}, Point: topology.RecoveryPoint{At: wal.Position{LSN: c.at}}}
		if got := p.parted(plan, current); got != c.want {
			t.Errorf("%s at %d parts at %d, want %d", last, c.at, got, c.want)
		}
	}
	legs := p.behindLegs(current, 80, 250)
	if len(legs) != 2 || legs[0].Lineage.ID != "B" || legs[0].From.LSN != 80 || legs[0].To != 200 || legs[1].From.LSN != 192 || legs[1].To != 250 {
		t.Errorf("what lies behind 80 is on %+v", legs)
	}
}

func TestStandbyThatIsOfUse(t *testing.T) {
	s := topology.Standby{ID: "x", Host: "a", Instance: "/s-x", Lineage: "B"}
	follows := []Leg{{Lineage: topology.Lineage{ID: "B"}}}
	for name, c := range map[string]struct {
		s      topology.Standby
		legs   []Leg
		choice topology.Choice
		behind string
		host   string
		want   bool
	}{
		"it follows":           {s, follows, topology.Choice{}, "", "a", true},
		"another line":         {s, nil, topology.Choice{}, "", "a", false},
		"to an earlier point":  {s, follows, topology.Choice{Time: time.Unix(1, 0)}, "", "a", false},
		"what is there is old": {s, follows, topology.Choice{}, "lacks", "a", false},
		"its host is away":     {s, follows, topology.Choice{}, "", "b", false},
		"not made yet":         {topology.Standby{ID: "x", Lineage: "B"}, follows, topology.Choice{}, "", "", false},
	} {
		w := WorkspacePlan{Legs: c.legs, Behind: c.behind}
		w.promote(c.s, c.choice)
		w.on(c.host)
		if (w.Standby != nil) != c.want || w.Host != c.host {
			t.Errorf("%s: %+v on %s", name, w.Standby, w.Host)
		}
	}
}
