package api

import (
	"time"

	"github.com/smartdr/smartdr/internal/topology"
)

// Region is one configured region, and whether its bucket answers now.
type Region struct {
	Name      string `json:"name"`
	Provider  string `json:"provider,omitempty"`
	Bucket    string `json:"bucket"`
	Endpoint  string `json:"endpoint,omitempty"` // of the object store; empty means the cloud's own
	Reachable bool   `json:"reachable"`
	Error     string `json:"error,omitempty"` // why the bucket does not answer
	// Workers is how many worker processes poll the region's task queue; nil when Temporal does not answer.
	Workers *int `json:"workers,omitempty"`
}

// Groups is a list of groups, and which buckets it was read from.
type Groups struct {
	Groups   []topology.Group  `json:"groups"`
	ReadFrom []string          `json:"readFrom"`
	Silent   map[string]string `json:"silent,omitempty"` // regions whose buckets did not answer, and why
}

// Names returns the names of the groups that are not terminated.
func (g Groups) Names() []string {
	var names []string
	for _, group := range g.Groups {
		if group.State != topology.GroupTerminated {
			names = append(names, group.Name)
		}
	}
	return names
}

// ConfigureRequest asks to replicate a group to a second region.
type ConfigureRequest struct {
	Group     string   `json:"group"`
	Secondary string   `json:"secondary"`
	Databases []string `json:"databases,omitempty"` // names; empty means all, present and future
}

// Configured says what was set up.
type Configured struct {
	Group       topology.Group `json:"group"`
	Replication string         `json:"replication"` // id of the workflow that keeps it replicating
	Warnings    []string       `json:"warnings,omitempty"`
}

// FailoverRequest asks to bring a group up in its other region.
type FailoverRequest struct {
	Group string `json:"group"`
	To    string `json:"to,omitempty"`    // region; default: the one that does not serve now
	Force bool   `json:"force,omitempty"` // even if the serving region looks alive, or without workspaces that cannot be brought back
	// Resume goes on with the group's last failover for the workspaces that it could not bring up.
	Resume bool `json:"resume,omitempty"`
	// Point is "latest" (default), a time in RFC 3339, an LSN, or "main=0/3000148,side=1/0".
	Point string `json:"point,omitempty"`
	// MaxDataLoss refuses when more would be lost, as "30s", "16MB" or "0"; default: any loss is accepted.
	MaxDataLoss string `json:"maxDataLoss,omitempty"`
}

// FailoverPreview is what a failover now would bring back, and what it would lose.
type FailoverPreview struct {
	Group      string             `json:"group"`
	From       string             `json:"from"` // the region that serves now
	To         string             `json:"to"`
	ReadAt     time.Time          `json:"readAt"`
	Alive      bool               `json:"alive"`               // the serving region still seems to work
	Evidence   string             `json:"evidence"`            // a sentence: why it seems alive, or why it does not
	Ready      bool               `json:"ready"`               // every workspace has something to recover from
	Problem    string             `json:"problem"`             // the first reason why it is not ready
	Placement  string             `json:"placement,omitempty"` // why the hosts there have no room for the workspaces, if they have none
	Workspaces []WorkspacePreview `json:"workspaces"`          // in the group's order
	ReadFrom   []string           `json:"readFrom"`            // regions whose buckets answered
	Silent     map[string]string  `json:"silent,omitempty"`
}

// WorkspacePreview is one workspace's share of a FailoverPreview.
type WorkspacePreview struct {
	Workspace string                 `json:"workspace"`
	Ready     bool                   `json:"ready"`
	Problem   string                 `json:"problem,omitempty"`
	Databases []string               `json:"databases"` // that would be brought back
	Point     topology.RecoveryPoint `json:"point"`     // as announced for the bucket of the region to fail over to
	// LagSeconds and LagBytes were measured at MeasuredAt; what was written after that moment is lost too.
	LagSeconds float64   `json:"lagSeconds"`
	LagBytes   int64     `json:"lagBytes"`
	MeasuredAt time.Time `json:"measuredAt,omitzero"`
	Host       string    `json:"host,omitempty"` // where it would be placed as things stand; empty when that is not known
}

