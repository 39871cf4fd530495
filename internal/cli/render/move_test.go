package render

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/smartdr/smartdr/internal/api"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
	"github.com/smartdr/smartdr/workflows"
)

var noon = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func holds(t *testing.T, text string, wants ...string) {
	t.Helper()
	for _, want := range wants {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in:\n%s", want, text)
		}
	}
}

// movedStatus is of a group that has failed over to west, with a standby in east, a fenced old primary and its tail.
func movedStatus() topology.GroupStatus {
	return topology.GroupStatus{
		Group: topology.Group{
			Name: "prod", Primary: "east", Secondary: "west", Active: "west", Epoch: 2, SmartDR: true, Replication: &topology.Replication{},
			Workspaces: []topology.Workspace{{
				Name: "main", Lineage: "0002-b", Sites: map[string]topology.Site{"west": {Kind: topology.Managed}},
				Standbys: map[string]topology.Standby{"east": {ID: "s1", Host: "e1"}},
			}},
		},
		Protection: &topology.Protection{Protected: true, Region: "east", Epoch: 2, Since: noon.Add(-time.Hour)},
		Workspaces: []topology.WorkspaceStatus{{
			Workspace: "main",
			Fences:    []topology.Fence{{Workspace: "main", Lineage: "0001-a", Region: "east", Epoch: 1, State: topology.FenceCommitted, Worth: topology.FenceProven}},
			Tails: []topology.Tail{{
				Workspace: "main", Lineage: "0001-a", Fork: wal.Position{Timeline: 1, LSN: 0x3000000}, At: wal.Position{Timeline: 1, LSN: 0x300C000}, Commits: 12, Complete: true,
			}},
			Standby: &topology.StandbyProgress{ID: "s1", Lineage: "0002-b", Phase: "following", Replayed: 0x3000500, LagSeconds: 0.4, MeasuredAt: noon.Add(-2 * time.Second)},
		}},
	}
}

func TestStatusOfAGroupThatMoved(t *testing.T) {
	s := movedStatus()
	holds(t, Status(s, noon, Style{}),
		"Protected by east since 2026-11-23 11:00:00 UTC",
		"Workspace main: the server in east that wrote lineage 0001-a is fenced (proven); its tail: 12 transactions, 48.0 KiB, complete",
		"Standby of main in east on e1 follows, 0.4 s behind its bucket at 0/3000500, measured 2.0 s ago",
	)
	s.Group.SelfFenceAfter = 120
	holds(t, Status(s, noon, Style{}), "west fences itself when it reaches neither east nor Temporal for 2 m 00 s")
	holds(t, Group(s.Group, Style{}), "Self-fence after 2 m 00 s")
	w := &s.Workspaces[0]
	w.Fences[0].Worth, w.Fences[0].Reason = topology.FenceNone, "east does not answer"
	w.Tails[0].Complete, w.Tails[0].Commits, w.Tails[0].Error = false, 1, "nobody is there"
	w.Standby.Error = "no room"
	s.Protection = &topology.Protection{Region: "east", Epoch: 2, Since: noon.Add(-90 * time.Second), Reason: "no snapshot is in its bucket"}
	holds(t, Status(s, noon, Style{}),
		"Not protected for 1 m 30 s: no snapshot is in its bucket",
		"could not be fenced: it may still take writes, which nobody follows: east does not answer; its tail: 1 transaction, 48.0 KiB so far, not complete: nobody is there",
		"Standby of main in east on e1 stands still: no room",
	)
	s.Protection.Epoch, w.Fences, w.Standby = 1, nil, nil
	holds(t, Status(s, noon, Style{}), "Whether epoch 2 is protected was not looked at yet", "lineage 0001-a was left; its tail: 1 transaction", "e1 has not said how far it is")
	s.Group.Preprovision, s.Group.Workspaces[0].Standbys = &topology.Preprovision{}, nil
	holds(t, Status(s, noon, Style{}), "Standby of main in east is being made")
}

// After many moves only the newest of the servers that were left is named, and those that somebody has to look after.
func TestStatusOfAGroupThatMovedOftenIsShort(t *testing.T) {
	s := movedStatus()
	w := &s.Workspaces[0]
	for n := range 5 {
		lineage := fmt.Sprintf("0000-%d", n)
		w.Fences = append(w.Fences, topology.Fence{Workspace: "main", Lineage: lineage, Region: "west", State: topology.FenceCommitted, Worth: topology.FenceProven})
		w.Tails = append(w.Tails, topology.Tail{Workspace: "main", Lineage: lineage, Complete: n != 3})
	}
	text := Status(s, noon, Style{})
	holds(t, text, "that wrote lineage 0001-a is fenced", "that wrote lineage 0000-3 is fenced (proven); its tail: 0 transactions", "Workspace main: of 4 that were left before, nothing is to be done")
	if strings.Contains(text, "0000-2") {
		t.Errorf("it names what needs nobody:\n%s", text)
	}
}

