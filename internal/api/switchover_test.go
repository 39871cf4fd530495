package api

import (
	"strings"
	"testing"
	"time"

	"github.com/smartdr/smartdr/internal/topology"
)

// Whoever moves a group with force is told what is given up by it, before he agrees.
func TestForceSaysWhatItGivesUp(t *testing.T) {
	g := topology.Group{Name: "prod", Primary: "east", Secondary: "west", Active: "west", Epoch: 2, Workspaces: []topology.Workspace{{Name: "main", Lineage: "0002-b", Lineages: []topology.Lineage{
		{ID: "0001-a", Epoch: 1, Region: "east"}, {ID: "0002-b", Epoch: 2, Region: "west", Parent: &topology.Fork{Lineage: "0001-a"}},
	}}}}
	for name, c := range map[string]struct {
		tail  topology.Tail
		force bool
		says  string
	}{
		"without force": {topology.Tail{Lineage: "0001-a"}, false, ""},
		"not home":      {topology.Tail{Lineage: "0001-a", Error: "its server does not answer"}, true, "--force gives up what workspace main's old server in east wrote"},
		"home":          {topology.Tail{Lineage: "0001-a", Complete: true}, true, "--force gives up nothing"},
	} {
		st := topology.GroupStatus{Group: g, Workspaces: []topology.WorkspaceStatus{{Workspace: "main", Tails: []topology.Tail{c.tail}}}}
		said := strings.Join(previewSwitchover(st, SwitchoverRequest{Group: "prod", Home: true, Force: c.force}, "east", time.Minute).Warnings, "\n")
		if strings.Contains(said, "--force") != c.force || !strings.Contains(said, c.says) {
			t.Errorf("%s: %q", name, said)
		}
	}
}