// Started names an operation that runs now.
type Started struct {
	Group     string `json:"group"`
	Operation string `json:"operation"` // id
	Workflow  string `json:"workflow"`  // Temporal workflow id
	Run       string `json:"run"`       // Temporal run id
}

// ConnectionRequest asks how clients connect to a group's workspace.
type ConnectionRequest struct {
	Group     string `json:"group"`
	Workspace string `json:"workspace,omitempty"` // may be left out when there is only one
	User      string `json:"user,omitempty"`
	Database  string `json:"database,omitempty"`
}

// Connection is how clients connect to a workspace. No string holds a password.
type Connection struct {
	Group     string `json:"group"`
	Workspace string `json:"workspace"`
	Region    string `json:"region"` // the one that serves now
	User      string `json:"user,omitempty"`
	URL       string `json:"url"`            // of the side that serves now
	MultiHost string `json:"multiHost"`      // of both sides, the one that serves first; libpq picks the one that takes writes
	Note      string `json:"note,omitempty"` // what of the other side is not known, in a sentence
	// PasswordFile is where the user's password is, on PasswordHost: of a managed workspace's administrator, on the server that
	// was made. One that a failover brought up has the same password, and no file that tells it.
	PasswordFile string `json:"passwordFile,omitempty"`
	PasswordHost string `json:"passwordHost,omitempty"` // also: where NewPassword is run
	NewPassword  string `json:"newPassword,omitempty"`  // command that gives the administrator another password; where there is no file
	// Sides is how many regions MultiHost names. A region without a host has no address before its first failover.
	Sides int `json:"sides"`
}

// Database is one database of a group and how it is replicated, or what is listed beside these: a system-managed database or a branch.
type Database struct {
	Workspace  string                 `json:"workspace"`
	Name       string                 `json:"name"`
	Kind       topology.ListedKind    `json:"kind"`
	Replicated bool                   `json:"replicated"`
	SizeBytes  int64                  `json:"sizeBytes,omitempty"` // at the last snapshot or capture; 0 when unknown
	State      topology.DatabaseState `json:"state,omitempty"`
	Reason     string                 `json:"reason,omitempty"` // of the state, or why it is left out
	// Detached is what else there is to say of a system-managed database or a branch; nil for a workspace's own.
	Detached *topology.Listed `json:"detached,omitempty"`
}

// The states of a Workspace besides those of topology.WorkspaceState.
const (
	// WorkspaceActive workspaces serve, or ought to.
	WorkspaceActive = "active"
	// WorkspaceMissing workspaces have no server in the region that serves: a failover has not brought them back.
	WorkspaceMissing = "missing"
)

// Workspace is a workspace as it stands.
type Workspace struct {
	Group    string                   `json:"group"`
	Name     string                   `json:"name"`
	State    string                   `json:"state"` // WorkspaceActive, WorkspaceMissing, or a topology.WorkspaceState
	Reason   string                   `json:"reason,omitempty"`
	Kind     topology.SiteKind        `json:"kind"` // of the server in Region; of the other one when there is none
	Size     topology.Size            `json:"size,omitzero"`
	Region   string                   `json:"region"` // that serves the group
	Host     string                   `json:"host,omitempty"`
	Instance string                   `json:"instance,omitempty"` // the folder on the host
	Endpoint topology.Endpoint        `json:"endpoint"`
	Settings map[string]string        `json:"settings,omitempty"`
	HBA      []string                 `json:"hba,omitempty"`
	Ident    []string                 `json:"ident,omitempty"`
	Lineage  string                   `json:"lineage,omitempty"`
	Sites    map[string]topology.Site `json:"sites"`
}

// Over reports whether the workspace is terminated.
func (w Workspace) Over() bool { return w.State == string(topology.WorkspaceTerminated) }

// ChangedGroup is a group after a change.
type ChangedGroup struct {
	Group    topology.Group `json:"group"`
	Already  bool           `json:"already,omitempty"` // it was as it was asked to be, and nothing was done
	Warnings []string       `json:"warnings,omitempty"`
}

// ChangedWorkspace is a workspace after a change.
type ChangedWorkspace struct {
	Workspace Workspace `json:"workspace"`
	Warnings  []string  `json:"warnings,omitempty"`
	Notes     []string  `json:"notes,omitempty"` // what was done, and what waits for a restart
}
