package choice_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/workflows"
)

// cancelWhilePlanned begins a failover that nobody can plan, since the region's worker is away, and cancels it.
func (w *world) cancelWhilePlanned(cancel func()) {
	w.Helper()
	w.must(w.env.Regions[away].Worker.Kill())
	w.ok("failover", "--group", group, "--yes", "--force", "--wait=false")
	w.awaitPhase("Plan")
	cancel()
	c, err := w.env.Temporal.Dial(w.Context())
	w.must(err)
	defer c.Close()
	if err := c.GetWorkflow(w.Context(), workflows.FailoverID(group), "").Get(w.Context(), nil); err == nil || !strings.Contains(strings.ToLower(err.Error()), "cancel") {
		w.Errorf("the failover ended with %v, want that it was canceled", err)
	}
	w.must(w.env.Regions[away].RestartWorkers(w.Context(), w.env.Temporal))
	w.untouched()
}

// awaitPhase waits until the failover is in a phase.
func (w *world) awaitPhase(name string) {
	w.Helper()
	c, err := w.env.Temporal.Dial(w.Context())
	w.must(err)
	defer c.Close()
	devtest.Until(w, "the failover to be in phase "+name, func() bool {
		v, err := c.QueryWorkflow(w.Context(), workflows.FailoverID(group), "", workflows.ProgressQuery)
		var op topology.Operation
		return err == nil && v.Get(&op) == nil && len(op.Phases) > 0 && op.Phases[len(op.Phases)-1].Name == name
	})
}

// cancelByTemporal is Temporal's own way.
func (w *world) cancelByTemporal() {
	c, err := w.env.Temporal.Dial(w.Context())
	w.must(err)
	defer c.Close()
	w.must(c.CancelWorkflow(w.Context(), workflows.FailoverID(group), ""))
}

// untouched checks that a failover that was canceled left nothing.
func (w *world) untouched() {
	w.Helper()
	g := w.status().Group
	if g.Active != home || g.Epoch != 1 || g.Operation != nil || len(g.Workspaces[0].Standbys) > 0 {
		w.Errorf("the group is %+v", g)
	}
	folders, err := filepath.Glob(filepath.Join(w.env.Regions[away].DataDir(), group, "*", "*"))
	if w.must(err); len(folders) > 0 {
		w.Errorf("folders are left: %v", folders)
	}
	claims, err := filepath.Glob(filepath.Join(w.env.Regions[away].Gateway.DataDir(), "*", "smartdr", "v1", "groups", group, "epochs", "*"))
	if w.must(err); len(claims) != 1 {
		w.Errorf("claims of epochs: %v", claims)
	}
}

// TestCancel cancels failovers before their point of no return, in each way, and one that is beyond it.
func TestCancel(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.replicate()
	w.cancelWhilePlanned(func() { w.ok("cancel", group) })
	w.cancelWhilePlanned(w.cancelByTemporal)
	w.refused("no operation of group "+group+" runs", "cancel", group)
	for _, op := range w.operations() {
		if op.State != topology.OperationCanceled || op.Epoch != 0 {
			t.Errorf("an account of a failover that was canceled: %+v", op)
		}
	}
	// Beyond the claim it is refused.
	w.must(w.env.KillRegion(w.Context(), home))
	late := w.cancelBeyondTheClaim()
	if !strings.Contains(late, "point of no return") {
		t.Errorf("a cancellation beyond the claim was answered %q", late)
	}
	op := w.operations()[0]
	if op.State != topology.OperationCompleted || op.Epoch != 2 || op.ClaimedAt.IsZero() {
		t.Errorf("ended as %+v", op)
	}
	if _, err := os.Stat(w.server(away).DataDir); err != nil {
		t.Error(err)
	}
}

// cancelBeyondTheClaim fails over, cancels while the server that is brought up cannot go on, and returns what that was answered.
func (w *world) cancelBeyondTheClaim() (said string) {
	w.Helper()
	w.ok("failover", "--group", group, "--yes", "--wait=false")
	w.awaitClaim()
	goOn := w.stopServer()
	_, err := w.try("cancel", group)
	goOn()
	if err != nil {
		said = err.Error()
	}
	devtest.UntilOver(w, "the failover to complete", func() bool { return w.operations()[0].State == topology.OperationCompleted })
	return said
}

// stopServer stops the server that a failover brings up, as soon as it runs, so that there is time to ask.
func (w *world) stopServer() (goOn func()) {
	w.Helper()
	var pid int
	devtest.Until(w, "the server to run that is brought up", func() bool {
		all, err := w.env.Regions[away].Servers()
		w.must(err)
		if len(all) > 0 {
			pid, _ = all[0].Running(w.Context())
		}
		return pid > 0
	})
	w.must(syscall.Kill(pid, syscall.SIGSTOP))
	return func() { w.must(syscall.Kill(pid, syscall.SIGCONT)) }
}

func (w *world) awaitClaim() {
	w.Helper()
	c, err := w.env.Temporal.Dial(w.Context())
	w.must(err)
	defer c.Close()
	devtest.Until(w, "the epoch to be claimed", func() bool {
		v, err := c.QueryWorkflow(w.Context(), workflows.FailoverID(group), "", workflows.ProgressQuery)
		var op topology.Operation
		return err == nil && v.Get(&op) == nil && op.Epoch == 2
	})
}
