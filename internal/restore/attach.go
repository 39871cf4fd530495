package restore

import (
	"context"
	"errors"
	"log/slog"

	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/wal"
)

// Plan is the point that recovery must reach, no less and no more.
type Plan struct {
	Timeline  wal.Timeline `json:"timeline"`  // the one RecordEnd is on; its history files lie in pg_wal
	RecordEnd wal.LSN      `json:"recordEnd"` // end of the last complete record
}

// Attach recovers a restored data directory exactly to a planned point, promotes it, and keeps its WAL for the
// next shipper. It can be killed at any moment and called again.
type AttachInput struct {
	Server           *postgres.Server
	Superuser        string // a role of the restored cluster
	Plan             Plan
	Minimums         wal.Parameters    // largest settings that the WAL asks for
	Overrides        map[string]string // settings for this place; given as -c, so they win over the restored files
	SlotName         string            // physical slot to create for the new lineage; empty for none
	OmittedDatabases []uint32          // OIDs of databases that were restored as zeros
	Progress         func(AttachProgress)
	Log              *slog.Logger
}

// AttachProgress says how far an attach is.
type AttachProgress struct {
	Phase    string  `json:"phase"` // "starting", "recovering", "promoting", "promoted"
	Replayed wal.LSN `json:"replayed"`
	Target   wal.LSN `json:"target"`
}

// Attached is the promoted server.
type Attached struct {
	Fork     wal.Position `json:"fork"`     // the old timeline, and the first LSN that is not on it
	Timeline wal.Timeline `json:"timeline"` // the new one
	Start    wal.Position `json:"start"`    // the new timeline, at the start of the segment file that holds the fork
	SystemID string       `json:"systemID"`
}

// Attach does what AttachInput says.
func Attach(ctx context.Context, in AttachInput) (Attached, error) {
	return Attached{}, errors.New("not built yet")
}
