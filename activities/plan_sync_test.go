package activities

import (
	"strings"
	"testing"
	"time"

	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/internal/topology"
)

// A region that has just taken over is alive before it has said a word, and not for ever: a failover that a script orders twice must not
// go back.
func TestARegionThatHasJustTakenOverIsAlive(t *testing.T) {
	w := newWorld(t)
	east := &Target{Site: w.Site}
	east.Region = "east"
	alive := func(took time.Duration, announced bool) string {
		t.Helper()
		w.leave(t, adoptedEast)
		w.update(t, func(g *topology.Group) { g.Workspaces[0].Lineages[1].CreatedAt = time.Now().Add(-took) })
		if announced {
			check(t, w.Catalog.PutWALProgress(t.Context(), "prod", "main", topology.WALProgress{Epoch: 2, Lineage: servesNow, MeasuredAt: time.Now()}))
		}
		loaded, err := w.process().Load(t.Context(), "prod")
		check(t, err)
		return east.alive(t.Context(), loaded)
	}
	if got := alive(10*time.Second, false); !strings.Contains(got, "began to serve there 10 s ago") {
		t.Errorf("10 s after it took over: %q", got)
	}
	if got := alive(2*time.Minute, false); got != "" {
		t.Errorf("it has said nothing for 2 minutes: %q", got)
	}
	if got := alive(2*time.Minute, true); !strings.Contains(got, "was shipped") {
		t.Errorf("it has just shipped: %q", got)
	}
	w.faults["west"].Add(objectstore.Rule{Dead: true})
	loaded, err := w.process().Load(t.Context(), "prod")
	check(t, err)
	if got := east.alive(t.Context(), loaded); got != "" {
		t.Errorf("its bucket is dead: %q", got)
	}
}
