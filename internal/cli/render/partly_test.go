package render

import (
	"strings"
	"testing"
	"time"

	"github.com/smartdr/smartdr/internal/topology"
)

// partly is a failover that brought one of two workspaces up.
func partly() topology.Operation {
	op := operation()
	op.State, op.Error, op.Hint = topology.OperationFailed, "workspace side does not serve: chunk 7 differs; main serves clients of region west", "put it right"
	op.Workspaces[0].Serves, op.Workspaces[0].Host = true, "db1"
	op.Workspaces = append(op.Workspaces, topology.Recovered{Workspace: "side", Host: "db2", Error: "chunk 7 differs", Hint: "fetch it from the other bucket", Point: point(0x1000)})
	return op
}

func TestAnAccountNamesWhatServesAndWhatDoesNot(t *testing.T) {
	got := Operation(partly(), now, Style{})
	for _, want := range []string{
		"Workspace main is back at 0/5A3F210", "endpoint     10.0.0.7:6000", "host         db1",
		"Workspace side does not serve: chunk 7 differs", "host         db2", "hint         fetch it from the other bucket",
		"error: workspace side does not serve",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("it does not say %q:\n%s", want, got)
		}
	}
	if strings.Contains(got, "side is back") {
		t.Errorf("it says that side is back:\n%s", got)
	}
}

func TestAPreviewNamesTheHosts(t *testing.T) {
	p := previewOf(false)
	p.Workspaces[0].Host = "db1"
	if got := Preview(p, now.Add(time.Second), Style{}); !strings.Contains(got, "To be placed in west: main on db1.") {
		t.Errorf("no host in:\n%s", got)
	}
	p.Placement = "workspace main is larger than any host"
	if got := Preview(p, now, Style{}); !strings.Contains(got, "It cannot be done: workspace main is larger than any host.") {
		t.Errorf("no refusal in:\n%s", got)
	}
}
