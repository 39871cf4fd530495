// Package topology holds what a group is made of, as plain values: regions, workspaces, lineages, epochs, and the
// status derived from what was measured. It does no I/O.
package topology

import (
	"encoding/json"
	"time"

	"github.com/smartdr/smartdr/internal/wal"
)

// Epoch is a group's generation number: who claimed the newest one may write. The first is 1.
type Epoch int64

// Group is the unit of disaster recovery, as the catalog stores it (catalog document group.json).
type Group struct {
	Format    int       `json:"format"`   // of this document; see docs/format.md
	Revision  int64     `json:"revision"` // grows by one with each change
	ID        string    `json:"id"`       // UUID
	Name      string    `json:"name"`
	CreatedAt time.Time `json:"createdAt"`

	Primary   string `json:"primary"`             // the region that is home
	Secondary string `json:"secondary,omitempty"` // the region that replication goes to; empty until configured
	Active    string `json:"active"`              // the region that serves now
	Authority string `json:"authority"`           // the region whose bucket decides: conditional writes go there first
	Epoch     Epoch  `json:"epoch"`

	State       GroupState    `json:"state,omitempty"`       // empty: active
	SmartDR     bool          `json:"smartDR"`               // the option "SmartDR and database branching": without it there is neither replication nor branches
	Firewall    Firewall      `json:"firewall,omitzero"`     // who may reach the servers that SmartDR runs
	Replication *Replication  `json:"replication,omitempty"` // nil until configured
	Workspaces  []Workspace   `json:"workspaces"`
	Operation   *OperationRef `json:"operation,omitempty"` // the one that excludes all others now

	Preprovision   *Preprovision `json:"preprovision,omitempty"`          // nil: no compute runs in the region that does not serve
	SelfFenceAfter int           `json:"selfFenceAfterSeconds,omitempty"` // a region that reached neither the other bucket nor Temporal for so long fences its servers; 0: never
	SequenceGap    *int64        `json:"sequenceGap,omitempty"`           // by how many values a failover moves sequences ahead; nil: DefaultSequenceGap, 0: not at all
	Controller     *Controller   `json:"controller,omitempty"`            // nil: any control plane may act, as in a group of old

	Branches      []Branch             `json:"branches,omitempty"`
	SystemManaged []SystemManaged      `json:"systemManaged,omitempty"`
	Retention     map[string]Retention `json:"retention,omitempty"` // by region; one without has the default

	Claimed *Claimed `json:"claimed,omitempty"` // the newest epoch that was claimed; ahead of Epoch until somebody serves under it
	Term    int64    `json:"term,omitempty"`    // grows by one each time that Authority changes
	Seized  *Seizure `json:"seized,omitempty"`  // how Authority came to where it is without the word of the one before
}

// UnmarshalJSON replaces the group as a whole. Without it a field that the document leaves out, such as the state of an active
// workspace, would keep what a group that was read before had there.
func (g *Group) UnmarshalJSON(b []byte) error {
	type plain Group // without this method
	var p plain
	if err := json.Unmarshal(b, &p); err != nil {
		return err
	}
	*g = Group(p)
	return nil
}

// GroupState says what became of a group.
type GroupState string

const (
	// GroupActive groups are there.
	GroupActive GroupState = ""
	// GroupTerminated groups are over: their document stays, so that what is in the buckets can be told apart.
	GroupTerminated GroupState = "terminated"
)

// Replication is what was chosen when replication was configured.
type Replication struct {
	// Databases are the chosen ones: "name" in every workspace that has one of that name, or "workspace/name" in one
	// alone. Empty means all, present and future.
	Databases    []string  `json:"databases,omitempty"`
	ConfiguredAt time.Time `json:"configuredAt"`
	ChangedAt    time.Time `json:"changedAt,omitzero"` // when Databases was last changed
}

// OperationRef names the operation that holds a group.
type OperationRef struct {
	ID        string    `json:"id"`
	Kind      string    `json:"kind"` // "Failover", ...
	StartedAt time.Time `json:"startedAt"`
	// GoesBack operations have decided, for good, that they claim no epoch: what they have fenced takes writes again.
	GoesBack bool `json:"goesBack,omitempty"`
}

