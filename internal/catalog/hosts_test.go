package catalog

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/internal/topology"
)

func TestHostsAreKnownByTheirOwnRegionsBucketAlone(t *testing.T) {
	w := newWorld(t)
	at := time.Unix(1000, 0).UTC()
	second := topology.Host{Name: "b", Region: "east", AnnouncedAt: at, MemoryBytes: 1 << 30, Placed: []topology.Placed{{Group: "prod", Workspace: "main", Epoch: 2}}}
	first := topology.Host{Name: "a", Region: "east", AnnouncedAt: at}
	for _, h := range []topology.Host{second, first, {Name: "elsewhere", Region: "west"}} {
		if err := w.PutHost(t.Context(), h); err != nil {
			t.Fatal(err)
		}
	}
	damaged := hostKey("damaged")
	if _, err := w.stores["east"].Put(t.Context(), damaged, []byte("{"), objectstore.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	revive := w.kill("west")
	got, err := w.Hosts(t.Context(), "east")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]topology.Host{first, second}, got); diff != "" {
		t.Error(diff)
	}
	if _, err := w.Hosts(t.Context(), "west"); !fault.Is(err, fault.Transient) {
		t.Errorf("a dead bucket: %v", err)
	}
	revive()
	if err := w.PutHost(t.Context(), topology.Host{Name: "no name", Region: "east"}); !fault.Is(err, fault.Invalid) {
		t.Errorf("a bad name: %v", err)
	}
}
