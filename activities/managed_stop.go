package activities

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

const (
	// drainWithin is how long to wait until the buckets have what a server has written so far. Shipping is seconds behind;
	// what is further behind has a reason that an operator must know before the server ends.
	drainWithin = time.Minute
	// endWithin is how long a server may take to end. It waits for its shipper, which waits for the bucket next to it.
	endWithin = 2 * time.Minute
	// askShipped is how often the announcement is read, which shippers make every 2 s.
	askShipped = time.Second
)

// DrainServer waits until every bucket holds what the server has written by now. It fails when that does not come, and
// has changed nothing then.
func (t *Target) DrainServer(ctx context.Context, in ServerInput) error {
	p := beat(ctx)
	defer p.end()
	m, err := t.ours(ctx, in)
	if err == nil {
		err = t.drain(ctx, m)
	}
	return judge(ctx, describe(err, "workspace %s", in.Workspace))
}

func (t *Target) drain(ctx context.Context, m ownServer) error {
	if !ships(m.group, m.workspace) {
		return nil
	}
	if err := m.server.Start(ctx); err != nil { // one that died has something left to ship
		return err
	}
	at, err := flushed(ctx, m.server)
	if err != nil {
		return err
	}
	if err := t.awaitShipped(ctx, m.group, m.workspace, at, drainWithin); err != nil {
		return err
	}
	return awaitShipper(ctx, m)
}

// awaitShipper waits until a shipper is connected: what it announced may be from before it was interrupted, and a server that
// ends while nobody is connected ends without waiting for anybody.
func awaitShipper(ctx context.Context, m ownServer) error {
	slot := slotName(m.group.Name, m.workspace.Name)
	for end := time.Now().Add(drainWithin); ; {
		var connected bool
		err := ask(ctx, m.server, func(conn *pgx.Conn) error {
			return conn.QueryRow(ctx, "select exists (select from pg_replication_slots where slot_name = $1 and active)", slot).Scan(&connected)
		})
		if err != nil || connected {
			return err
		}
		if time.Now().After(end) {
			return fault.Newf(fault.Invalid, "wait for shipping", "no shipper is connected to workspace %s", m.workspace.Name).
				WithHint("smartdr status says what keeps it; try again when it has passed.")
		}
		if pauseFor(ctx, askShipped); ctx.Err() != nil {
			return fault.New(fault.Transient, "wait for shipping", ctx.Err())
		}
	}
}

// ships reports whether the workspace's WAL goes to buckets.
func ships(g topology.Group, w topology.Workspace) bool {
	return g.Replication != nil && w.Lineage != ""
}

func flushed(ctx context.Context, s *postgres.Server) (at wal.LSN, err error) {
	var text string
	err = ask(ctx, s, func(conn *pgx.Conn) error {
		return conn.QueryRow(ctx, "select pg_current_wal_flush_lsn()::text").Scan(&text)
	})
	if err != nil {
		return 0, err
	}
	return wal.ParseLSN(text)
}

// awaitShipped waits until the buckets of both regions hold a workspace's WAL up to a point, as its shipper announces.
func (s *Site) awaitShipped(ctx context.Context, g topology.Group, w topology.Workspace, at wal.LSN, within time.Duration) error {
	for end := time.Now().Add(within); ; {
		lacking, err := s.lacking(ctx, g, w, at)
		if err == nil && lacking == "" {
			return nil
		}
		if err != nil && !fault.Is(err, fault.Transient) && !fault.Is(err, fault.Missing) {
			return err
		}
		if time.Now().After(end) {
			return notShipped(w, at, lacking, err)
		}
		if pauseFor(ctx, askShipped); ctx.Err() != nil {
			return fault.New(fault.Transient, "wait for shipping", ctx.Err())
		}
	}
}

func notShipped(w topology.Workspace, at wal.LSN, lacking string, err error) error {
	if err != nil {
		lacking = "nothing is known of its shipping: " + err.Error()
	}
	return fault.Newf(fault.Invalid, "wait for shipping", "WAL of workspace %s up to %s is not in both buckets: %s", w.Name, at, lacking).
		WithHint("smartdr status says what keeps it; try again when it has passed.")
}

