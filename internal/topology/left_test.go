package topology

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/smartdr/smartdr/internal/wal"
)

func pos(t wal.Timeline, l wal.LSN) wal.Position { return wal.Position{Timeline: t, LSN: l} }

func fork(of string, t wal.Timeline, l wal.LSN) *Fork { return &Fork{Lineage: of, At: pos(t, l)} }

func TestLeftLineages(t *testing.T) {
	g := Group{Epoch: 3, Workspaces: []Workspace{
		{Name: "main", Lineage: "d", Lineages: []Lineage{
			{ID: "a", Epoch: 1, Start: pos(1, 100)},
			{ID: "b", Epoch: 1, Start: pos(1, 900)}, // after a hole
			{ID: "c", Epoch: 2, Start: pos(2, 1000), Parent: fork("b", 1, 1500)},
			{ID: "d", Epoch: 3, Start: pos(3, 2000), Parent: fork("c", 2, 2500)},
		}},
		// Nothing goes on from b: the other side's bucket had nothing of it yet.
		{Name: "behind", Lineage: "c", Lineages: []Lineage{
			{ID: "a", Epoch: 1, Start: pos(1, 100)}, {ID: "b", Epoch: 1, Start: pos(1, 900)},
			{ID: "c", Epoch: 3, Start: pos(2, 300), Parent: fork("a", 1, 350)},
		}},
		{Name: "failed", Lineage: "a", Lineages: []Lineage{{ID: "a", Epoch: 1}}}, // not brought up yet
		{Name: "new"},
	}}
	got := map[string]wal.Position{}
	for _, l := range g.LeftLineages() {
		got[l.Workspace+"/"+l.Lineage.ID] = l.Fork
	}
	want := map[string]wal.Position{"main/b": pos(1, 1500), "main/c": pos(2, 2500), "behind/b": pos(1, 900)}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if _, left := g.FindLeft("main", "d"); left {
		t.Error("the lineage that is written now counts as left")
	}
}

func TestATailTakesNothingBack(t *testing.T) {
	before := Tail{Lineage: "a", At: pos(1, 500), Region: "east", From: "files", Commits: 7, Complete: true}
	now := Tail{Lineage: "a", At: pos(1, 300), Region: "west", From: "server", Error: "no answer"}
	want := Tail{Lineage: "a", At: pos(1, 500), Region: "east", From: "files", Commits: 7, Complete: true}
	if diff := cmp.Diff(want, now.NotBehind(before)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(now, now.NotBehind(Tail{Lineage: "b", At: pos(1, 900), Complete: true})); diff != "" {
		t.Errorf("another lineage's: %s", diff)
	}
}
