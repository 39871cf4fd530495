package activities

import (
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/smartdr/smartdr/internal/catalog"
	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/postgres/postgrestest"
	"github.com/smartdr/smartdr/internal/topology"
)

var orders = ServerInput{Group: "prod", Workspace: "orders", Region: "east"}

// does runs an activity that answers nothing.
func does[In any](t *testing.T, activity func(context.Context, In) error, in In) error {
	t.Helper()
	_, err := as(t, func(ctx context.Context, in In) (struct{}, error) { return struct{}{}, activity(ctx, in) }, in)
	return err
}

func (h home) change(t *testing.T, change func(*topology.Workspace)) {
	t.Helper()
	_, err := h.Catalog.Update(t.Context(), "prod", func(g *topology.Group) error { change(g.Workspace("orders")); return nil })
	check(t, err)
}

func (h home) apply(t *testing.T, in ApplyServerInput) []string {
	t.Helper()
	in.ServerInput = orders
	done, err := as(t, h.ApplyServer, in)
	check(t, err)
	return done.Notes
}

func load(t *testing.T, made MakeServerResult) *postgres.Server {
	t.Helper()
	s, err := postgres.Load(made.Site.Instance)
	check(t, err)
	return s
}

func TestApplyServer(t *testing.T) {
	postgrestest.InTurn(t, func(t *testing.T, bin postgres.Binaries) {
		h := newHomeOf(t, bin)
		in := h.newServer()
		in.Settings = map[string]string{"work_mem": "7MB"}
		s := load(t, h.create(t, in))
		show := func(name string) string {
			return postgrestest.Query(t, s, "postgres", "select current_setting('"+name+"')")
		}
		if notes := h.apply(t, ApplyServerInput{}); len(notes) > 0 {
			t.Errorf("nothing was changed: %q", notes)
		}
		pid, _ := s.Running(t.Context())

		h.change(t, func(w *topology.Workspace) {
			w.Settings = map[string]string{"maintenance_work_mem": "33MB", "max_connections": "40"}
			w.Size, _ = topology.ParseSize("512MiB/1")
		})
		notes := h.apply(t, ApplyServerInput{})
		if diff := cmp.Diff([]string{"waits for a restart: max_connections, shared_buffers"}, notes); diff != "" {
			t.Error(diff)
		}
		if show("work_mem") == "7MB" || show("maintenance_work_mem") != "33MB" || show("max_connections") != "25" {
			t.Errorf("work_mem %s, maintenance_work_mem %s, max_connections %s", show("work_mem"), show("maintenance_work_mem"), show("max_connections"))
		}
		if now, _ := s.Running(t.Context()); now != pid {
			t.Error("restarted without being asked")
		}
		notes = h.apply(t, ApplyServerInput{Restart: true})
		if diff := cmp.Diff([]string{"restarted for max_connections, shared_buffers"}, notes); diff != "" {
			t.Error(diff)
		}
		if show("max_connections") != "40" || show("shared_buffers") != "128MB" {
			t.Errorf("max_connections %s, shared_buffers %s", show("max_connections"), show("shared_buffers"))
		}
		placed, err := h.placed()
		check(t, err)
		if placed[0].Size.MemoryBytes != 512<<20 {
			t.Errorf("the host counts with %v", placed[0].Size)
		}
	})
}

func TestApplyServerPutsFormerSettingsBackThatLetItStart(t *testing.T) {
	h := newHome(t)
	s := load(t, h.create(t, h.newServer()))
	h.change(t, func(w *topology.Workspace) { w.Settings = map[string]string{"shared_preload_libraries": "nowhere"} }) // past CheckChange
	_, err := as(t, h.ApplyServer, ApplyServerInput{ServerInput: orders, Restart: true})
	if err == nil || !strings.Contains(err.Error(), "nowhere") {
		t.Errorf("%v", err)
	}
	if got := postgrestest.Query(t, s, "postgres", "select current_setting('shared_preload_libraries')"); got != "" {
		t.Errorf("it has %q", got)
	}
}

func TestFirewallFollowsTheGroup(t *testing.T) {
	h := newHome(t)
	made := h.create(t, h.newServer())
	_, err := as(t, h.control.RecordGroupChange, RecordGroupChangeInput{Group: "prod", Firewall: &topology.Firewall{Ranges: []string{"127.0.0.2/32"}}})
	check(t, err)
	h.apply(t, ApplyServerInput{})
	for from, inside := range map[string]bool{"127.0.0.1": false, "127.0.0.2": true} {
		conn, err := admin(t, made, from, "postgres")
		if (err == nil) != inside {
			t.Errorf("from %s: %v", netip.MustParseAddr(from), err)
		}
		if err == nil {
			check(t, conn.Close(t.Context()))
		}
	}
}

