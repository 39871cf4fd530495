package attach_test

import (
	"context"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/smartdr/smartdr/internal/devenv"
	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/workflows"
)

// TestBranchesComeThroughLosses loses, while branches are attached and detached: workers, a host, a bucket, and the primary region.
func TestBranchesComeThroughLosses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, part := range []struct {
		branch, region string
		play           func(branch, region string)
	}{
		{"fire", devenv.Secondary, w.underFire}, {"away", devenv.Primary, w.bucketAway}, {"lost", devenv.Secondary, w.hostLost}, {"stays", devenv.Secondary, w.groupMoves},
	} {
		if part.branch == "lost" && os.Getenv("SMARTDR_TEST_FULL") != "1" {
			continue // what its host does when it is back is tested beside the code, too
		}
		began := time.Now()
		part.play(part.branch, part.region)
		t.Logf("%s: %s", part.branch, time.Since(began).Round(time.Second))
	}
}

// both are two variants, of which one is enough by default.
func (w *world) both(first, second bool) []bool {
	if os.Getenv("SMARTDR_TEST_FULL") == "1" {
		return []bool{first, second}
	}
	return []bool{second}
}

// steps are the activities of which each is struck: by default every third one.
func steps(turn int, all ...string) (due []string) {
	for i, step := range all {
		if os.Getenv("SMARTDR_TEST_FULL") == "1" || i%3 == turn {
			due = append(due, step)
		}
	}
	return due
}

// struck runs something while a region's worker is killed with each of these activities of a workflow, and started again.
func (w *world) struck(region, workflowID string, wanted []string, do func()) {
	t := w.t
	t.Helper()
	var hit []string
	devtest.During(t, w.env.Temporal, workflowID, func(ctx context.Context, activity string, k int) {
		if k > 1 || !slices.Contains(wanted, activity) {
			return
		}
		hit = append(hit, activity)
		if err := w.env.Regions[region].RestartWorkers(ctx, w.env.Temporal); err != nil {
			t.Error(err)
		}
	}, do)
	for _, step := range wanted {
		if !slices.Contains(hit, step) {
			t.Errorf("%s was never struck", step)
		}
	}
}

// underFire kills the worker that does the work.
func (w *world) underFire(name, region string) {
	t := w.t
	w.branch(name, region)
	id := workflows.BranchID(group, name)
	w.struck(region, id, steps(1, "PlanAttach", "ProvisionBranch", "RestoreSnapshot", "FetchWAL", "AttachBranch", "RestoreMetadata", "PublishBranch"), func() {
		_, err := w.attach(workflows.AttachBranchInput{Branch: name})
		check(t, err)
	})
	b := w.of(name)
	if len(w.folders(region)) != 1 || b.Own != 1 {
		t.Errorf("%v, %d lineages", w.folders(region), b.Own)
	}
	w.quiet(b)
	check(t, w.exec(b, "insert into t values (5, 'fire')"))
	w.struck(region, id, steps(0, "DrainBranch", "RecordDetached", "RemoveBranchServer"), func() { w.detached(name) })
	_, err := w.attach(workflows.AttachBranchInput{Branch: name, ReadOnly: true})
	check(t, err)
	if got := w.rows(w.of(name)); !strings.Contains(got, "5 fire") {
		t.Errorf("what was written is not there: %q", got)
	}
	w.detached(name)
}

// bucketAway detaches a branch whose bucket does not answer: that waits, and says for what, until it is back, or until that is given up. What was
// given up stays away, also when it arrives after all.
func (w *world) bucketAway(name, region string) {
	t := w.t
	w.branch(name, region)
	for _, discard := range w.both(false, true) {
		_, err := w.attach(workflows.AttachBranchInput{Branch: name})
		check(t, err)
		b := w.of(name)
		check(t, w.exec(b, "insert into t values (6, 'arrives')"))
		w.untilBranchShipped(b)
		bucket := w.env.Regions[region].Gateway
		check(t, bucket.Kill())
		check(t, w.exec(b, "insert into t values (7, 'late')"))
		late := w.onItsWay(b)
		run, err := w.start(workflows.DetachBranchType, workflows.BranchID(group, name), workflows.DetachBranchInput{Group: group, Branch: name})
		check(t, err)
		w.until("the attachment to say what keeps it", func() (bool, error) {
			a := w.of(name).Attached
			return a != nil && a.State == topology.Detaching && strings.Contains(a.Error, "is not in the bucket"), nil
		})
		if _, err := w.as(b, teller, app); err == nil {
			t.Error("clients get in while it is being detached")
		}
		if discard {
			check(t, w.temporal.SignalWorkflow(t.Context(), run.GetID(), "", workflows.DiscardSignal, nil))
			check(t, run.Get(t.Context(), nil))
		}
		check(t, bucket.Restart(t.Context()))
		var r workflows.BranchResult
		check(t, run.Get(t.Context(), &r))
		if discard {
			w.arrives(late)
			w.said(r, "announced last")
		}
		w.until("its folder to be gone", func() (bool, error) { return len(w.folders(region)) == 0, nil })
		w.until("the bucket to be taken for back", func() (bool, error) {
			_, err := w.attach(workflows.AttachBranchInput{Branch: name, ReadOnly: true})
			return err == nil, err
		})
		if got := w.rows(w.of(name)); !strings.Contains(got, "6 arrives") || strings.Contains(got, "7 late") == discard {
			t.Errorf("discard %v: it has %q", discard, got)
		}
		w.detached(name)
		if !discard {
			w.clean(name)
		}
	}
}

