package topology

import (
	"time"

	"github.com/smartdr/smartdr/internal/wal"
)

// Window is a stretch of a lineage of which every point can be restored from a region's bucket.
type Window struct {
	Workspace string       `json:"workspace"`
	Region    string       `json:"region"`
	Lineage   string       `json:"lineage"`
	From      wal.Position `json:"from"` // the first consistent point: the end of the snapshot that it begins with, or the lineage's fork
	To        wal.Position `json:"to"`   // end of the last record
	// FromTime is the first moment that can be chosen, ToTime the newest one: by the primary's clock.
	FromTime time.Time `json:"fromTime,omitzero"`
	ToTime   time.Time `json:"toTime,omitzero"`
	// Snapshots that lead into it, oldest first.
	Snapshots []SnapshotRef `json:"snapshots,omitempty"`
	// Of is what goes on in this lineage: "serves", "system-managed app_20261122T221000Z", "branch test", or empty for history.
	Of string `json:"of,omitempty"`
}

// SnapshotRef is a snapshot on a timeline.
type SnapshotRef struct {
	ID        string    `json:"id"`
	End       wal.LSN   `json:"end"`
	StartedAt time.Time `json:"startedAt"`
	Bytes     int64     `json:"bytes"` // of the restored files
}

// TimelineGap is a stretch of a lineage that cannot be restored although there is something behind it.
type TimelineGap struct {
	Workspace string       `json:"workspace"`
	Region    string       `json:"region"`
	Lineage   string       `json:"lineage"`
	From      wal.Position `json:"from"`
	To        wal.Position `json:"to"`
	FromTime  time.Time    `json:"fromTime,omitzero"`
	ToTime    time.Time    `json:"toTime,omitzero"`
	Reason    string       `json:"reason"` // in a sentence: what is missing
}

// Timeline is all that can be restored of a workspace from a region's bucket.
type Timeline struct {
	Workspace string        `json:"workspace"`
	Region    string        `json:"region"`
	Windows   []Window      `json:"windows"`
	Gaps      []TimelineGap `json:"gaps,omitempty"`
}
