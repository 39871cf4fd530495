package switchover_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/smartdr/smartdr/internal/catalog"
	"github.com/smartdr/smartdr/internal/config"
	"github.com/smartdr/smartdr/internal/devenv"
	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/internal/devenv/estate"
	"github.com/smartdr/smartdr/internal/metadata"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/workflows"
)

// TestAGroupMovesThereAndBack moves one group again and again while its clients write.
func TestAGroupMovesThereAndBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 0, 30)
	for _, c := range []struct {
		name string
		do   func(*world)
		slow bool // only with SMARTDR_TEST_FULL=1
	}{
		{"past the cap everything goes back", (*world).pastTheCap, false},
		{"planned, there and back", (*world).thereAndBack, false},
		{"home after a loss, with the old data", (*world).homeAfterALoss, false},
		{"home after a loss, to an empty host", (*world).homeToAnEmptyHost, true},
	} {
		if c.slow && !full() {
			continue
		}
		if !t.Run(c.name, func(t *testing.T) { c.do(w.on(t)) }) {
			return // what comes next would say nothing
		}
	}
}

// thereAndBack moves to the secondary region and back. Nobody can write at the side that was left.
func (w *world) thereAndBack() {
	adopted, managed := w.workspace(estate.Adopted), w.workspace(estate.Managed)
	ran := w.running(devenv.Primary)
	op := w.move(estate.Switchover)
	if op.To != devenv.Secondary {
		w.t.Fatalf("it led to %s", op.To)
	}
	w.fences(op)
	w.refuses(estate.Managed, managed.Sites[devenv.Primary].Endpoint, false)
	w.refuses(estate.Adopted, adopted.Sites[devenv.Primary].Endpoint, true)
	if left := w.running(devenv.Primary); len(left) > 0 {
		w.t.Errorf("servers of SmartDR run where nobody is served: %v of %v", left, ran)
	}
	check(w.t, w.env.Server.Restart(w.t.Context())) // by its own service manager
	w.refuses(estate.Adopted, adopted.Sites[devenv.Primary].Endpoint, true)
	if url, changed := w.Space(estate.Managed).URL(); changed > 0 {
		w.t.Errorf("the clients of %s had to ask %d times where the writer is; now it is %s", estate.Managed, changed, url)
	}
	check(w.t, w.WaitMovable(w.t.Context()))

	away := w.workspace(estate.Managed)
	back := w.move(estate.Switchover)
	w.refuses(estate.Managed, away.Sites[devenv.Secondary].Endpoint, false)
	for _, r := range back.Workspaces {
		if r.Moved == nil || r.Moved.Reused == 0 {
			w.t.Errorf("%s: nothing of the data that lay there was used again: %+v", r.Workspace, r.Moved)
		}
	}
	check(w.t, w.WaitMovable(w.t.Context()))
}

// fences checks that every server that served before is fenced beyond doubt.
func (w *world) fences(op topology.Operation) {
	w.t.Helper()
	for _, s := range w.Spaces {
		i := slices.IndexFunc(op.Fences, func(f topology.Fence) bool { return f.Workspace == s.Name })
		if i < 0 || op.Fences[i].Worth != topology.FenceProven || op.Fences[i].State != topology.FenceCommitted {
			w.t.Errorf("%s is fenced so: %+v", s.Name, op.Fences)
		}
	}
}

// gapCapped is the cap that is passed.
const gapCapped = 12 * time.Second

// pastTheCap lets the other region's bucket hang while the servers are being fenced. The switchover must put everything back,
// and work when it is asked for again.
func (w *world) pastTheCap() {
	ctx := w.t.Context()
	before, err := w.Status(ctx)
	check(w.t, err)
	check(w.t, w.Written(ctx, 20))
	goOn := w.stopSession() // a fence waits for it: so the bucket hangs before any has come about
	defer goOn()
	hung, cancel := context.WithTimeout(ctx, 5*gapCapped) // one that does not go back completes after that
	var hanging sync.WaitGroup
	hanging.Go(func() { w.hang(hung, "Fence", goOn, "RemoveStandby") })
	op, err := w.Operate(ctx, estate.Switchover, "--max-gap", gapCapped.String())
	cancel()
	hanging.Wait()
	if err == nil || op.State != topology.OperationReverted || !strings.Contains(op.Error, "without a writer for longer than") {
		w.t.Fatalf("the switchover is %s, %v; want Reverted, since it took too long", op.State, err)
	}
	w.t.Logf("it said: %s", op.Error)
	check(w.t, w.Written(ctx, 50))
	_, err = w.Verify(ctx)
	check(w.t, err)
	w.nothingChanged(before)
	check(w.t, w.WaitProtected(ctx))
}