// lacking says which bucket lacks WAL up to a point, or "".
func (s *Site) lacking(ctx context.Context, g topology.Group, w topology.Workspace, at wal.LSN) (string, error) {
	p, err := s.Catalog.WALProgress(ctx, g.Name, w.Name)
	if err != nil {
		return "", err
	}
	if p.Lineage != w.Lineage {
		return "its shipper writes another lineage", nil
	}
	var behind []string
	for _, region := range []string{g.Active, g.Other(g.Active)} {
		switch c := p.Cursor(region); {
		case c == nil:
			behind = append(behind, fmt.Sprintf("that of %s has none", region))
		case c.Point.At.LSN < at:
			behind = append(behind, strings.TrimSpace(fmt.Sprintf("that of %s ends at %s %s", region, c.Point.At.LSN, c.Error)))
		}
	}
	return strings.Join(behind, ", "), nil
}

// StopServer ends a server, once its last WAL is in every bucket, and finds out that it is. With Force neither is waited
// for longer than a moment.
func (t *Target) StopServer(ctx context.Context, in StopServerInput) error {
	p := beat(ctx)
	defer p.end()
	m, err := t.ours(ctx, in.ServerInput)
	switch {
	case err != nil:
	case in.Force:
		err = stopAnyhow(ctx, m.server)
	default:
		err = t.stopShipped(ctx, m)
	}
	return judge(ctx, describe(err, "workspace %s", in.Workspace))
}

func (t *Target) stopShipped(ctx context.Context, m ownServer) error {
	if done, err := t.endedShipped(ctx, m); done || err != nil {
		return err
	}
	if err := t.drain(ctx, m); err != nil {
		return err
	}
	if err := stopFast(ctx, m.server); err != nil {
		return err
	}
	if !ships(m.group, m.workspace) {
		return nil
	}
	control, err := m.server.ControlData(ctx)
	if err != nil {
		return err
	}
	err = t.awaitShipped(ctx, m.group, m.workspace, control.Checkpoint.LSN+1, drainWithin) // all but the end of the last record
	if fault.Is(err, fault.Invalid) {
		return fault.Newf(fault.Transient, "end server", "%w", err) // its shipper was interrupted: start it once more, for the rest
	}
	return err
}

// endedShipped reports whether an earlier attempt has done it: the server ended in order and the buckets have all of it.
func (t *Target) endedShipped(ctx context.Context, m ownServer) (bool, error) {
	if _, running := m.server.Running(ctx); running {
		return false, nil
	}
	control, err := m.server.ControlData(ctx)
	if err != nil || control.State != postgres.ShutDown {
		return false, err
	}
	if !ships(m.group, m.workspace) {
		return true, nil
	}
	lacking, err := t.lacking(ctx, m.group, m.workspace, control.Checkpoint.LSN+1)
	return err == nil && lacking == "", nil // what is not known is found out by starting it once more
}

func stopFast(ctx context.Context, s *postgres.Server) error {
	ctx, cancel := context.WithTimeout(ctx, endWithin)
	defer cancel()
	return s.Stop(ctx, postgres.Fast)
}

// stopAnyhow ends a server in order if that takes no longer than a moment, else as a crash would: its files stay.
func stopAnyhow(ctx context.Context, s *postgres.Server) error {
	soon, cancel := context.WithTimeout(ctx, stopWithin)
	defer cancel()
	if s.Stop(soon, postgres.Fast) == nil {
		return nil
	}
	return stopNow(ctx, s)
}

// Answer does nothing: that it is done shows that the worker of a host is there.
func (t *Target) Answer(context.Context) error { return nil }

// StartServer starts a server, and brings it in line with what was changed while it was suspended.
func (t *Target) StartServer(ctx context.Context, in ServerInput) (ApplyServerResult, error) {
	p := beat(ctx)
	defer p.end()
	m, err := t.ours(ctx, in)
	if err == nil {
		err = t.Catalog.CheckEpoch(ctx, in.Group, m.owner.Epoch)
	}
	if err == nil {
		err = m.server.Start(ctx)
	}
	var notes []string
	if err == nil {
		notes, err = t.apply(ctx, m, nil, true)
	}
	return ApplyServerResult{Notes: notes}, judge(ctx, describe(err, "workspace %s", in.Workspace))
}
