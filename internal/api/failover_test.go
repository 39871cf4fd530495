package api

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
)

func TestAGroupThatHasNotComeBackIsNotFailedOverAgain(t *testing.T) {
	site := map[string]topology.Site{"west": {Kind: topology.Managed}}
	g := topology.Group{Name: "prod", Active: "west", Workspaces: []topology.Workspace{
		{Name: "main", Sites: site}, {Name: "over", State: topology.WorkspaceTerminated}, {Name: "new", State: topology.WorkspacePending},
	}}
	if err := cameBack(g); err != nil {
		t.Errorf("all that can come back is back: %v", err)
	}
	g.Workspaces = append(g.Workspaces, topology.Workspace{Name: "side"})
	err := cameBack(g)
	if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "side") || !strings.Contains(fault.HintOf(err), "--resume") {
		t.Errorf("got %v, %q", err, fault.HintOf(err))
	}
}

func TestEachPhaseHasItsOwnPercents(t *testing.T) {
	ended := time.Unix(1, 0)
	op := topology.Operation{Phases: []topology.Phase{
		{Name: "Restore snapshot", Workspace: "main"}, {Name: "Restore snapshot", Workspace: "side"},
		{Name: "Fetch WAL", Workspace: "third"}, {Name: "Restore snapshot", Workspace: "third", EndedAt: ended}, {Name: "Attach", Workspace: "fourth"},
	}}
	got := map[string]string{}
	for key, p := range openMovers(&op) {
		got[key] = p.Workspace
	}
	want := map[string]string{"RestoreSnapshot main": "main", "RestoreSnapshot side": "side", "FetchWAL third": "third"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestAForcedFailoverLeavesBehindWhatCannotBeBroughtBack(t *testing.T) {
	p := FailoverPreview{Problem: "side was never replicated", Workspaces: []WorkspacePreview{{Workspace: "main", Ready: true}, {Workspace: "side"}}}
	if err := p.Refusal(false); !fault.Is(err, fault.Missing) {
		t.Errorf("without force: %v", err)
	}
	if err := p.Refusal(true); err != nil {
		t.Errorf("with force: %v", err)
	}
	p.Workspaces = p.Workspaces[1:]
	if err := p.Refusal(true); !fault.Is(err, fault.Missing) {
		t.Errorf("with nothing to bring back: %v", err)
	}
}

// What was brought up a moment ago has had no time to announce anything: silence is no sign that it is lost.
func TestAServerThatWasJustBroughtUpIsAlive(t *testing.T) {
	began := time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)
	w := topology.Workspace{Name: "main", Lineage: "0002-00000002", Lineages: []topology.Lineage{
		{ID: "0001-00000001", Region: "east", CreatedAt: began.Add(-time.Hour)},
		{ID: "0002-00000002", Region: "west", CreatedAt: began, Parent: &topology.Fork{Lineage: "0001-00000001"}},
	}}
	s := topology.GroupStatus{Group: topology.Group{Name: "prod", Active: "west", Workspaces: []topology.Workspace{w}}}
	for after, want := range map[time.Duration]bool{0: true, 59 * time.Second: true, time.Minute: false, time.Hour: false} {
		if got, why := alive(s, began.Add(after)); got != want || why == "" {
			t.Errorf("%s after it began to serve: %t, since %q; want %t", after, got, why, want)
		}
	}
	s.Silent = map[string]string{"west": "no answer"}
	if got, why := alive(s, began); got {
		t.Errorf("its bucket is silent, and it is alive: %s", why)
	}
	s.Silent["west"] = `find bucket: region "west" is not in the configuration`
	if got, why := alive(s, began); !got {
		t.Errorf("nobody asked its bucket, and it is lost: %s", why)
	}
}
