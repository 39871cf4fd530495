package workflows

import (
	"time"

	"github.com/smartdr/smartdr/internal/topology"
)

// CreateGroupInput asks for a workspace group.
type CreateGroupInput struct {
	Name     string             `json:"name"`
	Primary  string             `json:"primary"`           // region
	SmartDR  *bool              `json:"smartDR,omitempty"` // the option "SmartDR and database branching"; default true
	Firewall *topology.Firewall `json:"firewall,omitempty"`
	// SequenceGap is by how many values a failover moves sequences ahead; nil: topology.DefaultSequenceGap.
	SequenceGap *int64           `json:"sequenceGap,omitempty"`
	Workspaces  []WorkspaceInput `json:"workspaces"`
}

// WorkspaceInput is one server to adopt, or to make.
type WorkspaceInput struct {
	Name string            `json:"name"`
	Kind topology.SiteKind `json:"kind,omitempty"` // default: adopted with a source, else managed
	// Source is of an adopted one: how the primary region's workers reach it. It never holds a password.
	Source topology.Source `json:"source,omitzero"`
	Size   string          `json:"size,omitempty"` // topology.ParseSize; of a managed one: default topology.DefaultSize

	// The rest is of managed ones.
	Postgres int               `json:"postgres,omitempty"` // major version; default: the newest that a host has
	Host     string            `json:"host,omitempty"`     // default: any with room for it
	Settings map[string]string `json:"settings,omitempty"` // of PostgreSQL; none may be a secret
	HBA      []string          `json:"hba,omitempty"`      // lines of pg_hba.conf, before those of the firewall
	Ident    []string          `json:"ident,omitempty"`    // lines of pg_ident.conf
	// Init holds choices of initdb that cannot be changed later.
	Init InitInput `json:"init,omitzero"`
}

// InitInput holds the choices of initdb.
type InitInput struct {
	NoChecksums   bool   `json:"noChecksums,omitempty"`   // of pages; they are on by default
	SegmentSizeMB int    `json:"segmentSizeMB,omitempty"` // of WAL; default 16
	Locale        string `json:"locale,omitempty"`        // default C.UTF-8
	ICULocale     string `json:"icuLocale,omitempty"`     // sorts by ICU when it is set
}

// CreateGroupResult is what was made, and what the operator should know about the servers.
type CreateGroupResult struct {
	Group    topology.Group `json:"group"`
	Warnings []string       `json:"warnings,omitempty"`
}

// ConfigureInput asks to replicate a group to a second region.
type ConfigureInput struct {
	Group     string   `json:"group"`
	Secondary string   `json:"secondary"`           // region
	Databases []string `json:"databases,omitempty"` // "name" or "workspace/name"; empty means all, present and future
}

// ConfigureResult says where replication runs.
type ConfigureResult struct {
	Group       topology.Group `json:"group"`
	Replication string         `json:"replication"` // workflow id
	Warnings    []string       `json:"warnings,omitempty"`
}

// ReplicationInput starts the entity that keeps a group replicating. State is its own, carried over from run to run.
type ReplicationInput struct {
	Group string            `json:"group"`
	State *ReplicationState `json:"state,omitempty"`
}

// ReplicationState is what one run of Replication hands to the next.
type ReplicationState struct {
	Epoch    topology.Epoch        `json:"epoch"`              // that the children run under
	Children []Child               `json:"children,omitempty"` // workflows started and not known to have ended
	Status   *topology.GroupStatus `json:"status,omitempty"`   // as last observed
	// ChangedAt is of the choice of databases that the children know.
	ChangedAt time.Time `json:"changedAt,omitzero"`
}

// Child is one WorkspaceReplication.
type Child struct {
	Workspace string         `json:"workspace"`
	Epoch     topology.Epoch `json:"epoch"`
}

// EpochChanged tells Replication that another region serves now.
type EpochChanged struct {
	Epoch topology.Epoch `json:"epoch"`
}

