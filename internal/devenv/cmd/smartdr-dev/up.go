package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/smartdr/smartdr/internal/devenv"
	"github.com/smartdr/smartdr/internal/fault"
)

func up(ctx context.Context) error {
	dir, err := devenv.DevDir()
	if err != nil {
		return err
	}
	if err := refuseIfUp(dir); err != nil {
		return err
	}
	if err := os.RemoveAll(dir); err != nil { // what a machine that was switched off left
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	fmt.Println("Starting two regions, Temporal and a PostgreSQL server ...")
	var s *sample
	env, err := devenv.StartEnv(ctx, devenv.EnvOptions{Dir: dir, Outlive: true, WellKnown: true, AfterServer: func(ctx context.Context, p *devenv.Postgres) (err error) {
		s, err = createSample(ctx, p, 50)
		return err
	}})
	if err != nil {
		return err
	}
	pgpass, err := s.writePgpass(dir)
	if err == nil {
		err = errors.Join(writeGroup(env), env.State().Save(dir))
	}
	if err != nil {
		return errors.Join(err, env.Stop(context.WithoutCancel(ctx)))
	}
	explain(env, pgpass)
	return nil
}

func refuseIfUp(dir string) error {
	s, err := devenv.LoadState(dir)
	if fault.Is(err, fault.Missing) {
		return nil
	}
	if err != nil {
		return err
	}
	if running := s.Running(); len(running) > 0 {
		return fault.Newf(fault.Conflict, "start two regions", "they run already: %s", strings.Join(running, ", ")).WithHint("`make dev-down` ends them.")
	}
	return nil
}

func explain(env *devenv.Env, pgpass string) {
	rel := func(path string) string {
		if wd, err := os.Getwd(); err == nil {
			if r, err := filepath.Rel(wd, path); err == nil && !strings.HasPrefix(r, "..") {
				return r
			}
		}
		return path
	}
	fmt.Printf(`
  Temporal's web UI   %s
  region %s         object store %s, and PostgreSQL at %s
  region %s         object store %s, and nothing else until a failover
  logs and data       %s

Try, in this order:

  export SMARTDR_CONFIG=%s SMARTDR_GROUP=%s PGPASSFILE=%s
  bin/smartdr group create -f %s
  bin/smartdr workspace list             # one that was there, one that SmartDR made
  bin/smartdr configure --secondary %s --database %s,%s --wait
  bin/smartdr databases; bin/smartdr readiness; bin/smartdr cost
  bin/smartdr status --watch
  bin/smartdr failover --force           # %s still lives
  psql "$(bin/smartdr connect --workspace main --user %s --database %s)"

  make dev-down                          # ends it all and removes the data
`, env.Temporal.UIURL(), devenv.Primary, env.Regions[devenv.Primary].Gateway.S3Config().Endpoint, env.Server.Addr(),
		devenv.Secondary, env.Regions[devenv.Secondary].Gateway.S3Config().Endpoint, rel(env.Dir),
		absolute(env.ConfigPath()), devenv.GroupName, absolute(pgpass), rel(env.GroupPath()), devenv.Secondary, appDB, billingDB, devenv.Primary, appUser, appDB)
}

func absolute(path string) string {
	if a, err := filepath.Abs(path); err == nil {
		return a
	}
	return path
}

func down(ctx context.Context) error {
	dir, err := devenv.DevDir()
	if err != nil {
		return err
	}
	s, err := devenv.LoadState(dir)
	if fault.Is(err, fault.Missing) {
		fmt.Println("Nothing runs.")
		return nil
	}
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if err := s.Down(ctx); err != nil {
		return err
	}
	fmt.Println("Ended.")
	return os.RemoveAll(dir)
}
