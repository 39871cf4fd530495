// Package estate is a group in use: workspaces with a ledger in each, clients that write and find the writer by a multi-host
// connection string, and the operations that move the group from side to side. The tests and the benchmarks share it.
package estate

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/smartdr/smartdr/internal/devenv"
	"github.com/smartdr/smartdr/internal/devenv/ledger"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/topology"
)

// Names of what is in use.
const (
	Group    = devenv.GroupName
	Adopted  = "main"   // the workspace that was there already
	Managed  = "orders" // the workspace that SmartDR made
	Database = "bank"   // of each workspace, with the ledger
	User     = "teller" // owns it
)

// Options describe an estate. One without any workspace is refused.
type Options struct {
	Adopted, Managed bool
	Megabytes        int // of data besides the ledger, in each workspace
}

// Estate is a group in use.
type Estate struct {
	Env    *devenv.Env
	Spaces []*Space

	lostAt time.Time // when the region that serves was killed; zero when it lives
}

// Space is one workspace.
type Space struct {
	Name string

	*Finder
	load  *ledger.Load
	moves []ledger.Move
}

// New makes the group and configures replication. It does not wait until that is in sync.
func New(ctx context.Context, env *devenv.Env, o Options) (*Estate, error) {
	e := &Estate{Env: env}
	if o.Adopted {
		s := e.add(Adopted)
		if err := s.fill(ctx, env.Server.Server, o.Megabytes); err != nil {
			return nil, err
		}
	}
	if o.Managed {
		e.add(Managed)
	}
	if err := e.create(ctx, o); err != nil {
		return nil, err
	}
	_, err := env.SmartDR(ctx, "configure", "--group", Group, "--secondary", devenv.Secondary)
	return e, err
}

func (e *Estate) add(name string) *Space {
	s := &Space{Name: name, Finder: &Finder{Env: e.Env, Group: Group, Workspace: name, User: User, Database: Database, Password: rand.Text()}}
	e.Spaces = append(e.Spaces, s)
	return s
}

func (e *Estate) create(ctx context.Context, o Options) error {
	var b strings.Builder
	fmt.Fprintf(&b, "name: %s\nprimary: %s\nfirewall: [127.0.0.0/8]\nworkspaces:\n", Group, devenv.Primary)
	if o.Adopted { // as the superuser, so that a fence can be proven
		source := e.Env.Server.RemoteSource("postgres")
		fmt.Fprintf(&b, "  - name: %s\n    connection: %s\n    passwordFile: %s\n", Adopted, source.ConnString, source.PasswordFile)
	}
	if o.Managed {
		fmt.Fprintf(&b, "  - name: %s\n    size: 256MiB/0.25\n", Managed)
	}
	file := filepath.Join(e.Env.Dir, "estate.yaml")
	if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
		return err
	}
	if _, err := e.Env.SmartDR(ctx, "group", "create", "-f", file); err != nil || !o.Managed {
		return err
	}
	server, err := e.Server(ctx, Managed)
	if err != nil {
		return err
	}
	return e.Space(Managed).fill(ctx, server, o.Megabytes)
}

// Space returns the workspace of that name, or nil.
func (e *Estate) Space(name string) *Space {
	for _, s := range e.Spaces {
		if s.Name == name {
			return s
		}
	}
	return nil
}

// Status returns what `smartdr status` says.
func (e *Estate) Status(ctx context.Context) (s topology.GroupStatus, err error) {
	return s, e.Env.SmartDRJSON(ctx, &s, "status", "--group", Group)
}

// Server returns the server that SmartDR runs for a workspace in the region that serves.
func (e *Estate) Server(ctx context.Context, workspace string) (*postgres.Server, error) {
	s, err := e.Status(ctx)
	if err != nil {
		return nil, err
	}
	w := s.Group.Workspace(workspace)
	if w == nil || w.Sites[s.Group.Active].Instance == "" {
		return nil, fmt.Errorf("SmartDR runs no server of %s in %s", workspace, s.Group.Active)
	}
	return postgres.Load(w.Sites[s.Group.Active].Instance)
}

// fill makes the role, the database and what is in it, through the server's own socket.
func (s *Space) fill(ctx context.Context, server *postgres.Server, megabytes int) error {
	p := devenv.Postgres{Server: server}
	if err := p.Exec(ctx, "postgres", fmt.Sprintf("create role %s login password '%s'", User, s.Password),
		fmt.Sprintf("create database %s owner %s", Database, User)); err != nil {
		return err
	}
	conn, err := server.Open(ctx, Database)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx)) //nolint:errcheck // nothing hangs on a clean goodbye
	if _, err := conn.Exec(ctx, "set role "+User); err != nil {
		return err
	}
	if err := ledger.Setup(ctx, conn); err != nil {
		return err
	}
	// As hard to compress as data gets; about 4,000 rows to a MB.
	_, err = conn.Exec(ctx, `create table ballast as select g as id, (select string_agg(md5(g::text || n), '') from generate_series(1, 7) n) as filler
		from generate_series(1, $1::int * 4000) g`, megabytes)
	return err
}

// Write begins to write in all workspaces, from several sessions each, which go on until Stop.
func (e *Estate) Write(ctx context.Context, pause time.Duration) {
	for _, s := range e.Spaces {
		s.load = ledger.Roam(ctx, s.Connect, ledger.Options{Writers: 3, Pause: pause, Name: "t" + rand.Text()[:6]})
	}
}

// Stop ends the writing and waits for the transfers under way.
func (e *Estate) Stop() {
	for _, s := range e.Spaces {
		if s.load != nil {
			s.load.Stop()
		}
	}
}

// Load returns the workspace's clients.
func (s *Space) Load() *ledger.Load { return s.load }

// ConnectTo connects to one address and no other.
func (s *Space) ConnectTo(ctx context.Context, at topology.HostPort) (*pgx.Conn, error) {
	return devenv.Connect(ctx, fmt.Sprintf("postgresql://%s@%s:%d/%s?sslmode=disable", User, at.Host, at.Port, Database), s.Password)
}
