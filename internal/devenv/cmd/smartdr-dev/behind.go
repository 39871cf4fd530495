package main

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/smartdr/smartdr/internal/api"
	"github.com/smartdr/smartdr/internal/devenv"
)

// lookBehind shows that nothing of the lost region is thrown away: what it still wrote is listed beside what serves, and a branch leads to any moment.
func (d *demo) lookBehind(ctx context.Context) error {
	d.say("What %s still wrote is in databases beside those that serve: smartdr databases list", devenv.Primary)
	if err := d.cli(ctx, "databases", "list", "--group", devenv.GroupName); err != nil {
		return err
	}
	return d.branchMoment(ctx)
}

// enterBranch connects to a database of an attached branch as its owner.
func (d *demo) enterBranch(ctx context.Context, b api.Branch, db string) (*pgx.Conn, error) {
	a := b.Branch.Attached
	if a == nil || len(a.Endpoint.Hosts) == 0 {
		return nil, fmt.Errorf("branch %s is not attached", b.Branch.Name)
	}
	at := a.Endpoint.Hosts[0]
	conn, err := d.sample.connect(ctx, fmt.Sprintf("postgresql://%s@%s:%d/%s?sslmode=disable", owners[db], at.Host, at.Port, db), owners[db])
	if err != nil {
		return nil, fmt.Errorf("connect to branch %s: %w", b.Branch.Name, err)
	}
	return conn, nil
}
