package faults_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/smartdr/smartdr/internal/catalog"
	"github.com/smartdr/smartdr/internal/devenv"
	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/internal/objectstore"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/topology"
)

// side is the second workspace of a pair.
const side = "side"

// pair is a group of two adopted workspaces, main and side, and two hosts in the secondary region.
type pair struct {
	*world
	sideServer *devenv.Postgres
}

func newPair(t *testing.T, major, mainMB, sideMB int) *pair {
	t.Helper()
	env, err := devenv.StartEnv(t.Context(), devenv.EnvOptions{
		Dir: filepath.Join(devtest.Dir(t), "env"), Major: major, NoUI: true, Hosts: map[string]int{devenv.Secondary: 2},
		AfterServer: func(ctx context.Context, p *devenv.Postgres) error { return createDatabase(ctx, p, mainMB) },
	})
	if err != nil {
		t.Fatal(err)
	}
	p := &pair{world: &world{t: t, env: env}}
	t.Cleanup(p.end)
	p.sideServer, err = devenv.StartPostgres(t.Context(), devenv.PostgresOptions{Dir: filepath.Join(env.Dir, "regions", devenv.Primary, side), Major: major})
	if err == nil {
		err = createDatabase(t.Context(), p.sideServer, sideMB)
	}
	if err != nil {
		t.Fatal(err)
	}
	devtest.Until(t, "both hosts of the region to be known", func() bool { // or one is where both addresses are kept
		var hosts struct{ Hosts []struct{ Name string } }
		err := json.Unmarshal([]byte(p.smartdr("hosts", "--region", devenv.Secondary, "-o", "json")), &hosts)
		return err == nil && len(hosts.Hosts) == 2
	})
	p.create()
	return p
}

// create makes the group, replicates it and waits until both workspaces are in sync.
func (p *pair) create() {
	p.t.Helper()
	file := filepath.Join(p.env.Dir, "pair.yaml")
	text := fmt.Sprintf("name: %s\nprimary: %s\nworkspaces:\n", group, devenv.Primary)
	for name, s := range map[string]*devenv.Postgres{workspace: p.env.Server, side: p.sideServer} {
		text += fmt.Sprintf("  - name: %s\n    connection: %s\n    passwordFile: %s\n", name, s.URL("postgres", "postgres"), s.PasswordFile)
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		p.t.Fatal(err)
	}
	p.smartdr("group", "create", "-f", file)
	p.smartdr("configure", "--group", group, "--secondary", devenv.Secondary)
	devtest.Until(p.t, "both workspaces to be Active", func() bool {
		s, err := p.status()
		if err != nil || len(s.Workspaces) != 2 {
			return false
		}
		for _, w := range s.Workspaces {
			if len(w.Databases) == 0 {
				return false
			}
			for _, d := range w.Databases {
				if d.State != topology.Active {
					return false
				}
			}
		}
		return true
	})
}

func (p *pair) lose() {
	p.t.Helper()
	if err := errors.Join(p.env.KillRegion(p.t.Context(), devenv.Primary), p.sideServer.Kill(p.t.Context())); err != nil {
		p.t.Fatal(err)
	}
}

// operation returns the last operation's account, by workspace.
func (p *pair) operation() (op topology.Operation, by map[string]topology.Recovered) {
	p.t.Helper()
	op, by = p.lastOperation(), map[string]topology.Recovered{}
	for _, w := range op.Workspaces {
		by[w.Workspace] = w
	}
	return op, by
}

// rows counts what a workspace serves in the secondary region.
func (p *pair) rows(name string) string {
	p.t.Helper()
	s, err := p.status()
	if err != nil {
		p.t.Fatal(err)
	}
	site := s.Group.Workspace(name).Sites[devenv.Secondary]
	server, err := postgres.Load(site.Instance)
	if err != nil {
		p.t.Fatalf("%s, at %+v: %v", name, site, err)
	}
	var n string
	devtest.Until(p.t, name+" to answer", func() bool {
		conn, err := server.Open(p.t.Context(), appDB)
		if err != nil {
			return false
		}
		defer conn.Close(p.t.Context()) //nolint:errcheck // nothing hangs on a clean goodbye
		return conn.QueryRow(p.t.Context(), "select count(*)::text from ballast").Scan(&n) == nil
	})
	return n
}

// resize sets what main asks of a host, in the only bucket that is left.
func (p *pair) resize(size topology.Size) {
	p.t.Helper()
	s := devtest.Open(p.t, p.env.Regions[devenv.Secondary].Gateway)
	c := catalog.Catalog{Stores: map[string]objectstore.Store{devenv.Secondary: objectstore.Sub(s, objectstore.Root)}}
	_, err := c.Update(p.t.Context(), group, func(g *topology.Group) error {
		g.Workspace(workspace).Size = size
		return nil
	})
	if err != nil {
		p.t.Fatal(err)
	}
}

func exitCode(err error) int {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode()
	}
	return -1
}

