package activities

import (
	"time"

	"github.com/smartdr/smartdr/internal/topology"
	"github.com/smartdr/smartdr/internal/wal"
)

// ReadGroupInput names the group to read.
type ReadGroupInput struct {
	Group string `json:"group"`
}

// RecordGroupInput is a group to create. Its ID is chosen by the caller, so that a retry finds its own work.
type RecordGroupInput struct {
	Group topology.Group `json:"group"`
}

// EnsureReplicationInput starts the group's Replication, or tells a running one that the epoch may have changed.
type EnsureReplicationInput struct {
	Group        string         `json:"group"`
	Epoch        topology.Epoch `json:"epoch"`
	WorkflowType string         `json:"workflowType"`
	WorkflowID   string         `json:"workflowID"`
	Signal       string         `json:"signal"`
}

// CheckRegionsInput names the regions whose buckets must answer, take conditional writes and be ours.
type CheckRegionsInput struct {
	Regions []string `json:"regions"`
}

// PreflightSourceInput is a server to look at before it is replicated.
type PreflightSourceInput struct {
	Group     string          `json:"group"`
	Workspace string          `json:"workspace"`
	Source    topology.Source `json:"source"`
}

// PreflightSourceResult is what an operator should know about the server; problems are errors.
type PreflightSourceResult struct {
	Endpoint topology.Endpoint `json:"endpoint"` // the hosts of the connection string
	Warnings []string          `json:"warnings,omitempty"`
}

// RecordReplicationInput is a choice to record in the catalog.
type RecordReplicationInput struct {
	Group     string   `json:"group"`
	Secondary string   `json:"secondary"`
	Databases []string `json:"databases,omitempty"`
}

// SourceInput names one workspace under one epoch: the input of every activity that runs beside a server.
type SourceInput struct {
	Group     string         `json:"group"`
	Workspace string         `json:"workspace"`
	Epoch     topology.Epoch `json:"epoch"`
	// TurnSeconds is how long an activity that goes on for ever does so before it ends its turn.
	TurnSeconds int `json:"turnSeconds,omitempty"`
}

func (in SourceInput) turn() time.Duration { return time.Duration(in.TurnSeconds) * time.Second }

// PrepareSourceResult says which lineage is written.
type PrepareSourceResult struct {
	Lineage  string   `json:"lineage"`
	Warnings []string `json:"warnings,omitempty"`
}

// ShipSegmentsResult says why a turn ended, and where.
type ShipSegmentsResult struct {
	Lineage string `json:"lineage"`
	Reason  string `json:"reason"` // "turn over" or "worker stops"
}

// TakeSnapshotInput asks for a snapshot of the current lineage that is younger than MaxAgeSeconds.
type TakeSnapshotInput struct {
	SourceInput
	MaxAgeSeconds int  `json:"maxAgeSeconds"`
	Scheduled     bool `json:"scheduled,omitempty"` // by the group's schedule, and not by MaxAgeSeconds
}

// TakeSnapshotResult is the newest snapshot of the current lineage.
type TakeSnapshotResult struct {
	ID        string    `json:"id"`
	Complete  []string  `json:"complete"` // regions whose bucket holds all of it
	Lacking   []string  `json:"lacking,omitempty"`
	StartedAt time.Time `json:"startedAt"`
	Taken     bool      `json:"taken"` // false: it was there already
	Due       time.Time `json:"due"`   // when the next one is, by the group's schedule
}

// MirrorSnapshotInput asks to copy a snapshot to the buckets that lack it.
type MirrorSnapshotInput struct {
	SourceInput
	ID string `json:"id"`
}

// StartLineageInput asks for a new lineage after a hole in the one named.
type StartLineageInput struct {
	SourceInput
	After  string `json:"after"`  // lineage with the hole
	Reason string `json:"reason"` // of the hole, in words
}

