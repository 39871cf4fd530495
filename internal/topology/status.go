package topology

import (
	"slices"
	"time"

	"github.com/smartdr/smartdr/internal/wal"
)

// RecoveryPoint is the point up to which everything is provably in a bucket.
type RecoveryPoint struct {
	Lineage    string       `json:"lineage"`
	At         wal.Position `json:"at"`                  // end of the unbroken chain of segments
	RecordEnd  wal.LSN      `json:"recordEnd"`           // end of the last complete record at or before At
	LastCommit time.Time    `json:"lastCommit,omitzero"` // primary's clock; of the last commit at or before RecordEnd
	AsOf       time.Time    `json:"asOf,omitzero"`       // shipper's clock: everything flushed by then is included
}

// Cursor is how far one bucket is.
type Cursor struct {
	Region     string        `json:"region"`
	Point      RecoveryPoint `json:"point"`
	LagBytes   int64         `json:"lagBytes"`
	LagSeconds float64       `json:"lagSeconds"` // age of the oldest byte that is flushed on the server and not in this bucket
	Mode       string        `json:"mode"`       // "live" or "catching up"
	Error      string        `json:"error,omitempty"`
	BytesSent  int64         `json:"bytesSent"` // stored form, by this shipper since it started
	Requests   int64         `json:"requests"`
}

// WALProgress is what a shipper says of itself (catalog document progress/wal.json, and heartbeat details).
type WALProgress struct {
	Lineage    string       `json:"lineage"`
	Epoch      Epoch        `json:"epoch"`
	MeasuredAt time.Time    `json:"measuredAt"`
	Server     wal.Position `json:"server"` // the server's flush position
	Slot       SlotState    `json:"slot"`
	Cursors    []Cursor     `json:"cursors"`
	Applied    []Applied    `json:"applied,omitempty"` // of the server's enabled subscriptions
	Error      string       `json:"error,omitempty"`   // why shipping stands still, if it does
}

// SlotState is what pg_replication_slots says of our slot.
type SlotState struct {
	Name        string  `json:"name"`
	RestartLSN  wal.LSN `json:"restartLSN"`
	WALStatus   string  `json:"walStatus,omitempty"`   // reserved, extended, unreserved, lost
	SafeWALSize *int64  `json:"safeWALSize,omitempty"` // bytes until the slot is lost; nil without max_slot_wal_keep_size
}

// SnapshotProgress is what TakeSnapshot says of itself (catalog document progress/snapshot.json).
type SnapshotProgress struct {
	ID         string             `json:"id"`
	Lineage    string             `json:"lineage"`
	MeasuredAt time.Time          `json:"measuredAt"`
	StartedAt  time.Time          `json:"startedAt"`
	Complete   []string           `json:"complete"` // regions whose bucket holds a whole snapshot of this lineage
	DoneBytes  int64              `json:"doneBytes"`
	TotalBytes int64              `json:"totalBytes"`
	BytesSent  int64              `json:"bytesSent"`
	Databases  []DatabaseProgress `json:"databases"`
	Warnings   []string           `json:"warnings,omitempty"` // what should be known of it: it is usable
	Error      string             `json:"error,omitempty"`
}

// DatabaseProgress is a snapshot's progress for one database.
type DatabaseProgress struct {
	Name       string `json:"name"`
	OID        uint32 `json:"oid"`
	Replicated bool   `json:"replicated"`
	DoneBytes  int64  `json:"doneBytes"`
	TotalBytes int64  `json:"totalBytes"`
	// Lacking are regions whose newest whole snapshot does not bring the database back: it was left out there.
	Lacking []string `json:"lacking,omitempty"`
}

// Lacks reports whether region's newest whole snapshot is known not to bring a database back.
func (p SnapshotProgress) Lacks(oid uint32, region string) bool {
	return slices.ContainsFunc(p.Databases, func(d DatabaseProgress) bool {
		return d.OID == oid && (!d.Replicated || slices.Contains(d.Lacking, region))
	})
}

// DatabaseState is what a user sees of a database's replication.
type DatabaseState string

const (
	// Pending: no complete snapshot in the other region's bucket includes it, or what it was followed by.
	Pending DatabaseState = "Pending"
	// Active: a failover now would have the database at the announced recovery point.
	Active DatabaseState = "Active"
	// Inactive: recoverable, but nobody has shipped for a while.
	Inactive DatabaseState = "Inactive"
	// Error: shipping stands still for a reason that needs somebody.
	Error DatabaseState = "Error"
)

// DatabaseStatus is one database's replication to one region.
type DatabaseStatus struct {
	Workspace string        `json:"workspace"`
	Database  string        `json:"database"`
	Region    string        `json:"region"` // where it is replicated to
	State     DatabaseState `json:"state"`
	Percent   float64       `json:"percent"` // of the first snapshot, while Pending; else 100
	Reason    string        `json:"reason,omitempty"`
	Lag       Lag           `json:"lag"`
}

// Lag is how far a bucket is behind a server.
type Lag struct {
	Seconds    float64   `json:"seconds"`
	Bytes      int64     `json:"bytes"`
	LSN        wal.LSN   `json:"lsn"` // the recovery point
	MeasuredAt time.Time `json:"measuredAt,omitzero"`
}

// WorkspaceStatus is one workspace's replication.
type WorkspaceStatus struct {
	Workspace string            `json:"workspace"`
	WAL       *WALProgress      `json:"wal,omitempty"`
	Snapshot  *SnapshotProgress `json:"snapshot,omitempty"`
	Databases []DatabaseStatus  `json:"databases"`
	Standby   *StandbyProgress  `json:"standby,omitempty"`
	Fences    []Fence           `json:"fences,omitempty"` // of servers that wrote older lineages, newest first
	Tails     []Tail            `json:"tails,omitempty"`  // likewise
}

// GroupStatus is what `smartdr status` shows, from the catalog and what shippers announced.
type GroupStatus struct {
	Group      Group             `json:"group"`
	ReadAt     time.Time         `json:"readAt"`
	ReadFrom   []string          `json:"readFrom"`         // regions whose buckets answered
	Silent     map[string]string `json:"silent,omitempty"` // regions whose buckets did not, and why
	Workspaces []WorkspaceStatus `json:"workspaces"`
	Protection *Protection       `json:"protection,omitempty"` // nil until replication is configured
}
