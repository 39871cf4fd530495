package main

import (
	"context"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/smartdr/smartdr/internal/devenv"
	"github.com/smartdr/smartdr/internal/devenv/catalogs"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/topology"
)

// The firewall of the group, an address inside of it and one outside.
const (
	firewall = "127.0.0.0/28"
	inside   = "127.0.0.9"
	outside  = "127.0.0.77"
)

// writeGroup describes a group of the server that is there and of one that SmartDR makes.
func writeGroup(e *devenv.Env) error {
	return os.WriteFile(e.GroupPath(), fmt.Appendf(nil, `# For smartdr group create -f; written by smartdr-dev.
name: %s
primary: %s
firewall: [%s]
workspaces:
  - name: %s
    connection: %s
    passwordFile: %s
  - name: %s
    size: 256MiB/0.25
    settings: {work_mem: 8MB}
`, devenv.GroupName, devenv.Primary, firewall, mainSpace, e.Server.URL(devenv.ReplicationRole, "postgres"), e.ReplicationPasswordFile(), reportSpace), 0o644)
}

// server finds a workspace's server among those that SmartDR runs in a region.
func server(e *devenv.Env, region, workspace string) (*postgres.Server, error) {
	servers, err := e.Regions[region].Servers()
	for _, s := range servers {
		if filepath.Base(filepath.Dir(s.InstanceDir())) == workspace {
			return s, nil
		}
	}
	return nil, fmt.Errorf("region %s runs no server of workspace %s: %w", region, workspace, err)
}

// remember reads everything that the servers hold but for the ledgers' rows and the database that is left out.
func (d *demo) remember(ctx context.Context) error {
	for name, s := range d.sample.servers {
		v, err := catalogs.Take(ctx, s, []string{scratchDB}, []string{"accounts", "transfers", "postings"})
		if err != nil {
			return err
		}
		d.held[name] = v
		d.compared += v.Lines()
	}
	return d.measureDatabases(ctx)
}

func (d *demo) measureDatabases(ctx context.Context) error {
	for _, s := range d.sample.servers {
		conn, err := s.Open(ctx, "postgres")
		if err != nil {
			return err
		}
		var n int64
		err = conn.QueryRow(ctx, "select coalesce(sum(pg_database_size(oid)), 0)::bigint from pg_database where datname = any($1)", slices.Collect(maps.Keys(owners))).Scan(&n)
		conn.Close(context.WithoutCancel(ctx)) //nolint:errcheck // only read from
		if err != nil {
			return err
		}
		d.size += n
	}
	return nil
}

// sayReadiness asks whether a failover would work now, and tells what is not as it should be.
func (d *demo) sayReadiness(ctx context.Context) error {
	d.say("Would a failover work now? smartdr readiness")
	var r topology.Readiness
	if err := d.cliJSON(ctx, &r, "readiness", "--group", devenv.GroupName); err != nil {
		return err
	}
	fine := 0
	for _, i := range r.Items {
		if i.State == topology.ReadinessOK {
			fine++
			continue
		}
		fmt.Printf("         %s: %s %s\n", i.State, i.Check, i.Text)
	}
	fmt.Printf("         %d checks are fine\n", fine)
	return nil
}

// compare reads the servers that the failover brought up, and knocks at them from both sides of the firewall.
func (d *demo) compare(ctx context.Context) error {
	for name, before := range d.held {
		s, err := server(d.env, devenv.Secondary, name)
		if err != nil {
			return err
		}
		d.sample.servers[name] = s
		after, err := catalogs.Take(ctx, s, nil, []string{"accounts", "transfers", "postings"})
		if err != nil {
			return err
		}
		for _, line := range catalogs.Differences(before, after) {
			if !strings.HasPrefix(line, "databases: - "+scratchDB+" of ") { // which is to be absent
				d.differ++
				d.broken = append(d.broken, name+": "+line)
			}
		}
	}
	d.knock(ctx)
	return nil
}

// knock tries to get in from inside and from outside of the firewall.
func (d *demo) knock(ctx context.Context) {
	for db, role := range owners {
		for from, want := range map[string]string{inside: "", outside: notLetIn} {
			err := d.enter(ctx, from, role, db)
			if got := sqlState(err); got != want || err != nil && got == "" {
				d.broken = append(d.broken, fmt.Sprintf("%s enters %s from %s: want SQLSTATE %q, got %v", role, db, from, want, err))
			}
		}
	}
}

// enter connects from one of this host's many addresses.
func (d *demo) enter(ctx context.Context, from, role, db string) error {
	cfg, err := pgx.ParseConfig(d.sample.url(role, db))
	if err != nil {
		return err
	}
	cfg.Password = d.sample.passwords[role]
	cfg.DialFunc = (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}).DialContext
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if err != nil {
		return err
	}
	return conn.Close(ctx)
}
