package devenv_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/smartdr/smartdr/internal/devenv"
	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/topology"
)

func startEnv(t *testing.T, opts devenv.EnvOptions) *devenv.Env {
	t.Helper()
	opts.Dir, opts.NoUI, opts.NoWorkers = devtest.Dir(t), true, true
	e, err := devenv.StartEnv(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), devtest.Patience)
		defer cancel()
		if err := e.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	return e
}

func TestALostRegionLeavesTheOther(t *testing.T) {
	e := startEnv(t, devenv.EnvOptions{})
	role := topology.Source{ConnString: e.Server.URL(devenv.ReplicationRole, "postgres"), PasswordFile: filepath.Join(e.Dir, "regions", devenv.Primary, "replication.password")}
	conn, err := postgres.Open(t.Context(), role)
	if err != nil {
		t.Fatalf("the replication role cannot connect: %v", err)
	}
	conn.Close(t.Context())
	if err := e.KillRegion(t.Context(), devenv.Primary); err != nil {
		t.Fatal(err)
	}
	if _, err := postgres.Open(t.Context(), role); !fault.Is(err, fault.Transient) {
		t.Errorf("PostgreSQL of the lost region: %v, want a connection that is refused", err)
	}
	lost, left := devtest.Open(t, e.Regions[devenv.Primary].Gateway), devtest.Open(t, e.Regions[devenv.Secondary].Gateway)
	if _, err := lost.Head(t.Context(), "k"); !fault.Is(err, fault.Transient) {
		t.Errorf("the store of the lost region: %v", err)
	}
	if _, err := left.Head(t.Context(), "k"); !fault.Is(err, fault.Missing) {
		t.Errorf("the store of the other region: %v", err)
	}
	if found := devenv.Leftovers(filepath.Join(e.Dir, "regions", devenv.Primary)); len(found) > 0 {
		t.Errorf("some of the lost region lives:\n%s", strings.Join(found, "\n"))
	}
	if found := devenv.Leftovers(e.Dir); len(found) != 2 {
		t.Errorf("want Temporal and one store still running, got:\n%s", strings.Join(found, "\n"))
	}
}

func TestAnotherProcessCanEndIt(t *testing.T) {
	e := startEnv(t, devenv.EnvOptions{Outlive: true})
	dir := devtest.Dir(t)
	if err := e.State().Save(dir); err != nil {
		t.Fatal(err)
	}
	s, err := devenv.LoadState(dir)
	if err != nil {
		t.Fatal(err)
	}
	if got := len(s.Running()); got != 3 { // two stores, Temporal
		t.Errorf("%d processes run, want 3", got)
	}
	mine := s
	mine.Processes = []devenv.Recorded{{Name: "somebody else's", PID: os.Getpid(), Start: "1"}}
	if got := mine.Running(); len(got) > 0 {
		t.Errorf("a process that got the number later is taken for ours: %v", got)
	}
	if err := s.Down(t.Context()); err != nil {
		t.Fatal(err)
	}
	if found := devenv.Leftovers(e.Dir); len(found) > 0 {
		t.Errorf("left behind:\n%s", strings.Join(found, "\n"))
	}
	if _, err := devenv.LoadState(devtest.Dir(t)); !fault.Is(err, fault.Missing) {
		t.Errorf("an empty folder: %v", err)
	}
}

func TestAStartThatFailsLeavesNothing(t *testing.T) {
	dir := devtest.Dir(t)
	_, err := devenv.StartEnv(t.Context(), devenv.EnvOptions{Dir: dir, NoUI: true, NoWorkers: true, Outlive: true, Settings: map[string]string{"wal_level": "sometimes"}})
	if err == nil || !strings.Contains(err.Error(), "wal_level") {
		t.Errorf("got %v, want what PostgreSQL says", err)
	}
	if found := devenv.Leftovers(dir); len(found) > 0 {
		t.Errorf("left behind:\n%s", strings.Join(found, "\n"))
	}
}
