package restore

import (
	"context"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/replication"
	"github.com/smartdr/smartdr/internal/wal"
)

// keepWAL makes sure that the slot holds the new lineage's WAL from its first byte on.
func (a *attach) keepWAL(ctx context.Context, start wal.Position) error {
	if err := a.awaitConnections(ctx); err != nil || a.SlotName == "" {
		return err
	}
	if err := a.ensureSlot(ctx); err != nil {
		return err
	}
	return a.rewindSlot(ctx, start)
}

// ensureSlot makes the slot that keeps the new lineage's WAL, if it is not there.
func (a *attach) ensureSlot(ctx context.Context) error {
	if a.SlotName == "" {
		return nil
	}
	if err := a.connect(ctx); err != nil {
		return err
	}
	_, err := a.conn.pg.Exec(ctx, `SELECT pg_create_physical_replication_slot($1, true)
		WHERE NOT EXISTS (SELECT FROM pg_replication_slots WHERE slot_name = $1)`, a.SlotName)
	if err != nil {
		return fault.New(fault.Transient, "create replication slot", err)
	}
	return nil
}

// rewindSlot moves the slot back to the new lineage's first byte. A new slot begins at the last checkpoint, which may lie after
// it, and then the shipper would see a hole. Slots go where a receiver says it has flushed, backwards too;
// wal_keep_size has kept the WAL until now.
func (a *attach) rewindSlot(ctx context.Context, start wal.Position) error {
	c, err := replication.Connect(ctx, a.Server.Source("postgres"), "smartdr_attach")
	if err != nil {
		return err
	}
	defer c.Close(context.WithoutCancel(ctx)) //nolint:errcheck // nothing depends on it any more
	slot, err := c.ReadSlot(ctx, a.SlotName)
	if err != nil || slot.RestartLSN <= start.LSN {
		return err
	}
	stream, err := c.StartPhysical(ctx, a.SlotName, start)
	if err != nil {
		return err
	}
	if err := stream.SendStatus(ctx, start.LSN, start.LSN, true); err != nil {
		return err
	}
	return a.awaitRewound(ctx, stream, start.LSN)
}

// awaitRewound asks a second connection, while the stream goes on: the server reads the status in its own time.
func (a *attach) awaitRewound(ctx context.Context, stream *replication.Stream, start wal.LSN) error {
	for {
		if _, err := stream.Receive(ctx); err != nil {
			return err
		}
		var rewound bool
		err := a.conn.pg.QueryRow(ctx, "SELECT restart_lsn <= $2::text::pg_lsn FROM pg_replication_slots WHERE slot_name = $1", a.SlotName, start.String()).Scan(&rewound)
		if err != nil {
			return fault.New(fault.Transient, "create replication slot", err)
		}
		if rewound {
			return nil
		}
	}
}