// said checks that who discarded a branch was told where it ends, and that it does.
func (w *world) said(r workflows.BranchResult, how string) {
	t := w.t
	t.Helper()
	_, end := r.Branch.Tip()
	if want := "it has all up to " + end.LSN.String(); end.LSN == 0 || len(r.Notes) != 1 || !strings.Contains(r.Notes[0], want) || !strings.Contains(r.Notes[0], how) {
		t.Errorf("it ends at %s, and says %q", end, r.Notes)
	}
	b := w.of(r.Branch.Name)
	if _, now := b.Tip(); now != end {
		t.Errorf("it ended at %s, and now at %s", end, now)
	}
}

// clean takes the rows away that a part of the story writes again.
func (w *world) clean(name string) {
	_, err := w.attach(workflows.AttachBranchInput{Branch: name})
	check(w.t, err)
	check(w.t, w.exec(w.of(name), "delete from t where n in (6, 7)"))
	w.detached(name)
}

// untilBranchShipped waits until the bucket has what was written to a branch so far.
func (w *world) untilBranchShipped(b topology.Branch) {
	w.t.Helper()
	at := w.ask(w.server(b), app, "select pg_current_wal_flush_lsn()::text")
	w.until("the branch's WAL to be shipped", func() (bool, error) {
		p, err := w.catalog.BranchProgress(w.t.Context(), group, b.Name, b.Attached.ID)
		c := p.Cursor(b.Region)
		return err == nil && c != nil && w.ask(w.server(b), app, "select ('"+c.Point.At.LSN.String()+"'::pg_lsn >= '"+at+"')::text") == "true", err
	})
}

// hostLost detaches a branch without its host, which removes what it has when it is back.
func (w *world) hostLost(name, region string) {
	t := w.t
	w.branch(name, region)
	_, err := w.attach(workflows.AttachBranchInput{Branch: name})
	check(t, err)
	b := w.of(name)
	check(t, w.exec(b, "insert into t values (6, 'arrives')"))
	w.untilBranchShipped(b)
	host := w.env.Regions[region].Hosts[0]
	check(t, host.Kill(t.Context()))
	r, err := w.detach(workflows.DetachBranchInput{Branch: name, Discard: true})
	check(t, err)
	w.said(r, "the rest was given up")
	if r.Branch.Attached != nil || len(w.folders(region)) != 1 {
		t.Errorf("%+v, %v", r.Branch.Attached, w.folders(region))
	}
	check(t, w.env.Regions[region].StartWorker(t.Context(), w.env.Temporal))
	w.until("the host to remove what it has", func() (bool, error) { return len(w.folders(region)) == 0, nil })
}

// groupMoves lets the group fail over beside an attached branch, which goes on.
func (w *world) groupMoves(name, region string) {
	t := w.t
	w.branch(name, region)
	_, err := w.attach(workflows.AttachBranchInput{Branch: name})
	check(t, err)
	b := w.of(name)
	s := w.server(b)
	began := w.ask(s, app, "select pg_postmaster_start_time()::text")
	check(t, w.env.KillRegion(t.Context(), devenv.Primary))
	w.smartdr("failover", "--group", group, "--yes", "--force")
	check(t, w.exec(b, "insert into t values (8, 'beside')"))
	check(t, w.env.Regions[region].Worker.Kill())
	check(t, w.env.Regions[region].StartWorker(t.Context(), w.env.Temporal))
	w.untilBranchShipped(b)
	if now := w.ask(s, app, "select pg_postmaster_start_time()::text"); now != began {
		t.Errorf("the branch's server was started again: %s, %s", began, now)
	}
	check(t, w.exec(b, "insert into t values (9, 'beside')"))
	w.detached(name)
	_, err = w.attach(workflows.AttachBranchInput{Branch: name})
	check(t, err)
	if got := w.rows(w.of(name)); !strings.Contains(got, "8 beside, 9 beside") {
		t.Errorf("it has %q", got)
	}
	w.detached(name)
}
