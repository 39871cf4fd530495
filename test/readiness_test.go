package test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/smartdr/smartdr/internal/devenv"
	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/internal/topology"
)

// TestReadiness asks a real group whether a failover would work, as it goes from nothing to ready and loses one thing after
// the other; and what its storage costs.
func TestReadiness(t *testing.T) {
	t.Parallel()
	env := startEnv(t)
	s := smartdr{t: t, env: env}
	s.ok("group", "create", "-f", env.GroupPath())
	s.fails(7, "readiness")
	s.ok("configure", "--group", devenv.GroupName, "--secondary", devenv.Secondary, "--wait", "--timeout", "2m")

	var r topology.Readiness
	deadline := time.Now().Add(30 * time.Second)
	for s.json(&r, "readiness"); !cmp.Equal([]string{"last restore: warning"}, troubles(r)); s.json(&r, "readiness") {
		if time.Now().After(deadline) {
			t.Fatalf("more than what was never tried is left to say:\n%s", s.ok("readiness"))
		}
	}
	for _, i := range r.Items {
		t.Logf("%-8s %s %s: %s", i.State, i.Workspace, i.Check, i.Text)
	}
	s.ok("readiness")
	devtest.Within(t, devtest.Patience, "the workers' own check is in the status", func() bool {
		out, _, _ := s.run("status")
		return strings.Contains(out, "readiness: ") && !strings.Contains(out, "blocking")
	})

	if err := env.Regions[devenv.Primary].Worker.Stop(); err != nil {
		t.Fatal(err)
	}
	checkCost(t, s)
	s.okWithin(devtest.Patience, "lag: warning")
	if err := env.Regions[devenv.Secondary].Gateway.Kill(); err != nil {
		t.Fatal(err)
	}
	out, _, code := s.run("readiness")
	if code != 7 || !strings.Contains(out, "The bucket of east does not answer") {
		t.Errorf("exit code %d without the other region's bucket:\n%s", code, out)
	}
}

// okWithin waits until readiness says something besides that nothing was ever restored.
func (s smartdr) okWithin(d time.Duration, trouble string) {
	s.t.Helper()
	devtest.Within(s.t, d, trouble, func() bool {
		var r topology.Readiness
		s.json(&r, "readiness")
		return slices.Contains(troubles(r), trouble)
	})
}

func troubles(r topology.Readiness) (all []string) {
	for _, i := range r.Items {
		if i.State != topology.ReadinessOK && i.Check != "server" { // what the server's role may not read is another test's
			all = append(all, fmt.Sprintf("%s: %s", i.Check, i.State))
		}
	}
	return all
}

// checkCost looks at what the worker that was just stopped has counted.
func checkCost(t *testing.T, s smartdr) {
	t.Helper()
	s.ok("cost")
	var c topology.Cost
	s.json(&c, "cost")
	for _, r := range c.Regions {
		if r.Stored == nil || r.Stored.Kinds[topology.StoredSnapshots].Bytes == 0 || r.Stored.Kinds[topology.StoredWAL].Objects == 0 {
			t.Errorf("%s holds %+v", r.Region, r.Stored)
		}
		if r.Requests.Puts == 0 || r.Requests.BytesOut < r.Stored.Kinds[topology.StoredSnapshots].Bytes || r.ToDate.Requests <= 0 || r.ToDate.Storage <= 0 {
			t.Errorf("%s was asked for %+v, which costs %+v", r.Region, r.Requests, r.ToDate)
		}
		// The worker that serves wrote the snapshot into the other region; from there it only read what the catalog has.
		snapshots := r.Stored.Kinds[topology.StoredSnapshots].Bytes
		if serves := r.Role == "serves"; serves && r.EgressBytes < snapshots || !serves && (r.EgressBytes == 0 || r.EgressBytes > r.Requests.BytesIn) {
			t.Errorf("%d bytes left %s, which %s", r.EgressBytes, r.Region, r.Role)
		}
	}
}
