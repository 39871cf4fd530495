package devenv

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/smartdr/smartdr/internal/postgres/postgrestest/ports"
)

// The regions of an Env.
const (
	Primary   = "west"
	Secondary = "east"
)

// EnvOptions describe two regions. The zero value of all but Dir is a choice.
type EnvOptions struct {
	Dir         string         // everything is below it
	Major       int            // of the primary's PostgreSQL; default: the newest that is installed
	NoUI        bool           // Temporal without web UI
	Hosts       map[string]int // by region; how many, each with a worker; default: one
	NoWorkers   bool           // regions without workers; the caller starts them
	NoPrimary   bool           // no PostgreSQL in the primary region
	Settings    map[string]string
	WellKnown   bool                                   // Temporal on its usual ports, 7233 and 8233, if they are free
	Outlive     bool                                   // everything lives on when this process ends
	Cuts        bool                                   // the lines between the primary region and the rest can be cut
	AfterServer func(context.Context, *Postgres) error // prepares the primary, while the rest starts
}

// Env is two regions on this host, Temporal beside them, and a PostgreSQL server in the first one that nobody has
// adopted yet.
type Env struct {
	Dir      string
	Temporal *Temporal
	Regions  map[string]*Region
	Server   *Postgres // in region Primary
	Cuts     *Cuts     // nil without EnvOptions.Cuts

	opts EnvOptions
}

// ReplicationRole is the role that SmartDR connects with: neither a superuser nor an owner of anything.
const ReplicationRole = "smartdr"

// StartEnv starts everything and waits until it is ready. After an error nothing is left running.
func StartEnv(ctx context.Context, opts EnvOptions) (*Env, error) {
	e := &Env{Dir: opts.Dir, Regions: map[string]*Region{}, opts: opts}
	if err := e.start(ctx); err != nil {
		stopCtx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
		defer cancel()
		return nil, errors.Join(err, e.Stop(stopCtx))
	}
	return e, nil
}

func (e *Env) start(ctx context.Context) error {
	for _, name := range []string{Primary, Secondary} {
		r, err := e.newRegion(ctx, name)
		if err != nil {
			return err
		}
		e.Regions[name] = r
	}
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) {
		e.Temporal, err = e.startTemporal(gctx)
		return err
	})
	g.Go(func() error { return e.startServer(gctx) })
	if err := g.Wait(); err != nil {
		return err
	}
	if err := e.startCuts(); err != nil {
		return err
	}
	if err := e.writeConfig(); err != nil {
		return err
	}
	return e.startWorkers(ctx)
}

func (e *Env) startTemporal(ctx context.Context) (*Temporal, error) {
	o := TemporalOptions{Dir: filepath.Join(e.Dir, "temporal"), NoUI: e.opts.NoUI, Outlive: e.opts.Outlive}
	if e.opts.WellKnown {
		o.Port, o.UIPort = ports.IfFree(7233), ports.IfFree(8233)
	}
	return StartTemporal(ctx, o)
}

func (e *Env) startServer(ctx context.Context) (err error) {
	if e.opts.NoPrimary {
		return nil
	}
	dir := e.serverDir()
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return err
	}
	e.Server, err = StartPostgres(ctx, PostgresOptions{Dir: dir, Major: e.opts.Major, Settings: e.opts.Settings, Outlive: e.opts.Outlive})
	if err != nil {
		return err
	}
	if err := e.createReplicationRole(ctx); err != nil {
		return err
	}
	if err := os.WriteFile(e.GroupPath(), []byte(e.groupYAML()), 0o644); err != nil || e.opts.AfterServer == nil {
		return err
	}
	return e.opts.AfterServer(ctx, e.Server)
}

func (e *Env) serverDir() string { return filepath.Join(e.Dir, "regions", Primary, "primary") }

// createReplicationRole does what the manual tells an operator to do before a server is adopted.
func (e *Env) createReplicationRole(ctx context.Context) error {
	password := newPassword()
	if err := os.WriteFile(e.ReplicationPasswordFile(), []byte(password+"\n"), 0o600); err != nil {
		return err
	}
	return e.Server.Exec(ctx, "postgres",
		fmt.Sprintf("create role %s login replication password '%s'", ReplicationRole, password),
		"grant pg_monitor to "+ReplicationRole,
		"grant select on pg_hba_file_rules, pg_ident_file_mappings to "+ReplicationRole,
		"grant execute on function pg_hba_file_rules(), pg_ident_file_mappings(), pg_show_all_file_settings() to "+ReplicationRole)
}

// ReplicationPasswordFile holds the password of ReplicationRole.
func (e *Env) ReplicationPasswordFile() string {
	return filepath.Join(e.Dir, "regions", Primary, "replication.password")
}

func (e *Env) startWorkers(ctx context.Context) error {
	if e.opts.NoWorkers {
		return nil
	}
	g, ctx := errgroup.WithContext(ctx)
	for _, r := range e.Regions {
		g.Go(func() error { return r.StartWorker(ctx, e.Temporal) })
	}
	return g.Wait()
}

// ConfigPath is where smartdr.yaml is.
func (e *Env) ConfigPath() string { return filepath.Join(e.Dir, "smartdr.yaml") }

// GroupPath is where a description of a group is that consists of the primary server.
func (e *Env) GroupPath() string { return filepath.Join(e.Dir, "group.yaml") }

func (e *Env) yaml() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Two regions on this host; written by smartdr-dev.\ntemporal:\n  address: %s\n  namespace: default\nregions:\n", e.Temporal.Addr())
	for _, name := range []string{Primary, Secondary} {
		b.WriteString(e.Regions[name].yaml(PostgresDirs()))
	}
	return b.String()
}

// GroupName is the name of the group in GroupPath's file.
const GroupName = "demo"

func (e *Env) groupYAML() string {
	return fmt.Sprintf("# For `smartdr group create -f`; written by smartdr-dev.\nname: %s\nprimary: %s\nworkspaces:\n  - name: main\n    connection: %s\n    passwordFile: %s\n",
		GroupName, Primary, e.Server.URL(ReplicationRole, "postgres"), e.ReplicationPasswordFile())
}

// KillRegion ends everything in a region with SIGKILL, all at the same time: an object store that outlived its
// PostgreSQL by a moment would make the loss smaller than it can be.
func (e *Env) KillRegion(ctx context.Context, name string) error {
	var g errgroup.Group
	if name == Primary && e.Server != nil {
		g.Go(func() error { return e.Server.Kill(ctx) })
	}
	g.Go(func() error { return e.Regions[name].Kill(ctx) })
	return g.Wait()
}

// Stop ends everything. It asks nobody: what runs here is made to be killed, and its data are not worth the wait.
func (e *Env) Stop(ctx context.Context) error {
	var errs []error
	if e.Cuts != nil {
		errs = append(errs, e.Cuts.close())
	}
	if e.Temporal != nil && e.Temporal.Process != nil {
		errs = append(errs, e.Temporal.Kill())
	}
	for _, r := range e.Regions {
		errs = append(errs, r.Kill(ctx))
	}
	// Whatever else has a description below here: also what a start that failed half-way left.
	servers, err := serversBelow(e.Dir)
	errs = append(errs, err)
	for _, s := range servers {
		errs = append(errs, s.Kill(ctx))
	}
	if e.Server != nil {
		errs = append(errs, e.Server.Kill(ctx))
	}
	return errors.Join(errs...)
}