func TestWhatPostgreSQLRefusesIsRefusedBeforehand(t *testing.T) {
	postgrestest.InTurn(t, func(t *testing.T, bin postgres.Binaries) {
		h := newHomeOf(t, bin)
		h.create(t, h.newServer())
		for want, change := range map[string]func(*NewServer){
			`invalid value for parameter "work_mem": "much"`:     func(s *NewServer) { s.Settings = map[string]string{"work_mem": "much"} },
			`unrecognized configuration parameter "work_memory"`: func(s *NewServer) { s.Settings = map[string]string{"work_memory": "1MB"} },
			`parameter "block_size" cannot be changed`:           func(s *NewServer) { s.Settings = map[string]string{"block_size": "4096"} },
			"must be less than":                                  func(s *NewServer) { s.Settings = map[string]string{"superuser_reserved_connections": "99"} },
			`could not access file "nowhere"`:                    func(s *NewServer) { s.Settings = map[string]string{"shared_preload_libraries": "nowhere"} },
			"12.0.0.0/99":                                        func(s *NewServer) { s.HBA = []string{"host all all 12.0.0.0/99 scram-sha-256"} },
			`"handshake"`:                                        func(s *NewServer) { s.HBA = []string{"host all all 10.0.0.0/8 handshake"} },
			"user name map":                                      func(s *NewServer) { s.Ident = []string{"ops root"} },
		} {
			in := h.newServer()
			change(&in)
			err := does(t, h.CheckServer, in)
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("want %q: %v", want, err)
			}
			if want == "user name map" || strings.HasPrefix(want, "could not") {
				continue // the two lead to the same trial
			}
			again := CheckChangeInput{ServerInput: orders, Size: in.Size, Settings: in.Settings, HBA: in.HBA, Ident: in.Ident}
			if err := does(t, h.CheckChange, again); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("want %q of a change: %v", want, err)
			}
		}
		in := h.newServer()
		in.Init.Locale = "tlh_QO.UTF-8"
		if err := does(t, h.CheckServer, in); err == nil || !strings.Contains(err.Error(), "locale") {
			t.Errorf("a locale that is not there: %v", err)
		}
		in = h.newServer()
		in.Settings, in.HBA = map[string]string{"work_mem": "9MB"}, []string{"hostssl all all 10.0.0.0/8 scram-sha-256"}
		check(t, does(t, h.CheckServer, in))
		left, err := filepath.Glob(filepath.Join(h.DataDir, trialPrefix+"*"))
		if err != nil || len(left) > 0 {
			t.Errorf("left behind: %v %v", left, err)
		}
	})
}

