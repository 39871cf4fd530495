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