// Workspace is one PostgreSQL server with its endpoint, wherever it runs now.
type Workspace struct {
	Name     string            `json:"name"`
	State    WorkspaceState    `json:"state,omitempty"`    // empty: active
	Reason   string            `json:"reason,omitempty"`   // of the state, in a sentence
	Size     Size              `json:"size,omitzero"`      // what a host must have for it; zero: not said, as for most adopted ones
	Settings map[string]string `json:"settings,omitempty"` // managed: chosen PostgreSQL settings, never secrets
	HBA      []string          `json:"hba,omitempty"`      // managed: access rules of its own, lines of pg_hba.conf, before those of the firewall
	Ident    []string          `json:"ident,omitempty"`    // managed: user name maps, lines of pg_ident.conf
	Sites    map[string]Site   `json:"sites"`              // by region
	Lineage  string            `json:"lineage"`            // ID of the current one; empty until replication is prepared
	Lineages []Lineage         `json:"lineages,omitempty"`

	Standbys     map[string]Standby     `json:"standbys,omitempty"`     // by region
	Reservations map[string]Reservation `json:"reservations,omitempty"` // by region
	Floors       map[string]Floors      `json:"floors,omitempty"`       // by region
}

// SiteKind says who made a server and runs it.
type SiteKind string

const (
	// Managed servers are made and run by SmartDR.
	Managed SiteKind = "managed"
	// Adopted servers were there already and are reached by a connection string.
	Adopted SiteKind = "adopted"
)

// Site is a workspace's server in one region.
type Site struct {
	Kind     SiteKind `json:"kind"`
	Source   Source   `json:"source"`             // how SmartDR reaches it, from that region
	Endpoint Endpoint `json:"endpoint"`           // how clients reach it
	Host     string   `json:"host,omitempty"`     // managed: name of the host it was placed on; empty for a region's only one of old
	Instance string   `json:"instance,omitempty"` // managed: the folder on the host, set by ProvisionTopology
}

// Source is a connection string without a password, and where the worker that connects finds the password.
// With neither field set, libpq's own places hold: PGPASSWORD, passfile=, PGPASSFILE, ~/.pgpass.
type Source struct {
	ConnString   string `json:"connString"`             // URL or keyword/value form; several hosts allowed; never a password
	PasswordFile string `json:"passwordFile,omitempty"` // a file on the worker's host that holds the password alone
	PasswordEnv  string `json:"passwordEnv,omitempty"`  // a variable in the worker's environment
}

// Endpoint is where clients connect.
type Endpoint struct {
	Hosts []HostPort `json:"hosts"`
}

// HostPort is one address of an endpoint.
type HostPort struct {
	Host string `json:"host"`
	Port int    `json:"port"`
}

// Lineage is one unbroken line of WAL, written by one workspace under one epoch.
type Lineage struct {
	ID          string          `json:"id"`
	Epoch       Epoch           `json:"epoch"`
	Region      string          `json:"region"` // where it is written
	SystemID    string          `json:"systemID"`
	SegmentSize wal.SegmentSize `json:"segmentSize"`
	Start       wal.Position    `json:"start"`            // first byte; the start of a segment file
	Parent      *Fork           `json:"parent,omitempty"` // nil when it began with a snapshot
	CreatedAt   time.Time       `json:"createdAt"`
	// End is where it ends for ever: a branch wrote it, and what had not reached the bucket was given up when the branch was detached. What lies
	// behind it in the bucket, or still arrives there, is of nothing. Nil: it ends where the bucket has no more.
	End *LineageEnd `json:"end,omitempty"`
}

// Fork is the point of another lineage where a lineage began: the first byte that is not shared.
type Fork struct {
	Lineage string       `json:"lineage"`
	At      wal.Position `json:"at"` // timeline of the parent, LSN of the switch
}

// Workspace returns the workspace of that name, or nil.
func (g *Group) Workspace(name string) *Workspace {
	for i := range g.Workspaces {
		if g.Workspaces[i].Name == name {
			return &g.Workspaces[i]
		}
	}
	return nil
}

// WorkspaceNames returns the names of the group's workspaces, also of those that are terminated.
func (g *Group) WorkspaceNames() (names []string) {
	for i := range g.Workspaces {
		names = append(names, g.Workspaces[i].Name)
	}
	return names
}

// Other returns the region that region replicates to: the secondary for the primary and the reverse.
func (g *Group) Other(region string) string {
	if region == g.Primary {
		return g.Secondary
	}
	return g.Primary
}

// CurrentLineage returns the workspace's current lineage, or nil before there is one.
func (w *Workspace) CurrentLineage() *Lineage { return w.FindLineage(w.Lineage) }

// FindLineage returns the lineage with that ID, or nil.
func (w *Workspace) FindLineage(id string) *Lineage {
	for i := range w.Lineages {
		if w.Lineages[i].ID == id {
			return &w.Lineages[i]
		}
	}
	return nil
}
