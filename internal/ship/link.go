package ship

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/smartdr/smartdr/internal/archive"
	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/replication"
	"github.com/smartdr/smartdr/internal/wal"
)

// dialTimeout limits connecting and the few commands before streaming.
const dialTimeout = 15 * time.Second

// link is a connection to the server, which was asked who it is and has our slot.
type link struct {
	conn *replication.Conn
	sys  replication.System
	slot replication.Slot
}

func (k *link) timeline() wal.Timeline { return k.sys.Position.Timeline }

// TimelineHistory returns the content of a history file; fault.Missing when the server does not have it.
func (k *link) TimelineHistory(ctx context.Context, t wal.Timeline) ([]byte, error) {
	return k.conn.TimelineHistory(ctx, t)
}

func (k *link) feed(ctx, work context.Context, l *leg) error { return l.receive(ctx, work, k) }

func (k *link) close() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = k.conn.Close(ctx) // what matters was acknowledged before
}

// dial connects and makes sure that it is the lineage's server and that our slot exists.
func (s *shipper) dial(ctx context.Context) (*link, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	conn, err := replication.Connect(ctx, s.Source, s.appName())
	if err != nil {
		return nil, err
	}
	k := &link{conn: conn}
	if err := s.introduce(ctx, k); err != nil {
		k.close()
		return nil, err
	}
	s.welcomed = true
	s.lag.seen(k.sys.Position.LSN, time.Now())
	return k, nil
}

// appName is unique, so that no synchronous_standby_names but '*' takes us for a synchronous standby.
func (w *WAL) appName() string {
	n := "smartdr_" + w.Group + "_" + w.Workspace
	return n[:min(len(n), 63)]
}

func (s *shipper) introduce(ctx context.Context, k *link) (err error) {
	if k.sys, err = k.conn.IdentifySystem(ctx); err != nil {
		return err
	}
	if k.sys.ID != s.Lineage.SystemID {
		return fault.Newf(fault.Diverged, "check server", "its system identifier is %s, that of lineage %s is %s", k.sys.ID, s.Lineage.ID, s.Lineage.SystemID).
			WithHint("The connection string leads to another server than before.")
	}
	if k.slot, err = k.conn.ReadSlot(ctx, s.Slot); err != nil || k.slot.Exists && k.slot.RestartLSN != 0 {
		return err
	}
	return s.makeSlot(ctx, k)
}

// makeSlot makes the slot, anew when it was lost: a local failover leaves slots behind, and max_slot_wal_keep_size
// invalidates them. Whether the server still has our WAL shows when it is asked for it.
func (s *shipper) makeSlot(ctx context.Context, k *link) (err error) {
	if k.slot.Exists {
		if err := k.conn.DropSlot(ctx, s.Slot); err != nil {
			return err
		}
	}
	if err := k.conn.CreateSlot(ctx, s.Slot); err != nil && !fault.Is(err, fault.Conflict) {
		return err
	}
	s.Log.Warn("made the replication slot", "slot", s.Slot, "lost", k.slot.Exists)
	k.slot, err = k.conn.ReadSlot(ctx, s.Slot)
	return err
}

// putHistories stores history files, older timelines first.
func putHistories(ctx context.Context, a *archive.Archive, files map[wal.Timeline][]byte) error {
	for _, t := range slices.Sorted(maps.Keys(files)) {
		if err := a.PutHistory(ctx, t, files[t]); err != nil {
			return err
		}
	}
	return nil
}