// PlanFailoverInput asks what a failover would do.
type PlanFailoverInput struct {
	Group string `json:"group"`
	To    string `json:"to"`
	Force bool   `json:"force"` // even if the serving region looks alive, or without workspaces that cannot be brought back
	// Operation is the one to go on with, whose plan stands already; empty for a new one.
	Operation string              `json:"operation,omitempty"`
	Without   []string            `json:"without,omitempty"` // hosts that take no work
	Refused   map[string][]string `json:"refused,omitempty"` // by workspace: hosts that cannot run it
	Planned   bool                `json:"planned,omitempty"` // both regions are there, and nothing may be lost
	FailoverChoice
}

// FailoverPlan says what will be restored, from what, to which point.
type FailoverPlan struct {
	From       string          `json:"from"`
	To         string          `json:"to"`
	Epoch      topology.Epoch  `json:"epoch"` // that serves until the failover
	Choice     topology.Choice `json:"choice,omitzero"`
	Workspaces []WorkspacePlan `json:"workspaces"`
}

// WorkspacePlan says how one workspace is restored.
type WorkspacePlan struct {
	Workspace     string                 `json:"workspace"`
	Snapshot      string                 `json:"snapshot"`
	SnapshotStart wal.Position           `json:"snapshotStart"`
	SnapshotEnd   wal.LSN                `json:"snapshotEnd"`
	Legs          []Leg                  `json:"legs"` // in the order of recovery
	Point         topology.RecoveryPoint `json:"point"`
	SystemID      string                 `json:"systemID"`
	ServerVersion int                    `json:"serverVersion"` // server_version_num
	SegmentSize   wal.SegmentSize        `json:"segmentSize"`
	Bytes         int64                  `json:"bytes"` // of the snapshot's files, restored
	Databases     []string               `json:"databases"`
	Omitted       []OmittedDatabase      `json:"omitted,omitempty"`
	Lineage       string                 `json:"lineage,omitempty"` // id of the new one; set by FixRecoveryPoint
	Need          Need                   `json:"need,omitzero"`
	Host          string                 `json:"host,omitempty"`     // where it is to run
	Reserved      *topology.Reservation  `json:"reserved,omitempty"` // the place that is kept for it in that region
	Error         string                 `json:"error,omitempty"`    // why it cannot be brought back; the rest is empty then
	Hint          string                 `json:"hint,omitempty"`
	Serving       *topology.Endpoint     `json:"serving,omitempty"` // how clients reach it, if this operation has published it already
	Standby       *topology.Standby      `json:"standby,omitempty"` // follows on Host already: it is promoted instead of a restore
	Loss          *topology.Loss         `json:"loss,omitempty"`    // what stays behind; nil when nothing is known of the serving side
	Behind        string                 `json:"behind,omitempty"`  // why the bucket does not bring back what serves now
	Notes         []string               `json:"notes,omitempty"`
}

// Need is what a host must have for a workspace.
type Need struct {
	Size      topology.Size `json:"size,omitzero"`
	DiskBytes int64         `json:"diskBytes"` // files, WAL, and what a server needs besides
}

// OmittedDatabase was left out of replication: it is restored as zeros so that recovery runs, then dropped.
type OmittedDatabase struct {
	Name string `json:"name"`
	OID  uint32 `json:"oid"`
}

// Leg is a part of one lineage's path that recovery replays.
type Leg struct {
	Lineage topology.Lineage `json:"lineage"`
	From    wal.Position     `json:"from"` // start of a segment file
	To      wal.LSN          `json:"to"`   // first byte that is not part of it
}

// BeginOperationInput asks for the group's exclusive lock.
type BeginOperationInput struct {
	Operation topology.Operation `json:"operation"`
}

// BeginOperationResult is the operation that holds the lock: the one asked for, or an abandoned one that goes on.
type BeginOperationResult struct {
	Operation topology.Operation `json:"operation"`
	Resumed   bool               `json:"resumed"`
}