func TestWhatFencesAreWorth(t *testing.T) {
	for want, f := range map[string]topology.Fence{
		"is fenced (best effort): superusers get in":                       {Worth: topology.FenceBestEffort, Reason: "superusers get in", State: topology.FenceCommitted},
		"fenced itself (proven)":                                           {Worth: topology.FenceProven, Self: true, State: topology.FenceCommitted},
		"is fenced (proven) for as long as the operation needs it":         {Worth: topology.FenceProven, State: topology.FenceHolding},
		"is fenced no more":                                                {Worth: topology.FenceProven, State: topology.FenceLifted},
		"could not be fenced: it may still take writes, which nobody foll": {Worth: topology.FenceNone, State: topology.FenceCommitted},
	} {
		if got, _ := fenceText(f); !strings.HasPrefix(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if got := tailText(topology.Tail{Complete: true}); got != "it wrote nothing that is missing elsewhere" {
		t.Error(got)
	}
}

func TestAccountOfASwitchover(t *testing.T) {
	op := topology.Operation{
		ID: "1", Kind: workflows.SwitchoverType, Group: "prod", From: "east", To: "west", State: topology.OperationCompleted, Epoch: 2, StartedAt: noon, EndedAt: noon.Add(time.Minute),
		Gap:        &topology.Gap{From: noon.Add(50 * time.Second), To: noon.Add(52300 * time.Millisecond), Most: 30 * time.Second},
		Fences:     []topology.Fence{{Workspace: "main", Region: "east", Worth: topology.FenceProven, State: topology.FenceCommitted, End: wal.Position{Timeline: 1, LSN: 0x3000148}}},
		Workspaces: []topology.Recovered{{Workspace: "main", Serves: true, Moved: &topology.Moved{Bytes: 10 << 30, Fetched: 20 << 20, Reused: 10<<30 - 20<<20}}},
	}
	holds(t, Operation(op, noon, Style{}),
		"Nobody could write for 2.3 s, of at most 30 s", "The server of main in east is fenced (proven); the last of it is at 0/3000148",
		"moved        10.0 GiB, of which 20.0 MiB came from the bucket and 10.0 GiB were on the host already")
	op.State, op.Gap.To = topology.OperationActive, time.Time{}
	holds(t, Operation(op, noon.Add(53*time.Second), Style{}), "Nobody has been able to write for 3.0 s, of at most 30 s")
}

func TestSwitchoverAndItsCost(t *testing.T) {
	p := api.SwitchoverPreview{
		Group: "prod", Kind: "Failback", From: "west", To: "east", MaxGap: 30 * time.Second,
		Workspaces: []api.SwitchoverWorkspace{
			{Workspace: "main", Kind: topology.Managed, Bytes: 3 << 30, LagSeconds: 0.3, LagBytes: 100, MeasuredAt: noon.Add(-time.Second), Endpoint: &topology.Endpoint{Hosts: []topology.HostPort{{Host: "e1", Port: 6000}}}},
			{Workspace: "side", Kind: topology.Managed, Standby: true},
		},
		Steps: []string{"first this", "then that"}, Warnings: []string{"mind the gap"},
	}
	holds(t, Switchover(p, noon, Style{}), "Failback of prod  west → east  without losing anything", "3.0 GiB", "0.3 s, 100 B", "e1:6000", "not known yet (follows already)", "1. first this", "2. then that", "mind the gap")
	pp := api.PreprovisionPreview{
		Group: "prod", Region: "west", Total: topology.Size{MemoryBytes: 16 << 30, CPUs: 4}, DiskBytes: 100 << 30, Unpriced: "no price is known",
		Workspaces: []api.StandbyCost{{Workspace: "main", Size: topology.Size{Name: "S-1", MemoryBytes: 16 << 30, CPUs: 4}, DiskBytes: 100 << 30}, {Workspace: "side"}},
	}
	holds(t, Preprovision(pp, Style{}), "They take 16.0 GiB of memory, 4 CPUs and 100.0 GiB of disk.", "not said", "no price is known")
	pp.Month, pp.Currency, pp.Since = new(130.5), "EUR", noon
	holds(t, Preprovision(pp, Style{}), "130.50 EUR in a month", "since 2026-11-23 12:00:00 UTC")
}

func TestHooksThatWereTried(t *testing.T) {
	text := Hooks(api.TestedHooks{Deliveries: []workflows.Delivery{
		{Hook: "dns", Delivered: true, Answer: "exit code 0", Seconds: 0.2, Host: "e1"}, {Hook: "people", Error: "the answer is 404 Not Found", Hint: "See its log."},
	}}, Style{})
	holds(t, text, "✓", "dns", "exit code 0", "e1", "✗", "people", "404 Not Found; See its log.")
}

func TestGroupShowsPlacesThatAreKept(t *testing.T) {
	g := movedStatus().Group
	g.Workspaces[0].Reservations = map[string]topology.Reservation{
		"east": {Host: "e1", Endpoint: topology.Endpoint{Hosts: []topology.HostPort{{Host: "e1.example.com", Port: 6001}}}},
	}
	holds(t, Group(g, Style{}), "main       east    -        kept", "e1    e1.example.com:6001", "Self-fence off")
}
