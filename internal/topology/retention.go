package topology

import (
	"time"

	"github.com/smartdr/smartdr/internal/wal"
)

// DefaultWindow is how far back a region can be restored where nothing else was chosen, in minutes: a week.
const DefaultWindow = 7 * 24 * 60

// DefaultSnapshots is the schedule of snapshots where nothing else was chosen.
const DefaultSnapshots = "24h"

// Retention is what a region's bucket keeps. The zero value is the default.
type Retention struct {
	// WindowMinutes is how long every moment stays restorable; 0: DefaultWindow.
	WindowMinutes int `json:"windowMinutes,omitempty"`
	// Snapshots says when snapshots are taken: an interval, as "6h", or a line of cron in UTC, as "0 3 * * *"; empty: DefaultSnapshots.
	Snapshots string `json:"snapshots,omitempty"`
}

// Window is how far back the region can be restored.
func (r Retention) Window() time.Duration {
	if r.WindowMinutes == 0 {
		return DefaultWindow * time.Minute
	}
	return time.Duration(r.WindowMinutes) * time.Minute
}

// Floors say by lineage where a bucket's restorable points begin: what lies before may be gone, and nothing new may refer to it. They are
// raised before anything is deleted, in the same document that holds the branches, so that of a branch and the deletion of what it needs one comes
// first and the other one sees it.
type Floors map[string]wal.LSN

// Gone is the floor of a lineage of which nothing is kept for its own sake.
const Gone = wal.LSN(1<<64 - 1)

// Floor returns where the restorable points of a lineage begin in a region's bucket; 0 when nothing of it was given up.
func (w *Workspace) Floor(region, lineage string) wal.LSN { return w.Floors[region][lineage] }
