package restore

import (
	"context"
	"maps"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/postgres"
)

// workersSetting keeps subscriptions from running while it is 0; a server reads it when it starts.
const workersSetting = "max_logical_replication_workers"

// quiet makes sure that no subscription runs when the server is promoted: it would take the publisher's slot from a primary that
// may still live, wherever that stands. Overrides foresee those that were captured; one that was
// made since then came with the WAL. The server is started again where there is one, or where that cannot be asked.
func (a *attach) quiet(ctx context.Context) error {
	if a.Server.Settings[workersSetting] == "0" {
		return nil
	}
	if a.conn.open() {
		var enabled bool
		if err := a.conn.pg.QueryRow(ctx, `SELECT EXISTS (SELECT FROM pg_subscription WHERE subenabled)`).Scan(&enabled); err != nil {
			return fault.New(fault.Transient, opAttach, err)
		}
		if !enabled {
			return nil
		}
	}
	if err := a.checkPages(); err != nil { // of what this run has replayed
		return err
	}
	a.state.Quiet = true
	if err := a.saveState(); err != nil {
		return err
	}
	a.keepQuiet()
	a.Server.Settings = maps.Clone(a.Server.Settings)
	a.Server.Settings[workersSetting] = "0"
	if err := a.Server.Save(); err != nil {
		return err
	}
	a.disconnect()
	if err := a.Server.Stop(ctx, postgres.Fast); err != nil {
		return err
	}
	if err := a.launch(ctx); err != nil {
		return err
	}
	_, err := a.awaitReplay(ctx)
	return err
}

// keepQuiet adds to the overrides what an earlier call found to be needed.
func (a *attach) keepQuiet() {
	if !a.state.Quiet {
		return
	}
	overrides := map[string]string{workersSetting: "0"}
	maps.Copy(overrides, a.Overrides)
	a.Overrides = overrides
}