// WorkspaceReplicationInput starts one workspace's replication under one epoch.
type WorkspaceReplicationInput struct {
	Group     string         `json:"group"`
	Workspace string         `json:"workspace"`
	Epoch     topology.Epoch `json:"epoch"`
	Region    string         `json:"region"`         // where the server is
	Host      string         `json:"host,omitempty"` // of a managed server: the machine it runs on
}

// FailoverInput asks to bring a group up in its other region.
type FailoverInput struct {
	Group string `json:"group"`
	To    string `json:"to,omitempty"`    // region; default: the one that does not serve now
	Force bool   `json:"force,omitempty"` // even if the serving region looks alive, or without workspaces that cannot be brought back
	// Resume goes on with the group's last failover for the workspaces that it could not bring up. It changes neither the
	// epoch nor what serves already.
	Resume bool `json:"resume,omitempty"`
	// To which point: "latest" (default), a time as "2026-11-23T10:00:00Z", or an LSN as "0/3000148". With several
	// workspaces LSNs are given as "main=0/3000148,side=1/0".
	Point string `json:"point,omitempty"`
	// MaxDataLoss refuses when more would be lost, as "30s"; default: any loss is accepted.
	MaxDataLoss string `json:"maxDataLoss,omitempty"`
}

// SwitchoverInput asks to move a group to its other region without losing anything, while both are there.
type SwitchoverInput struct {
	Group string `json:"group"`
	To    string `json:"to,omitempty"` // region; default: the one that does not serve now
	// MaxGap is the longest time without a writer, as "30s" (default): when it has passed and the epoch is not claimed
	// yet, everything goes back to where it was.
	MaxGap string `json:"maxGap,omitempty"`
	Force  bool   `json:"force,omitempty"` // although the last of an old server in that region was not brought home, since it is gone for good
}

// FailbackInput asks to bring a group home to its primary region without losing anything, and to take down what served it
// elsewhere.
type FailbackInput struct {
	Group  string `json:"group"`
	MaxGap string `json:"maxGap,omitempty"` // as in SwitchoverInput
	Force  bool   `json:"force,omitempty"`  // likewise
}

// CancelInput asks to stop an operation.
type CancelInput struct {
	By string `json:"by,omitempty"` // for people
}

// PreprovisionInput asks to keep standbys in the region that does not serve, or to take them away.
type PreprovisionInput struct {
	Group string `json:"group"`
	Stop  bool   `json:"stop,omitempty"`
}

// StandbyInput starts the standby of one workspace under one epoch.
type StandbyInput struct {
	Group     string         `json:"group"`
	Workspace string         `json:"workspace"`
	Region    string         `json:"region"` // where the standby is
	Epoch     topology.Epoch `json:"epoch"`  // that it follows
	// Remove is the standby to take away, instead of keeping one.
	Remove *topology.Standby `json:"remove,omitempty"`
}

// TailsInput names the group whose left lineages are brought home.
type TailsInput struct {
	Group string `json:"group"`
}

// Event is something that people and programs outside want to know: the body of a hook's delivery.
type Event struct {
	ID        string              `json:"id"` // the same in each attempt
	Type      EventType           `json:"type"`
	At        time.Time           `json:"timestamp"` // when it happened, as the Standard Webhooks specification calls it
	Group     string              `json:"group"`
	Workspace string              `json:"workspace,omitempty"`
	Region    string              `json:"region,omitempty"` // that serves, or that it is about
	Epoch     topology.Epoch      `json:"epoch"`
	Operation *topology.Operation `json:"operation,omitempty"`
	Endpoint  *topology.Endpoint  `json:"endpoint,omitempty"` // of the workspace
	Message   string              `json:"message"`            // a sentence for people
}

// EventType says what happened.
type EventType string

// The events.
const (
	EventStarted     EventType = "operation.started"
	EventCompleted   EventType = "operation.completed"
	EventFailed      EventType = "operation.failed"
	EventCanceled    EventType = "operation.canceled" // also when it put everything back by itself
	EventFenced      EventType = "workspace.fenced"
	EventServing     EventType = "workspace.serving" // Endpoint takes writes now
	EventProtected   EventType = "group.protected"
	EventUnprotected EventType = "group.unprotected"
)