// stopSession stops the process of a session on the adopted server, which so cannot end before it goes on.
func (w *world) stopSession() (goOn func()) {
	w.t.Helper()
	at := w.workspace(estate.Adopted).Sites[devenv.Primary].Endpoint.Hosts[0]
	conn, err := w.Space(estate.Adopted).ConnectTo(w.t.Context(), at)
	check(w.t, err)
	w.t.Cleanup(func() { conn.Close(context.Background()) }) //nolint:errcheck // the fence has ended it
	pid := int(conn.PgConn().PID())
	check(w.t, syscall.Kill(pid, syscall.SIGSTOP))
	return sync.OnceFunc(func() {
		if err := syscall.Kill(pid, syscall.SIGCONT); err != nil {
			w.t.Error(err)
		}
	})
}

// hang stops the secondary's object store when an activity of the switchover begins, calls hangs, and lets the store go on when another
// activity begins, or ctx is done.
func (w *world) hang(ctx context.Context, from string, hangs func(), to string) {
	signal := func(s syscall.Signal) {
		if err := syscall.Kill(w.env.Regions[devenv.Secondary].Gateway.PID(), s); err != nil {
			w.t.Error(err)
		}
	}
	defer signal(syscall.SIGCONT)
	devtest.EachStart(ctx, w.env.Temporal, workflows.SwitchoverID(estate.Group), time.Now(), func(activity string, k int) {
		switch {
		case activity == from && k == 1:
			signal(syscall.SIGSTOP)
			hangs()
		case activity == to && k == 1:
			signal(syscall.SIGCONT)
		}
	})
}

// nothingChanged compares the group with what it was before an operation that went back.
func (w *world) nothingChanged(before topology.GroupStatus) {
	w.t.Helper()
	// While the bucket hung, what was made could not be taken away: that comes later, and without anybody asking.
	check(w.t, w.Until(w.t.Context(), devtest.Patience, "the standbys to be gone", func(s topology.GroupStatus) bool {
		return !slices.ContainsFunc(s.Group.Workspaces, func(ws topology.Workspace) bool { return len(ws.Standbys) > 0 })
	}))
	now, err := w.Status(w.t.Context())
	check(w.t, err)
	if now.Group.Active != before.Group.Active || now.Group.Epoch != before.Group.Epoch || now.Group.Operation != nil {
		w.t.Errorf("%s serves under epoch %d, held by %v; before %s under %d", now.Group.Active, now.Group.Epoch, now.Group.Operation, before.Group.Active, before.Group.Epoch)
	}
	for _, ws := range now.Workspaces {
		for _, f := range ws.Fences {
			if f.State != topology.FenceLifted {
				w.t.Errorf("a fence is left: %+v", f)
			}
		}
	}
	for _, ws := range now.Group.Workspaces {
		if ws.Lineage != before.Group.Workspace(ws.Name).Lineage {
			w.t.Errorf("%s writes lineage %s, before %s", ws.Name, ws.Lineage, before.Group.Workspace(ws.Name).Lineage)
		}
	}
	devtest.Until(w.t, "what was begun at the other side to be gone, and its address free", func() bool {
		return len(w.standbys(devenv.Secondary)) == 0 && len(w.running(devenv.Secondary)) == 0
	})
}

// lose kills the primary region and fails over.
func (w *world) lose() topology.Operation {
	w.t.Helper()
	ctx := w.t.Context()
	check(w.t, w.Written(ctx, 20))
	check(w.t, w.Lose(ctx, devenv.Primary))
	op, err := w.Operate(ctx, estate.Failover)
	check(w.t, err)
	w.moved(op)
	return op
}

// homeAfterALoss loses the primary region, changes things in the secondary, and comes home when the region is back.
func (w *world) homeAfterALoss() {
	ctx := w.t.Context()
	w.lose()
	w.changeMetadata()
	check(w.t, w.env.ReviveRegion(ctx, devenv.Primary))
	check(w.t, w.WaitTails(ctx))
	check(w.t, w.WaitMovable(ctx))
	op := w.comeHome()
	for _, r := range op.Workspaces {
		if r.Moved == nil || r.Moved.Reused < 20e6 || r.Moved.Fetched > r.Moved.Bytes/2 {
			w.t.Errorf("%s: 30 MB that lay there had not changed, and this was moved: %+v", r.Workspace, r.Moved)
		}
	}
	w.metadataCameAlong()
}

// comeHome fails back, and checks that the group is as it was in the beginning: served and replicated in the first direction, with
// nothing that runs in the secondary region.
func (w *world) comeHome(flags ...string) topology.Operation {
	w.t.Helper()
	away := map[string]topology.Endpoint{}
	for _, s := range w.Spaces {
		away[s.Name] = w.workspace(s.Name).Sites[devenv.Secondary].Endpoint
	}
	op := w.move(estate.Failback, flags...)
	if op.To != devenv.Primary {
		w.t.Fatalf("it led to %s", op.To)
	}
	for name, at := range away {
		w.refuses(name, at, false)
	}
	if left := w.running(devenv.Secondary); len(left) > 0 {
		w.t.Errorf("servers run in %s: %v", devenv.Secondary, left)
	}
	servers, err := w.env.Regions[devenv.Secondary].Servers()
	check(w.t, err)
	if len(servers) > 0 {
		w.t.Errorf("%d servers are left in %s, as %s", len(servers), devenv.Secondary, servers[0].InstanceDir())
	}
	check(w.t, w.WaitProtected(w.t.Context()))
	s, err := w.Status(w.t.Context())
	check(w.t, err)
	if s.Protection.Region != devenv.Secondary || s.Group.Authority != devenv.Secondary {
		w.t.Errorf("a failover would go to %s, and %s decides", s.Protection.Region, s.Group.Authority)
	}
	return op
}

