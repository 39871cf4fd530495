package replication

import (
	"context"
	"fmt"
	"strconv"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/wal"
)

// ReadSlot asks for a physical slot's state.
func (c *Conn) ReadSlot(ctx context.Context, name string) (Slot, error) {
	const op = "read replication slot"
	if err := checkSlotName(op, name); err != nil {
		return Slot{}, err
	}
	row, err := c.row(ctx, op, "READ_REPLICATION_SLOT "+name, 3)
	if err != nil {
		return Slot{}, err
	}
	slot, err := parseSlot(row)
	if err != nil {
		return Slot{}, fault.New(fault.Invalid, op, err)
	}
	return slot, nil
}

// parseSlot reads slot_type, restart_lsn, restart_tli; all of them are NULL when there is no such slot.
func parseSlot(row [][]byte) (Slot, error) {
	s := Slot{Exists: row[0] != nil}
	if row[1] == nil {
		return s, nil
	}
	var err error
	if s.RestartLSN, err = wal.ParseLSN(string(row[1])); err != nil || row[2] == nil {
		return s, err
	}
	t, err := strconv.ParseUint(string(row[2]), 10, 32)
	s.RestartTimeline = wal.Timeline(t)
	return s, err
}

// CreateSlot makes a physical slot that keeps WAL from the server's last checkpoint on, at once. It fails with
// fault.Conflict when there is a slot of that name, and fault.Invalid when no slot is free.
func (c *Conn) CreateSlot(ctx context.Context, name string) error {
	const op = "create replication slot"
	if err := checkSlotName(op, name); err != nil {
		return err
	}
	_, err := c.exec(ctx, op, fmt.Sprintf("CREATE_REPLICATION_SLOT %s PHYSICAL (RESERVE_WAL)", name))
	return err
}

// DropSlot removes a slot. It fails with fault.Missing when there is none, and fault.Transient while another
// connection uses it.
func (c *Conn) DropSlot(ctx context.Context, name string) error {
	const op = "drop replication slot"
	if err := checkSlotName(op, name); err != nil {
		return err
	}
	_, err := c.exec(ctx, op, "DROP_REPLICATION_SLOT "+name)
	return err
}

// checkSlotName is ReplicationSlotValidateName; it also keeps commands free of anything that needs quoting.
func checkSlotName(op, name string) error {
	ok := len(name) > 0 && len(name) < 64
	for _, r := range name {
		ok = ok && (r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '_')
	}
	if !ok {
		return fault.Newf(fault.Invalid, op, "%q is not a slot name", name).
			WithHint("Slot names have 1 to 63 lower-case letters, digits and underscores.")
	}
	return nil
}
