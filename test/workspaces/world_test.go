// Package workspaces_test lives with a group as an operator does: workspaces that SmartDR makes beside one that was there,
// changed, killed, suspended, resumed, failed over and terminated. Everything is real, and asked for by the CLI.
package workspaces_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/smartdr/smartdr/internal/devenv"
	"github.com/smartdr/smartdr/internal/devenv/devtest"
	"github.com/smartdr/smartdr/internal/devenv/ledger"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

const (
	group = devenv.GroupName
	bank  = "bank" // database with a ledger
)

// world is two regions, with a group in the first one.
type world struct {
	t   *testing.T
	env *devenv.Env
}

func newWorld(t *testing.T, opts devenv.EnvOptions) *world {
	t.Helper()
	opts.Dir, opts.NoUI = filepath.Join(devtest.Dir(t), "env"), true
	env, err := devenv.StartEnv(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, env: env}
	t.Cleanup(func() { devtest.End(t, env) })
	return w
}

// smartdr runs the CLI and fails the test unless it exits with 0.
func (w *world) smartdr(args ...string) string {
	w.t.Helper()
	out, err := w.env.SmartDR(w.t.Context(), args...)
	if err != nil {
		w.t.Fatal(err)
	}
	return out
}

// refused runs the CLI, which must refuse with a text.
func (w *world) refused(want string, args ...string) {
	w.t.Helper()
	out, err := w.env.SmartDR(w.t.Context(), args...)
	if err == nil || !strings.Contains(err.Error(), want) {
		w.t.Errorf("smartdr %s: want %q, got %v\n%s", strings.Join(args, " "), want, err, out)
	}
}

// createGroup creates the group from a description of its workspaces.
func (w *world) createGroup(workspaces string) {
	w.t.Helper()
	file := filepath.Join(w.env.Dir, "workspaces.yaml")
	text := fmt.Sprintf("name: %s\nprimary: %s\nfirewall: [127.0.0.0/8]\nworkspaces:%s\n", group, devenv.Primary, workspaces)
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		w.t.Fatal(err)
	}
	if _, notes := w.says("PAGER=", "group", "create", "-f", file); strings.TrimSpace(workspaces) == "[]" && !strings.Contains(notes, "smartdr workspace create --group "+group) {
		w.t.Errorf("it is not said what comes next:\n%s", notes)
	}
}

func (w *world) status() (s topology.GroupStatus, err error) {
	out, err := w.env.SmartDR(w.t.Context(), "status", "--group", group, "-o", "json")
	if err != nil {
		return s, err
	}
	return s, json.Unmarshal([]byte(out), &s)
}

// workspace returns a workspace as the catalog has it.
func (w *world) workspace(name string) topology.Workspace {
	w.t.Helper()
	s, err := w.status()
	if err != nil {
		w.t.Fatal(err)
	}
	found := s.Group.Workspace(name)
	if found == nil {
		w.t.Fatalf("the group has no workspace %s", name)
	}
	return *found
}

// waitSynced waits until every database of these workspaces is Active.
func (w *world) waitSynced(names ...string) {
	w.t.Helper()
	devtest.Until(w.t, fmt.Sprintf("the databases of %v to be Active", names), func() bool {
		s, err := w.status()
		active := map[string]bool{}
		for _, ws := range s.Workspaces {
			active[ws.Workspace] = len(ws.Databases) > 0
			for _, d := range ws.Databases {
				active[ws.Workspace] = active[ws.Workspace] && d.State == topology.Active
			}
		}
		for _, name := range names {
			if !active[name] {
				return false
			}
		}
		return err == nil
	})
}

// server returns the server that SmartDR runs for a workspace in the region that serves.
func (w *world) server(name string) *postgres.Server {
	w.t.Helper()
	s, err := w.status()
	if err != nil {
		w.t.Fatal(err)
	}
	server, err := postgres.Load(s.Group.Workspace(name).Sites[s.Group.Active].Instance)
	if err != nil {
		w.t.Fatal(err)
	}
	return server
}

// admin connects to a managed workspace as its administrator, over TCP, where the catalog says.
func (w *world) admin(ctx context.Context, name, database string) (*pgx.Conn, error) {
	s, err := w.status()
	if err != nil {
		return nil, err
	}
	home, site := s.Group.Workspace(name).Sites[s.Group.Primary], s.Group.Workspace(name).Sites[s.Group.Active]
	b, err := os.ReadFile(filepath.Join(home.Instance, "admin.password"))
	if err != nil {
		return nil, err
	}
	at := site.Endpoint.Hosts[0]
	cfg, err := pgx.ParseConfig(fmt.Sprintf("host=%s port=%d user=admin dbname=%s sslmode=disable connect_timeout=5", at.Host, at.Port, database))
	if err != nil {
		return nil, err
	}
	cfg.Password = strings.TrimSpace(string(b))
	return pgx.ConnectConfig(ctx, cfg)
}

// createBank makes a database with a ledger, as the administrator.
func (w *world) createBank(name string) {
	w.t.Helper()
	w.exec(name, "postgres", "create database "+bank)
	conn, err := w.admin(w.t.Context(), name, bank)
	if err != nil {
		w.t.Fatal(err)
	}
	defer conn.Close(w.t.Context()) //nolint:errcheck // nothing hangs on a clean goodbye
	if err := ledger.Setup(w.t.Context(), conn); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) exec(name, database, sql string) {
	w.t.Helper()
	conn, err := w.admin(w.t.Context(), name, database)
	if err != nil {
		w.t.Fatal(err)
	}
	defer conn.Close(w.t.Context()) //nolint:errcheck // nothing hangs on a clean goodbye
	if _, err := conn.Exec(w.t.Context(), sql); err != nil {
		w.t.Fatal(err)
	}
}

// show returns a setting of a managed workspace.
func (w *world) show(name, setting string) (value string) {
	w.t.Helper()
	conn, err := w.admin(w.t.Context(), name, "postgres")
	if err != nil {
		w.t.Fatal(err)
	}
	defer conn.Close(w.t.Context()) //nolint:errcheck // only read from
	if err := conn.QueryRow(w.t.Context(), "select current_setting($1)", setting).Scan(&value); err != nil {
		w.t.Fatal(err)
	}
	return value
}

// write begins to write to a managed workspace's ledger.
func (w *world) write(name string) *ledger.Load {
	w.t.Helper()
	l, err := ledger.Start(w.t.Context(), func(ctx context.Context) (*pgx.Conn, error) { return w.admin(ctx, name, bank) },
		ledger.Options{Name: fmt.Sprintf("load%d", time.Now().UnixNano()), Pause: 20 * time.Millisecond})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(l.Stop)
	return l
}

// serves waits until a managed workspace takes connections.
func (w *world) serves(name string) {
	w.t.Helper()
	devtest.Until(w.t, name+" to take connections", func() bool {
		conn, err := w.admin(w.t.Context(), name, "postgres")
		return err == nil && conn.Close(w.t.Context()) == nil
	})
}

// last returns the end of the last commit that was acknowledged.
func last(commits []ledger.Commit) (at wal.LSN) {
	for _, c := range commits {
		if c.After != ^wal.LSN(0) {
			at = max(at, c.After)
		}
	}
	return at
}

// await fails the test unless a load has committed this many times.
func await(t *testing.T, l *ledger.Load, commits int) {
	t.Helper()
	devtest.Until(t, fmt.Sprintf("%d commits", commits), func() bool { return l.Count() >= commits })
}

func gone(path string) bool {
	_, err := os.Stat(path)
	return errors.Is(err, os.ErrNotExist)
}
