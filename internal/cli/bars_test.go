package cli

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/smartdr/smartdr/internal/topology"
)

// TestPhaseBars: a phase that has ended leaves one line, also when it was never seen running.
func TestPhaseBars(t *testing.T) {
	var out bytes.Buffer
	now := time.Date(2026, 11, 22, 22, 10, 30, 0, time.UTC)
	a := &app{Streams: Streams{Out: &out, Getenv: func(string) string { return "" }}, now: func() time.Time { return now }}
	v := &phaseBars{app: a, bars: newBars(t.Context(), a), done: map[string]bool{}}
	ended := func(name, workspace string) topology.Phase {
		return topology.Phase{Name: name, Workspace: workspace, StartedAt: now.Add(-time.Second), EndedAt: now}
	}
	running := topology.Phase{Name: "Restore snapshot", Workspace: "main", StartedAt: now.Add(-3 * time.Second), Note: "43%"}
	v.show(topology.Operation{Phases: []topology.Phase{ended("Plan", ""), running}})
	v.show(topology.Operation{Phases: []topology.Phase{ended("Plan", ""), ended("Restore snapshot", "main"), ended("Attach", "main")}})
	v.show(topology.Operation{Phases: []topology.Phase{ended("Plan", ""), ended("Restore snapshot", "main"), ended("Attach", "main"), {Name: "Publish", StartedAt: now}}})
	v.close()
	for _, line := range []string{"✓ Plan  1.0 s", "✓ Restore snapshot main  1.0 s", "✓ Attach main  1.0 s"} {
		if n := strings.Count(out.String(), line+"\n"); n != 1 {
			t.Errorf("%q is there %d times:\n%q", line, n, out.String())
		}
	}
}