// ClaimEpochInput asks for the group's next epoch.
type ClaimEpochInput struct {
	Group     string `json:"group"`
	Region    string `json:"region"`
	Operation string `json:"operation"` // the claim is idempotent by it
	Claimant  string `json:"claimant"`
}

// ClaimEpochResult is the epoch that is ours.
type ClaimEpochResult struct {
	Epoch topology.Epoch `json:"epoch"`
}

// FixRecoveryPointInput asks for the final recovery point of each workspace, after the claim.
type FixRecoveryPointInput struct {
	Group     string         `json:"group"`
	To        string         `json:"to"`
	Operation string         `json:"operation"`
	Epoch     topology.Epoch `json:"epoch"` // the one claimed
	// Hosts says by workspace where each is to run. A plan that stands already keeps its hosts, unless Resume is set.
	Hosts  map[string]string `json:"hosts,omitempty"`
	Resume bool              `json:"resume,omitempty"`
	Choice topology.Choice   `json:"choice,omitzero"` // of a plan that does not stand yet
}

// RestoreInput names one workspace that is being brought up: the input of every phase of its restore.
type RestoreInput struct {
	Group     string         `json:"group"`
	To        string         `json:"to"`
	Operation string         `json:"operation"`
	Epoch     topology.Epoch `json:"epoch"` // the one claimed
	Plan      WorkspacePlan  `json:"plan"`
	Place     Place          `json:"place,omitzero"` // set after ProvisionTopology
	// Standby is the id of one that is made or promoted, and names its folder; empty for a restore in one go.
	Standby string `json:"standby,omitempty"`
	// Branch and Attachment name what is attached; the attachment names its folder. Operation is the attachment, too.
	Branch     string `json:"branch,omitempty"`
	Attachment string `json:"attachment,omitempty"`
	// ReadOnly lets a branch's server stay a standby.
	ReadOnly bool `json:"readOnly,omitempty"`
	// Reuse are older data directories on the host: chunks that match what is wanted are taken from there.
	Reuse []string `json:"reuse,omitempty"`
	// CompareLater leaves out of RestoreMetadata what only says what differs: CompareRestored says it once clients can write.
	CompareLater bool `json:"compareLater,omitempty"`
}

// Place is where a workspace is brought up: a folder and a port of one host.
type Place struct {
	Instance string            `json:"instance"` // folder that holds all of it
	DataDir  string            `json:"dataDir"`
	Port     int               `json:"port"`
	Endpoint topology.Endpoint `json:"endpoint"` // how clients reach it
}

// PhaseResult is what one phase did, in a line.
type PhaseResult struct {
	Note  string   `json:"note,omitempty"`
	Notes []string `json:"notes,omitempty"` // what differs from the primary, and why
	// Moved is what had to be brought to the host, where files were.
	Moved *topology.Moved `json:"moved,omitempty"`
}

// AttachBranchResult is a server that recovered to the recovery point and was promoted.
type AttachBranchResult struct {
	PhaseResult
	Lineage topology.Lineage `json:"lineage"` // the new one
	Source  topology.Source  `json:"source"`  // how SmartDR reaches it, from its region
}

// PublishEndpointInput makes the restored workspaces the group's serving ones.
type PublishEndpointInput struct {
	Group      string         `json:"group"`
	To         string         `json:"to"`
	Operation  string         `json:"operation"`
	Epoch      topology.Epoch `json:"epoch"`
	Workspaces []Attached     `json:"workspaces"`
}

// Attached is a workspace that is ready to be published.
type Attached struct {
	Workspace string           `json:"workspace"`
	Host      string           `json:"host,omitempty"`
	Place     Place            `json:"place"`
	Source    topology.Source  `json:"source"` // how SmartDR reaches it, from its region
	Lineage   topology.Lineage `json:"lineage"`
}

// RecordOperationInput is an operation's account as it stands.
type RecordOperationInput struct {
	Operation topology.Operation `json:"operation"`
}