// TestAWorkspaceThatCannotBeRestoredKeepsNoneDown damages what the bucket holds of one of two workspaces: the other one serves,
// and the damaged one follows when it was put right.
func TestAWorkspaceThatCannotBeRestoredKeepsNoneDown(t *testing.T) {
	t.Parallel()
	p := newPair(t, majorsInTurn(t, 0)[0], 20, 5)
	p.lose()

	p.resize(topology.Size{MemoryBytes: 4000 << 30, CPUs: 64})
	_, err := p.try("failover", "--group", group, "--yes")
	if err == nil || !strings.Contains(err.Error(), "workspace main is larger than any host") || !strings.Contains(err.Error(), "4000GiB") {
		t.Fatalf("a workspace larger than any host: %v", err)
	}
	if s, err := p.status(); err != nil || s.Group.Epoch != 1 || s.Group.Operation != nil || p.smartdr("operations", "--group", group, "-o", "json") != "[]\n" {
		t.Fatalf("something was changed: epoch %d, operation %v, %v", s.Group.Epoch, s.Group.Operation, err)
	}
	p.resize(topology.Size{})

	putBack := damage(t, p.largest(".pack", func(path string) bool { return strings.Contains(path, "/workspaces/"+side+"/") }), riddle)
	out, err := p.try("failover", "--group", group, "--yes")
	if exitCode(err) != 8 || !strings.Contains(err.Error(), "workspace side does not serve") || !strings.Contains(err.Error(), "main serves") {
		t.Fatalf("exit code %d, want 8:\n%s%v", exitCode(err), out, err)
	}
	t.Log(err)
	op, by := p.operation()
	if op.State != topology.OperationFailed || !by[workspace].Serves || by[side].Serves || by[side].Error == "" || by[workspace].Host == by[side].Host {
		t.Fatalf("recorded as %+v", op)
	}
	s, err := p.status()
	if err != nil || s.Group.Active != devenv.Secondary || s.Group.Operation != nil {
		t.Fatalf("active %s, operation %v, %v", s.Group.Active, s.Group.Operation, err)
	}
	if got := p.rows(workspace); got != "80000" {
		t.Errorf("main serves %s rows", got)
	}
	if _, err := p.try("failover", "--group", group, "--yes"); err == nil || !strings.Contains(err.Error(), "--resume") {
		t.Errorf("another failover on top: %v", err)
	}

	for _, h := range p.env.Regions[devenv.Secondary].Hosts {
		if err := h.Worker.Restart(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	putBack()
	p.smartdr("failover", "--group", group, "--yes", "--resume")
	p.checkResumed(op, by)
	if _, err := p.try("failover", "--group", group, "--yes", "--resume"); err == nil || !strings.Contains(err.Error(), "nothing to resume") {
		t.Errorf("nothing is left to resume: %v", err)
	}
}

// checkResumed checks that both workspaces serve after the operation was resumed, the first one where it was.
func (p *pair) checkResumed(before topology.Operation, was map[string]topology.Recovered) {
	p.t.Helper()
	op, by := p.operation()
	if op.ID != before.ID || op.Epoch != before.Epoch || op.State != topology.OperationCompleted || !by[side].Serves || by[side].Error != "" {
		p.t.Errorf("after %s of epoch %d: %+v", before.ID, before.Epoch, op)
	}
	s, err := p.status()
	if err != nil {
		p.t.Fatal(err)
	}
	for name, rows := range map[string]string{workspace: "80000", side: "20000"} {
		site := s.Group.Workspace(name).Sites[devenv.Secondary]
		if site.Host != by[name].Host || site.Endpoint.Hosts[0] != by[name].Endpoint.Hosts[0] {
			p.t.Errorf("%s is at %+v, and the account says %+v", name, site, by[name])
		}
		if got := p.rows(name); got != rows {
			p.t.Errorf("%s serves %s rows, want %s", name, got, rows)
		}
	}
	if by[workspace].Endpoint.Hosts[0] != was[workspace].Endpoint.Hosts[0] {
		p.t.Errorf("main moved from %v to %v", was[workspace].Endpoint, by[workspace].Endpoint)
	}
}

// TestAHostThatDiesDuringARestore loses the machine that one of two workspaces is being restored on. The other one serves;
// resumed, the failover brings the lost one up on the host that is left.
func TestAHostThatDiesDuringARestore(t *testing.T) {
	t.Parallel()
	p := newPair(t, majorsInTurn(t, 1)[0], 20, 5)
	p.lose()
	ended := make(chan error, 1)
	go func() {
		_, err := p.try("failover", "--group", group, "--yes", "-o", "json")
		ended <- err
	}()
	lost := p.hostOf(side)
	if err := lost.Kill(t.Context()); err != nil {
		t.Fatal(err)
	}
	err := <-ended
	var said struct{ Error, Hint string }
	if exitCode(err) != 8 || !strings.Contains(err.Error(), lost.Name) {
		t.Fatalf("exit code %d, want 8: %v", exitCode(err), err)
	}
	if at := strings.LastIndex(err.Error(), `{"error"`); at < 0 || json.Unmarshal([]byte(err.Error()[at:]), &said) != nil || !strings.Contains(said.Hint, "--resume") {
		t.Errorf("said %+v", said)
	}
	op, by := p.operation()
	if !by[workspace].Serves || by[side].Serves || by[side].Host != lost.Name {
		t.Fatalf("recorded as %+v", op)
	}
	p.smartdr("failover", "--group", group, "--yes", "--resume")
	p.checkResumed(op, by)
	if _, now := p.operation(); now[side].Host == lost.Name {
		t.Errorf("side is on the host that was lost")
	}
}

// hostOf waits until a host has begun to restore a workspace.
func (p *pair) hostOf(name string) (on *devenv.Host) {
	p.t.Helper()
	devtest.Until(p.t, "a host to begin with "+name, func() bool {
		for _, h := range p.env.Regions[devenv.Secondary].Hosts {
			if _, err := os.Stat(filepath.Join(h.DataDir(), group, name, "e2", "owner.json")); err == nil {
				on = h
			}
		}
		return on != nil
	})
	return on
}
