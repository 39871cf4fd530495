package restore

import (
	"context"
	"log/slog"
	"time"

	"github.com/smartdr/smartdr/internal/fault"
	"github.com/smartdr/smartdr/internal/postgres"
	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

const opFollow = "follow"

// FollowInput says which restored data directory is to follow which lineages.
type FollowInput struct {
	ID          string // of the standby, for Progress
	Server      *postgres.Server
	Superuser   string // a role of the restored cluster; replaces Server.Superuser
	SegmentSize wal.SegmentSize
	// Legs are the way from the snapshot on, oldest lineage first; the last one is open (To is 0) as long as its server writes.
	// A later call may have more of them, and give the one that was open an end, which must not lie before what was replayed.
	Legs             []Leg
	ReplayFrom       wal.LSN           // where recovery begins: the snapshot's start
	OmittedDatabases []uint32          // OIDs of databases that were restored as zeros
	Overrides        map[string]string // settings for this place, as in AttachInput

	// Target, if there is one, is where to stop: nothing behind the last record that ends at or before it is replayed.
	Target *wal.Position
	// AtLeast takes a server that was fed beyond Target already as having reached it; otherwise that is fault.Diverged.
	AtLeast bool
	// LagBelow ends the call once replay is nearer than that to the end of what the bucket has; 0: never.
	LagBelow time.Duration
	// Turn ends the call, without an error, when it has passed; 0: never.
	Turn time.Duration

	Poll     time.Duration // how often to look for new objects while they come; default 200 ms, up to five times as long while none do
	Parallel int           // objects fetched at a time; default 4
	Progress func(topology.StandbyProgress)
	Log      *slog.Logger
}

// Followed is how far a standby is.
type Followed struct {
	FetchedWAL         // what Attach wants to know, of all that was fed since the snapshot
	Replayed   wal.LSN `json:"replayed"`
	Reached    bool    `json:"reached"` // Target, or LagBelow
}

// Follow keeps a restored data directory replaying what its lineages' bucket receives.
func Follow(ctx context.Context, in FollowInput) (Followed, error) {
	return Followed{}, fault.Newf(fault.Invalid, opFollow, "not there yet")
}