// TestMakeServerGoesOn ends the making at every moment that a slow machine has, and begins it again.
func TestMakeServerGoesOn(t *testing.T) {
	h := newHome(t)
	in := h.newServer()
	in.Settings = map[string]string{"max_connections": "33"}
	h.record(t, in)
	attempts := 0
	for limit := 20 * time.Millisecond; ; limit += 170 * time.Millisecond {
		attempts++
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		_, err := h.makeServer(ctx, in)
		cancel()
		if err == nil {
			break
		}
		if !fault.Is(err, fault.Transient) && !strings.Contains(err.Error(), "killed") && !strings.Contains(err.Error(), "context deadline") {
			t.Fatalf("after %s: %v", limit, err)
		}
	}
	if attempts < 3 {
		t.Errorf("it was done after %d attempts: too few to show anything", attempts)
	}
	made := h.create(t, in)
	conn, err := admin(t, made, "127.0.0.1", "postgres")
	check(t, err)
	defer conn.Close(t.Context())
	want := map[string]string{"max_connections": "33", "shared_buffers": "64MB"}
	if diff := cmp.Diff(want, settingsOf(t, conn, want)); diff != "" {
		t.Error(diff)
	}
	left, err := filepath.Glob(filepath.Join(made.Site.Instance, initPrefix+"*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

func TestStopStartRemove(t *testing.T) {
	h := newHome(t)
	made := h.create(t, h.newServer())
	s := load(t, made)
	check(t, does(t, h.StopServer, StopServerInput{ServerInput: orders}))
	check(t, does(t, h.StopServer, StopServerInput{ServerInput: orders}))
	if _, running := s.Running(t.Context()); running {
		t.Fatal("it runs")
	}
	h.change(t, func(w *topology.Workspace) { w.Settings = map[string]string{"max_connections": "41"} })
	done, err := as(t, h.StartServer, orders)
	check(t, err)
	if diff := cmp.Diff([]string{"restarted for max_connections"}, done.Notes); diff != "" {
		t.Error(diff)
	}
	if err := does(t, h.RemoveServer, orders); err == nil || !strings.Contains(err.Error(), "not terminated") {
		t.Errorf("%v", err)
	}
	h.change(t, func(w *topology.Workspace) { w.State = topology.WorkspaceTerminated })
	check(t, does(t, h.RemoveServer, orders))
	check(t, does(t, h.RemoveServer, orders))
	if _, running := s.Running(t.Context()); running {
		t.Error("it runs")
	}
	if entries, err := os.ReadDir(h.DataDir); err != nil || len(entries) > 0 {
		t.Errorf("left: %v %v", entries, err)
	}
}

func TestRemoveServerLeavesOthersAlone(t *testing.T) {
	h := newHome(t)
	h.create(t, h.newServer())
	h.change(t, func(w *topology.Workspace) { w.State = topology.WorkspaceTerminated })
	strange := instanceDir(h.DataDir, "prod", "orders", 7)
	check(t, os.MkdirAll(strange, 0o755))
	check(t, writeState(strange, ownerFile, owner{Group: "prod", Workspace: "other", Epoch: 7}))
	if err := does(t, h.RemoveServer, orders); err == nil || !strings.Contains(err.Error(), "does not say") {
		t.Errorf("%v", err)
	}
	if _, err := os.Stat(strange); err != nil {
		t.Error(err)
	}
}

func TestDuty(t *testing.T) {
	h := newHome(t)
	const dir = "/srv/prod/orders/e1"
	l := func(change func(*topology.Group, *topology.Workspace)) catalog.Loaded {
		site := topology.Site{Kind: topology.Managed, Host: "east-1", Instance: dir}
		g := topology.Group{Name: "prod", Primary: "east", Secondary: "west", Active: "east", Authority: "west",
			Workspaces: []topology.Workspace{{Name: "orders", Sites: map[string]topology.Site{"east": site}}}}
		change(&g, &g.Workspaces[0])
		return catalog.Loaded{Group: g, From: []string{"west"}}
	}
	state := func(s topology.WorkspaceState) func(*topology.Group, *topology.Workspace) {
		return func(_ *topology.Group, w *topology.Workspace) { w.State = s }
	}
	behind := l(state(topology.WorkspaceSuspended))
	behind.From = []string{"east"}
	for name, c := range map[string]struct {
		l    catalog.Loaded
		want duty
	}{
		"serves":                {l(state(topology.WorkspaceActive)), serve},
		"suspended":             {l(state(topology.WorkspaceSuspended)), rest},
		"terminated":            {l(state(topology.WorkspaceTerminated)), rest},
		"on its way to suspend": {l(state(topology.WorkspaceSuspending)), leave},
		"being made":            {l(state(topology.WorkspacePending)), leave},
		"a bucket behind":       {behind, leave},
		"failed over":           {l(func(g *topology.Group, _ *topology.Workspace) { g.Active = "west" }), leave},
		"on another host": {l(func(_ *topology.Group, w *topology.Workspace) {
			w.Sites["east"] = topology.Site{Kind: topology.Managed, Host: "east-2", Instance: dir}
		}), leave},
		"in another folder": {l(func(_ *topology.Group, w *topology.Workspace) {
			w.Sites["east"] = topology.Site{Kind: topology.Managed, Host: "east-1", Instance: dir + "0"}
		}), leave},
	} {
		if got := h.duty(c.l, dir, owner{Group: "prod", Workspace: "orders"}); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}

func TestKeeperFollowsTheCatalog(t *testing.T) {
	h := newHome(t)
	s := load(t, h.create(t, h.newServer()))
	k := &keeper{Target: h.Target, starts: map[string]starts{}}
	runs := func(want bool, when string) {
		t.Helper()
		k.compared = time.Time{} // a minute has passed
		check(t, k.look(t.Context()))
		if _, got := s.Running(t.Context()); got != want {
			t.Errorf("%s: it runs: %v", when, got)
		}
	}
	pid := postgrestest.PID(t, s)
	check(t, syscall.Kill(pid, syscall.SIGKILL))
	awaitGone(t, s, pid)
	runs(true, "killed")
	check(t, s.Stop(t.Context(), postgres.Fast))
	runs(true, "stopped by hand")
	h.change(t, func(w *topology.Workspace) { w.State = topology.WorkspaceSuspended })
	runs(false, "suspended")
	h.change(t, func(w *topology.Workspace) { w.State = topology.WorkspaceActive })
	runs(true, "resumed")
	check(t, s.Kill(t.Context()))
	_, err := h.Catalog.Update(t.Context(), "prod", func(g *topology.Group) error { g.Secondary, g.Active = "west", "west"; return nil })
	check(t, err)
	runs(false, "failed over to west")
}

func awaitGone(t *testing.T, s *postgres.Server, pid int) {
	t.Helper()
	devtest.Until(t, "the server's process to be gone", func() bool {
		now, running := s.Running(t.Context())
		return !running || now != pid
	})
}

func TestStartsSlowDown(t *testing.T) {
	var waits []time.Duration
	for failed := range 10 {
		waits = append(waits, starts{failed: failed}.wait())
	}
	want := []time.Duration{0, 0, 10e9, 20e9, 40e9, 80e9, 160e9, 300e9, 300e9, 300e9}
	if diff := cmp.Diff(want, waits); diff != "" {
		t.Error(diff)
	}
}
