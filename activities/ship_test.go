package activities

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/smartdr/smartdr/internal/topology"
)

// Status reads from heartbeats what the catalog's documents say, a little fresher.
func TestHeartbeatsAreTheAnnouncedDocuments(t *testing.T) {
	w := newWorld(t)
	source := &Source{Site: w.Site}
	in := SourceInput{Group: "prod", Workspace: "main", Epoch: 1}
	at := time.Now().UTC().Truncate(time.Millisecond)
	var p pulse

	wal := topology.WALProgress{Lineage: "0001-00000000", Epoch: 1, MeasuredAt: at, Cursors: []topology.Cursor{{Region: "west"}}}
	check(t, source.shipper(in, subject{}, topology.Lineage{ID: wal.Lineage}, &p).Announce(t.Context(), wal))
	announced, err := w.Catalog.WALProgress(t.Context(), "prod", "main")
	check(t, err)
	if diff := cmp.Diff(any(announced), p.detail); diff != "" {
		t.Errorf("heartbeat of a shipper (-announced +got):\n%s", diff)
	}

	notes := source.progressNotes(t.Context(), in, held{}, nil, &p)
	notes.put(topology.SnapshotProgress{ID: "20261122T221000Z-0000", Lineage: wal.Lineage, MeasuredAt: at, StartedAt: at, DoneBytes: 1, TotalBytes: 2})
	notes.end()
	snapshot, err := w.Catalog.SnapshotProgress(t.Context(), "prod", "main")
	check(t, err)
	if diff := cmp.Diff(any(snapshot), p.detail); diff != "" {
		t.Errorf("heartbeat of a snapshot (-announced +got):\n%s", diff)
	}
}
