package topology

import (
	"time"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/wal"
)

// Target is a point that somebody names, of one workspace. The zero Target is the newest one. At most one field is set. The names and what
// they include are those of PostgreSQL's recovery targets (manual, "Recovery Target", with recovery_target_inclusive on).
type Target struct {
	Time time.Time `json:"time,omitzero"`  // the last moment that is wanted
	LSN  wal.LSN   `json:"lsn,omitempty"`  // no record is wanted that ends after it
	XID  uint32    `json:"xid,omitempty"`  // the transaction that is the last one wanted; of several with that number, the newest
	Name string    `json:"name,omitempty"` // a restore point made by pg_create_restore_point; of several with that name, the newest
}

// Latest reports whether nothing was named.
func (t Target) Latest() bool { return t == Target{} }

// Check refuses a target that names more than one thing.
func (t Target) Check() error {
	named := 0
	for _, is := range []bool{!t.Time.IsZero(), t.LSN != 0, t.XID != 0, t.Name != ""} {
		if is {
			named++
		}
	}
	if named > 1 {
		return fault.Newf(fault.Invalid, "choose point", "%d points were named", named).WithHint("Name a time, an LSN, a transaction id or a restore point, one of them.")
	}
	return nil
}
