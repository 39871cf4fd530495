// Package workflows says what may be asked of SmartDR and in which order things happen. It does no I/O.
// The names, ids, inputs, results, queries, updates and signals in this file are the public contract: the CLI, the
// API, the portal and `temporal workflow start` all use them. Inputs are small readable JSON; defaults are set in the
// workflow, and what cannot be done is refused with a sentence.
package workflows

import (
	"fmt"

	"github.com/smartdr/smartdr/internal/topology"
)

// TaskQueue is polled by every worker: what any region can do.
const TaskQueue = "smartdr"

// RegionQueue is polled by the workers of one region: what must happen there.
func RegionQueue(region string) string { return TaskQueue + "-" + region }

// The workflow types.
const (
	CreateGroupType          = "CreateGroup"          // CreateGroupInput -> CreateGroupResult
	ConfigureType            = "Configure"            // ConfigureInput -> ConfigureResult
	ReplicationType          = "Replication"          // ReplicationInput; runs until the group is torn down
	WorkspaceReplicationType = "WorkspaceReplication" // WorkspaceReplicationInput; a child of Replication
	FailoverType             = "Failover"             // FailoverInput -> FailoverResult
)

// Queries, updates and signals.
const (
	// StatusQuery, of Replication: topology.GroupStatus as last observed (at most 30 s ago).
	StatusQuery = "status"
	// RefreshUpdate, of Replication: observes now and returns topology.GroupStatus.
	RefreshUpdate = "refresh"
	// EpochChangedSignal, to Replication: EpochChanged.
	EpochChangedSignal = "epoch-changed"
	// ProgressQuery, of Failover: topology.Operation as it stands.
	ProgressQuery = "progress"
)

// The search attributes, all of type Keyword.
const (
	GroupAttribute  = "SmartDRGroup"
	RegionAttribute = "SmartDRRegion"
	PhaseAttribute  = "SmartDRPhase"
)

// CreateGroupID is the workflow id of CreateGroup; two creations of one group exclude each other by it.
func CreateGroupID(group string) string { return id(group, "create") }

// ConfigureID is the workflow id of Configure.
func ConfigureID(group string) string { return id(group, "configure") }

// ReplicationID is the workflow id of Replication: one for the life of a group.
func ReplicationID(group string) string { return id(group, "replication") }

// WorkspaceReplicationID is the workflow id of one workspace's replication under one epoch.
func WorkspaceReplicationID(group, workspace string, epoch topology.Epoch) string {
	return id(group, fmt.Sprintf("%s/e%d", workspace, epoch))
}

// FailoverID is the workflow id of Failover.
func FailoverID(group string) string { return id(group, "failover") }

func id(group, what string) string { return "smartdr/" + group + "/" + what }

// CreateGroupInput asks for a workspace group around servers that are there already.
type CreateGroupInput struct {
	Name       string           `json:"name"`
	Primary    string           `json:"primary"` // region
	Workspaces []WorkspaceInput `json:"workspaces"`
}

// WorkspaceInput is one server to adopt.
type WorkspaceInput struct {
	Name   string            `json:"name"`
	Kind   topology.SiteKind `json:"kind,omitempty"` // "adopted", the default; "managed" is refused in this version
	Source topology.Source   `json:"source"`         // seen from the primary region's workers; never holds a password
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
	Databases []string `json:"databases,omitempty"` // names; empty means all, present and future
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
	Region    string         `json:"region"` // where the server is
}

// FailoverInput asks to bring a group up in its other region.
type FailoverInput struct {
	Group string `json:"group"`
	To    string `json:"to,omitempty"`    // region; default: the one that does not serve now
	Force bool   `json:"force,omitempty"` // even if the serving region looks alive
}

// FailoverResult is the account of a failover that completed.
type FailoverResult struct {
	Operation topology.Operation `json:"operation"`
}
