package readiness

import (
	"slices"
	"testing"

	"github.com/smartdr/smartdr/internal/metadata"
	"github.com/smartdr/smartdr/internal/topology"
)

func drifts(f Facts, kind, name string) bool {
	return slices.ContainsFunc(drift(f), func(d topology.DriftItem) bool { return d.Workspace == "main" && d.Kind == kind && d.Name == name })
}

// Drift is against the host that a failover would choose: what another one lacks is none.
func TestDriftIsAgainstTheHostThatWouldBeChosen(t *testing.T) {
	f := good()
	if drifts(f, "setting", "shared_buffers") {
		t.Errorf("drift of what is the same: %+v", drift(f))
	}
	secondHost(&f, func(h *metadata.Host) { h.MemoryBytes = 1 << 30 })
	f.Hosts[1].DiskBytes = 1 << 20
	if drifts(f, "setting", "shared_buffers") {
		t.Errorf("drift against a host that has no room: %+v", drift(f))
	}
	f.Hosts[0].DiskBytes, f.Hosts[1].DiskBytes = 1<<20, 100<<30
	if !drifts(f, "setting", "shared_buffers") {
		t.Errorf("no drift against the host that has room: %+v", drift(f))
	}
}

func TestWithoutAHostOrACaptureThereIsNoDrift(t *testing.T) {
	f := good()
	f.Hosts = nil
	if d := drift(f); d != nil {
		t.Errorf("got %+v", d)
	}
	f = good()
	f.Workspaces[0].Metadata = nil
	if d := drift(f); d != nil {
		t.Errorf("got %+v", d)
	}
}
