package catalog

import (
	"testing"
	"time"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

const leftLineage, newLineage = "0001-0a0b0c0d", "0002-0a0b0c0d"

// takenOver returns a world whose group has gone over to west and left a lineage in east.
func takenOver(t *testing.T) (*world, topology.Group) {
	t.Helper()
	w := configured(t)
	u := must(w.Update(t.Context(), "prod", func(g *topology.Group) error {
		ws := g.Workspace("main")
		ws.Lineages = []topology.Lineage{{ID: leftLineage, Epoch: 1, Region: "east"}, {ID: newLineage, Epoch: 2, Region: "west", Parent: &topology.Fork{Lineage: leftLineage}}}
		ws.Lineage, g.Epoch, g.Active = newLineage, 2, "west"
		return nil
	}))(t)
	return w, u.Group
}

func tailAt(l wal.LSN) topology.Tail {
	return topology.Tail{Workspace: "main", Lineage: leftLineage, At: wal.Position{Timeline: 1, LSN: l}, SeenAt: time.Unix(int64(l), 0).UTC()}
}

func TestTails(t *testing.T) {
	w, g := takenOver(t)
	ctx := t.Context()
	_, err := w.Tail(ctx, "prod", "main", leftLineage)
	wantKind(t, err, fault.Missing)
	if all := must(w.Tails(ctx, &g, "main"))(t); len(all) != 1 || all[0].Lineage != leftLineage || all[0].Complete {
		t.Errorf("before anything was said: %+v", all)
	}

	must(0, w.PutTail(ctx, "prod", tailAt(300)))(t)
	revive := w.kill("east")
	must(0, w.PutTail(ctx, "prod", tailAt(500)))(t)
	revive()
	must(0, w.process().PutTail(ctx, "prod", tailAt(400)))(t) // somebody who was slower
	if got := must(w.Tail(ctx, "prod", "main", leftLineage))(t); got.At.LSN != 500 || got.Format != format {
		t.Errorf("the tail is %+v", got)
	}

	whole := tailAt(600)
	whole.Complete = true
	must(0, w.PutTail(ctx, "prod", whole))(t)
	late := tailAt(550)
	late.Error = "the server does not answer"
	must(0, w.process().PutTail(ctx, "prod", late))(t)
	s := must(w.Status(ctx, "prod", time.Now()))(t)
	if got := s.Workspaces[0].Tails; len(got) != 1 || !got[0].Complete || got[0].At.LSN != 600 || got[0].Error != "" {
		t.Errorf("the status shows %+v", got)
	}

	w.kill("east")
	w.kill("west")
	if all := must(w.Tails(ctx, &g, "main"))(t); !all[0].Complete {
		t.Errorf("what is complete was asked for again: %+v", all)
	}
	_, err = w.process().Tails(ctx, &g, "main")
	wantKind(t, err, fault.Transient)
}

func TestATailOfNoLineageIsRefused(t *testing.T) {
	w, _ := takenOver(t)
	bad := tailAt(300)
	bad.Lineage = "../main"
	if err := w.PutTail(t.Context(), "prod", bad); err == nil {
		t.Error("it was taken")
	}
}