// NotifyInput asks to deliver one event to every hook that wants it.
type NotifyInput struct {
	Event Event `json:"event"`
}

// FailoverResult is the account of a failover that completed.
type FailoverResult struct {
	Operation topology.Operation `json:"operation"`
}

// GroupResult is a group after a change.
type GroupResult struct {
	Group    topology.Group `json:"group"`
	Warnings []string       `json:"warnings,omitempty"`
}

// WorkspaceResult is a workspace after a change.
type WorkspaceResult struct {
	Workspace topology.Workspace `json:"workspace"`
	Warnings  []string           `json:"warnings,omitempty"`
	Notes     []string           `json:"notes,omitempty"` // what was done, and what waits for a restart
}

// ChangeGroupInput asks to change a group; what is nil stays.
type ChangeGroupInput struct {
	Group    string             `json:"group"`
	SmartDR  *bool              `json:"smartDR,omitempty"` // it can be turned on, and off while nothing is replicated
	Firewall *topology.Firewall `json:"firewall,omitempty"`
	// SelfFenceAfter, as "2m": a region that reached neither the other region's bucket nor Temporal for so long fences its
	// servers. "0" turns it off.
	SelfFenceAfter *string `json:"selfFenceAfter,omitempty"`
	// SequenceGap is by how many values a failover moves the sequences of the new primary ahead; 0 turns that off.
	SequenceGap *int64 `json:"sequenceGap,omitempty"`
}

// ChangeDatabasesInput asks to replicate other databases than now, while replication runs.
type ChangeDatabasesInput struct {
	Group  string   `json:"group"`
	Add    []string `json:"add,omitempty"` // "name" or "workspace/name"
	Remove []string `json:"remove,omitempty"`
	All    bool     `json:"all,omitempty"` // all, present and future (autoReplication); excludes the other two
}

// CreateWorkspaceInput asks for one more workspace of a group.
type CreateWorkspaceInput struct {
	Group string `json:"group"`
	WorkspaceInput
}

// ChangeWorkspaceInput asks to change a workspace; what is nil or empty stays.
type ChangeWorkspaceInput struct {
	Group     string            `json:"group"`
	Workspace string            `json:"workspace"`
	Size      string            `json:"size,omitempty"`
	Set       map[string]string `json:"set,omitempty"`   // settings of PostgreSQL
	Reset     []string          `json:"reset,omitempty"` // names of settings
	HBA       *[]string         `json:"hba,omitempty"`
	Ident     *[]string         `json:"ident,omitempty"`
	Restart   bool              `json:"restart,omitempty"` // now, if something waits for it
	// Source is of an adopted one: a new way to reach the same server.
	Source *topology.Source `json:"source,omitempty"`
}

// SuspendInput asks to end the servers of managed workspaces for a while.
type SuspendInput struct {
	Group     string `json:"group"`
	Workspace string `json:"workspace,omitempty"` // default: all managed ones
}

// ResumeInput asks to start the servers of suspended workspaces again.
type ResumeInput struct {
	Group     string `json:"group"`
	Workspace string `json:"workspace,omitempty"` // default: all suspended ones
}

// TerminateInput asks to take down a workspace, or a whole group: replication ends, managed servers and their files are
// removed, adopted ones are left as they are without our slot. What is in the buckets stays.
type TerminateInput struct {
	Group     string `json:"group"`
	Workspace string `json:"workspace,omitempty"` // default: the group with all its workspaces
	Force     bool   `json:"force,omitempty"`     // also what does not answer, and what was not shipped
}

// RecoverInput asks to take a group over into this control plane, by what one region's bucket knows of it.
type RecoverInput struct {
	Group  string `json:"group"`
	Region string `json:"region"`
	// Force lets Region's bucket decide from now on although another one does, which cannot be asked.
	Force bool   `json:"force,omitempty"`
	By    string `json:"by,omitempty"` // for people
}
