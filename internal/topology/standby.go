package topology

import (
	"time"

	"github.com/smartdr/smartdr/internal/wal"
)

// Standby is a workspace's server in the region that does not serve: it follows what the bucket there receives, takes no
// clients, and is promoted by a failover or a switchover.
type Standby struct {
	ID       string    `json:"id"`
	Host     string    `json:"host"`
	Instance string    `json:"instance"` // folder on the host
	Endpoint Endpoint  `json:"endpoint"` // that it will have
	Lineage  string    `json:"lineage"`  // that it follows
	Since    time.Time `json:"since"`
}

// StandbyProgress is how far a standby is (heartbeat details, and catalog document W/progress/standby.json).
type StandbyProgress struct {
	ID         string       `json:"id"`
	Lineage    string       `json:"lineage"`
	Phase      string       `json:"phase"`      // "restoring", "replaying", "following"
	Received   wal.Position `json:"received"`   // end of the WAL on its disk
	Replayed   wal.LSN      `json:"replayed"`   // what a promotion now would have
	LagSeconds float64      `json:"lagSeconds"` // age of the oldest byte that the bucket has and that is not replayed
	MeasuredAt time.Time    `json:"measuredAt"`
	Error      string       `json:"error,omitempty"`
}

// Preprovision is the choice to keep standbys of all workspaces in the region that does not serve.
type Preprovision struct {
	Since time.Time `json:"since"`
}

// Protection says whether the group could fail over now (catalog document G/protection.json).
type Protection struct {
	Format    int       `json:"format"`
	Protected bool      `json:"protected"`
	Region    string    `json:"region"`           // that a failover would go to
	Epoch     Epoch     `json:"epoch"`            // that this was found under
	Since     time.Time `json:"since"`            // when Protected last changed
	Reason    string    `json:"reason,omitempty"` // why not
}

// Controller names the control plane that acts for a group: one Temporal cluster's namespace.
type Controller struct {
	ID    string    `json:"id"` // "<cluster id>/<namespace>"
	Since time.Time `json:"since"`
	By    string    `json:"by,omitempty"` // who took it over, for people
}

// Reservation is a place that is kept for a workspace in a region where no server of it runs, so that its clients can know
// the address beforehand.
type Reservation struct {
	Host     string   `json:"host"`
	Endpoint Endpoint `json:"endpoint"`
}