// changeMetadata changes what a group consists of besides its data, in the secondary region.
func (w *world) changeMetadata() {
	w.t.Helper()
	for _, s := range w.Spaces {
		w.exec(s.Name, "create role auditor login", "grant select on transfers to auditor")
		w.smartdr("workspace", "change", s.Name, "--group", estate.Group, "--set", "work_mem=7MB")
	}
	rules := filepath.Join(w.env.Dir, "rules")
	check(w.t, os.WriteFile(rules, []byte("host all auditor 127.0.0.5/32 reject\n"), 0o644))
	w.smartdr("workspace", "change", estate.Managed, "--group", estate.Group, "--hba-file", rules)
	w.smartdr("group", "change", estate.Group, "--add-firewall", "192.0.2.0/24")
	w.waitCaptured()
}

// waitCaptured waits until a bucket knows what changeMetadata changed: servers are looked at every ten seconds, and a busy machine's less often.
func (w *world) waitCaptured() {
	w.t.Helper()
	cfg, err := config.Load(w.env.ConfigPath())
	check(w.t, err)
	stores, err := cfg.OpenStores(w.t.Context())
	check(w.t, err)
	c := &catalog.Catalog{Stores: stores}
	for _, s := range w.Spaces {
		devtest.Until(w.t, "the changes of "+s.Name+" to be in a bucket", func() bool {
			captured, err := c.Metadata(w.t.Context(), estate.Group, s.Name)
			var m metadata.Metadata
			if err != nil || json.Unmarshal(captured.Server, &m) != nil {
				return false
			}
			rules := slices.ContainsFunc(m.HBA, func(r metadata.HBARule) bool { return slices.Contains(r.Users, "auditor") })
			return m.Setting("work_mem") == "7MB" && (rules || s.Name != estate.Managed)
		})
	}
}

// metadataCameAlong looks for it at home.
func (w *world) metadataCameAlong() {
	w.t.Helper()
	for _, s := range w.Spaces {
		if got := w.ask(s.Name, "select current_setting('work_mem')"); got != "7MB" {
			w.t.Errorf("work_mem of %s is %s", s.Name, got)
		}
		if got := w.ask(s.Name, "select has_table_privilege('auditor', 'transfers', 'select')::text || has_table_privilege('auditor', 'postings', 'select')::text"); got != "truefalse" {
			w.t.Errorf("auditor may read transfers and postings of %s: %s", s.Name, got)
		}
	}
	const rules = "select string_agg(concat_ws(' ', user_name, address, auth_method), ', ') from pg_hba_file_rules"
	if got := w.ask(estate.Managed, rules); !strings.Contains(got, "127.0.0.5") || !strings.Contains(got, "192.0.2.0") {
		w.t.Errorf("the rules of %s are %s", estate.Managed, got)
	}
}

// homeToAnEmptyHost loses the primary region with every disk of its hosts, and comes home to new ones.
func (w *world) homeToAnEmptyHost() {
	ctx := w.t.Context()
	w.lose()
	check(w.t, w.emptyHosts(devenv.Primary))
	check(w.t, w.env.Regions[devenv.Primary].Gateway.Restart(ctx))
	// A machine with the old one's name is taken for another one until that has been silent for long enough.
	devtest.Until(w.t, "the worker of the new host to be let in", func() bool {
		return w.env.Regions[devenv.Primary].StartWorker(ctx, w.env.Temporal) == nil
	})
	check(w.t, w.WaitProtected(ctx))
	w.refused("tail", "failback", "--group", estate.Group, "--yes")
	op := w.comeHome("--force")
	for _, r := range op.Workspaces {
		if r.Moved == nil || r.Moved.Reused != 0 || r.Moved.Bytes < 20e6 {
			w.t.Errorf("%s: an empty host has nothing to use again: %+v", r.Workspace, r.Moved)
		}
	}
}

// emptyHosts removes what a region's hosts hold, the adopted server's disk included.
func (w *world) emptyHosts(region string) error {
	for _, h := range w.env.Regions[region].Hosts {
		folders, err := filepath.Glob(filepath.Join(h.DataDir(), "*"))
		if err != nil {
			return err
		}
		for _, f := range append(folders, w.env.Server.DataDir) {
			if err := os.RemoveAll(f); err != nil {
				return fmt.Errorf("empty %s: %w", h.Name, err)
			}
		}
	}
	return nil
}
