package test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

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
	s.ok("configure", "--group", devenv.GroupName, "--secondary", devenv.Secondary, "--wait", "--timeout", devtest.Patience.String())

	s.awaitReady()
	s.ok("readiness")
	devtest.Until(t, "the workers' own check is in the status", func() bool {
		out, _, _ := s.run("status")
		return strings.Contains(out, "readiness: ") && !strings.Contains(out, "blocking")
	})

	if err := env.Regions[devenv.Primary].Worker.Stop(); err != nil {
		t.Fatal(err)
	}
	checkCost(t, s)
	s.okOnce("lag: warning")
	if err := env.Regions[devenv.Secondary].Gateway.Kill(); err != nil {
		t.Fatal(err)
	}
	out, _, code := s.run("readiness")
	if code != 7 || !strings.Contains(out, "The bucket of east does not answer") {
		t.Errorf("exit code %d without the other region's bucket:\n%s", code, out)
	}
}

// awaitReady waits until nothing is left to say but what was never tried, and shows what was said last.
func (s smartdr) awaitReady() {
	s.t.Helper()
	var r topology.Readiness
	defer func() {
		for _, i := range r.Items {
			s.t.Logf("%-8s %s %s: %s", i.State, i.Workspace, i.Check, i.Text)
		}
	}()
	devtest.Until(s.t, "nothing to be left to say but what was never tried", func() bool {
		r = topology.Readiness{}
		s.json(&r, "readiness")
		return cmp.Equal([]string{"last restore: warning"}, troubles(r))
	})
}

// okOnce waits until readiness says something besides that nothing was ever restored.
func (s smartdr) okOnce(trouble string) {
	s.t.Helper()
	devtest.Until(s.t, trouble, func() bool {
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
