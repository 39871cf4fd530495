package activities

import (
	"errors"
	"testing"

	"go.temporal.io/sdk/temporal"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

const servedBefore, servesNow = "0001-0a0b0c0d", "0002-0a0b0c0d"

// leave lets group prod serve in west under epoch 2, after east.
func (w *world) leave(t *testing.T, east topology.Site) topology.Group {
	t.Helper()
	w.update(t, func(g *topology.Group) {
		ws := g.Workspace("main")
		ws.Lineages = []topology.Lineage{
			{ID: servedBefore, Epoch: 1, Region: "east", SystemID: "7", SegmentSize: wal.DefaultSegmentSize, Start: wal.Position{Timeline: 1, LSN: 16 << 20}},
			{ID: servesNow, Epoch: 2, Region: "west", Parent: &topology.Fork{Lineage: servedBefore, At: wal.Position{Timeline: 1, LSN: 20 << 20}}},
		}
		ws.Lineage, ws.Sites["east"], g.Epoch, g.Active = servesNow, east, 2, "west"
	})
	loaded, err := w.Catalog.Load(t.Context(), "prod")
	check(t, err)
	return loaded.Group
}

var adoptedEast = topology.Site{Kind: topology.Adopted, Source: topology.Source{ConnString: "postgres://dr@db/postgres"}}

func TestOpenTails(t *testing.T) {
	w := newWorld(t)
	control := &Control{Site: w.Site}
	list := func() []OpenTail {
		t.Helper()
		r, err := as(t, control.ListTails, ListTailsInput{Group: "prod"})
		check(t, err)
		return r.Tails
	}
	if open := list(); len(open) != 0 {
		t.Errorf("nothing was left, and %+v is open", open)
	}
	w.leave(t, topology.Site{Kind: topology.Managed, Host: "h1", Instance: "/srv/e1"})
	if open := list(); len(open) != 1 || open[0].Region != "east" || open[0].Host != "h1" || open[0].Tail.Lineage != servedBefore {
		t.Errorf("open is %+v", open)
	}
	check(t, w.Catalog.PutTail(t.Context(), "prod", topology.Tail{Workspace: "main", Lineage: servedBefore, Complete: true}))
	if open := list(); len(open) != 0 {
		t.Errorf("all is home, and %+v is open", open)
	}
}

// The server that wrote a lineage is found by the group's document, then by its fence, then by the host that has its folder.
func TestTheServerOfALineageThatWasLeft(t *testing.T) {
	w := newWorld(t)
	g := w.leave(t, adoptedEast)
	left, _ := g.FindLeft("main", servedBefore)
	find := func() topology.Site {
		t.Helper()
		s, err := w.leftServer(t.Context(), g, left)
		check(t, err)
		return s.site
	}
	if s := find(); s.Source != adoptedEast.Source {
		t.Errorf("by the group's document: %+v", s)
	}
	ws := g.Workspace("main")
	ws.Lineages = append(ws.Lineages, topology.Lineage{ID: "0003-0a0b0c0d", Epoch: 3, Region: "east"})
	ws.Sites["east"] = topology.Site{Kind: topology.Managed, Host: "h2", Instance: "/srv/e3"} // another one since
	if s := find(); s.Kind != "" {
		t.Errorf("the server that serves now was taken for the old one: %+v", s)
	}
	check(t, w.Catalog.PutHost(t.Context(), topology.Host{Region: "east", Name: "h1", Placed: []topology.Placed{{Group: "prod", Workspace: "main", Epoch: 1}}}))
	if s := find(); s.Host != "h1" || s.Kind != topology.Managed {
		t.Errorf("by its folder: %+v", s)
	}
	_, err := w.Catalog.PutFence(t.Context(), topology.Fence{Group: "prod", Workspace: "main", Lineage: servedBefore, Region: "east", Epoch: 1,
		State: topology.FenceCommitted, Worth: topology.FenceProven, Site: adoptedEast})
	check(t, err)
	if s := find(); s.Source != adoptedEast.Source {
		t.Errorf("by its fence: %+v", s)
	}
}

// typeOf returns the type that workflows decide by.
func typeOf(err error) string {
	var app *temporal.ApplicationError
	if errors.As(err, &app) {
		return app.Type()
	}
	return ""
}

func TestALineageThatIsWrittenNowHasNoTail(t *testing.T) {
	w := newWorld(t)
	w.leave(t, adoptedEast)
	in := TailInput{Group: "prod", Workspace: "main", Lineage: servesNow}
	if _, err := as(t, (&Source{Site: w.Site}).ShipTail, in); typeOf(err) != string(fault.Invalid) {
		t.Errorf("ship: %v", err)
	}
	if _, err := as(t, (&Control{Site: w.Site}).CopyTail, in); typeOf(err) != string(fault.Invalid) {
		t.Errorf("copy: %v", err)
	}
	in.Files = t.TempDir()
	if _, err := Salvage(t.Context(), w.Site, in); !fault.Is(err, fault.Invalid) {
		t.Errorf("salvage: %v", err)
	}
}

// A server that was not reached yet may have more than the buckets, and that is said.
func TestATailWithoutItsServerIsNotComplete(t *testing.T) {
	w := newWorld(t)
	w.leave(t, adoptedEast)
	in := TailInput{Group: "prod", Workspace: "main", Lineage: servedBefore}
	tail, err := as(t, (&Control{Site: w.Site}).CopyTail, in)
	check(t, err)
	if tail.Complete || tail.Error == "" {
		t.Errorf("the tail is %+v", tail)
	}
}
