package replication

import (
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/smartdr/smartdr/internal/fault"
)

// SQLSTATEs that tell failures of replication commands apart (the manual's appendix "PostgreSQL Error Codes").
const (
	codeUndefinedObject     = "42704" // no such slot
	codeUndefinedFile       = "58P01" // a WAL segment or a history file is gone
	codeDuplicateObject     = "42710"
	codeObjectInUse         = "55006"
	codeNotInPrerequisite   = "55000" // an invalidated slot, or wal_level too low for a slot
	codeConfigLimit         = "53400" // no free slot
	codePrivilege           = "42501"
	codeDataCorrupted       = "XX001"
	codeInternal            = "XX000" // what walsender.c raises without a code
	codeDiskFull            = "53100"
	routineStartReplication = "StartReplication"
	routineSwitchPoint      = "tliSwitchPoint"
)

// judgeServer gives an error that the server reported its kind. Messages may come in any language, so it goes by code
// and by the routine that raised it.
func (c *Conn) judgeServer(op string, e *pgconn.PgError) error {
	switch e.Code {
	case codeUndefinedObject:
		return fault.New(fault.Missing, op, e)
	case codeUndefinedFile:
		return fault.New(fault.Missing, op, e).WithHint("The server has removed WAL that was not shipped yet; a new snapshot is needed.")
	case codeDuplicateObject:
		return fault.New(fault.Conflict, op, e)
	case codeObjectInUse:
		return fault.New(fault.Transient, op, e).WithHint("Another connection still uses the slot.")
	case codeNotInPrerequisite:
		return fault.New(fault.Missing, op, e).WithHint("The slot was invalidated, or wal_level is below replica.")
	case codeConfigLimit:
		return fault.New(fault.Invalid, op, e).WithHint("No replication slot is free: raise max_replication_slots and restart the server, or drop a slot that nobody uses.")
	case codePrivilege:
		return fault.New(fault.Invalid, op, e).WithHint("Grant it: ALTER ROLE ... REPLICATION.")
	case codeDataCorrupted:
		return fault.New(fault.Corrupt, op, e)
	case codeDiskFull:
		return fault.New(fault.Full, op, e)
	case codeInternal:
		return c.judgeInternal(op, e)
	}
	return fault.New(fault.Transient, op, e)
}

// judgeInternal knows the refusals of START_REPLICATION: a place that this server's history never had, and a place
// beyond its end. A standby may still reach the latter.
func (c *Conn) judgeInternal(op string, e *pgconn.PgError) error {
	if e.Routine != routineStartReplication && e.Routine != routineSwitchPoint {
		return fault.New(fault.Transient, op, e)
	}
	ahead := e.Routine == routineStartReplication && e.Detail == ""
	if ahead && c.inRecovery {
		return fault.New(fault.Transient, op, e).WithHint("The standby is behind; it may catch up.")
	}
	return fault.New(fault.Diverged, op, e).WithHint("The server's history does not contain the WAL that was shipped before: it was restored, or a standby that was behind took over.")
}
