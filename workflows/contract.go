// Package workflows says what may be asked of SmartDR and in which order things happen. It does no I/O.
// The names, ids, queries, updates and signals in this file, and the inputs and results in contract_inputs.go, are the public contract: the CLI, the
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

// HostQueue is polled by the worker of one host: what must happen on that machine. Names have no slash, so that no two
// hosts share a queue.
func HostQueue(region, host string) string { return RegionQueue(region) + "/" + host }

// siteQueue is where a workspace's server is reached from: its host, or, when it was adopted, anywhere in its region.
func siteQueue(region, host string) string {
	if host == "" {
		return RegionQueue(region)
	}
	return HostQueue(region, host)
}

// The workflow types.
const (
	CreateGroupType          = "CreateGroup"          // CreateGroupInput -> CreateGroupResult
	ConfigureType            = "Configure"            // ConfigureInput -> ConfigureResult
	ChangeGroupType          = "ChangeGroup"          // ChangeGroupInput -> GroupResult
	ChangeDatabasesType      = "ChangeDatabases"      // ChangeDatabasesInput -> GroupResult
	CreateWorkspaceType      = "CreateWorkspace"      // CreateWorkspaceInput -> WorkspaceResult
	ChangeWorkspaceType      = "ChangeWorkspace"      // ChangeWorkspaceInput -> WorkspaceResult
	SuspendType              = "Suspend"              // SuspendInput -> GroupResult
	ResumeType               = "Resume"               // ResumeInput -> GroupResult
	TerminateType            = "Terminate"            // TerminateInput -> GroupResult
	ReplicationType          = "Replication"          // ReplicationInput; runs until the group is torn down
	WorkspaceReplicationType = "WorkspaceReplication" // WorkspaceReplicationInput; a child of Replication
	FailoverType             = "Failover"             // FailoverInput -> FailoverResult
	SwitchoverType           = "Switchover"           // SwitchoverInput -> FailoverResult
	FailbackType             = "Failback"             // FailbackInput -> FailoverResult
	PreprovisionType         = "Preprovision"         // PreprovisionInput -> GroupResult
	StandbyType              = "Standby"              // StandbyInput; a child of Replication while standbys are wanted
	TailsType                = "Tails"                // TailsInput; a child of Replication while a lineage that was left has more to bring
	NotifyType               = "Notify"               // NotifyInput; one event to all hooks
	RecoverType              = "Recover"              // RecoverInput -> GroupResult; takes a group over into the Temporal that it is started in
)

// Queries, updates and signals.
const (
	// StatusQuery, of Replication: topology.GroupStatus as last observed (at most 30 s ago).
	StatusQuery = "status"
	// RefreshUpdate, of Replication: observes now and returns topology.GroupStatus.
	RefreshUpdate = "refresh"
	// EpochChangedSignal, to Replication: EpochChanged. Also says that the group's workspaces or databases changed.
	EpochChangedSignal = "epoch-changed"
	// LookSignal, to WorkspaceReplication: take a snapshot if the newest one does not bring back all that is chosen now.
	LookSignal = "look"
	// ProgressQuery, of Failover, Switchover and Failback: topology.Operation as it stands.
	ProgressQuery = "progress"
	// CancelUpdate, of Failover, Switchover and Failback: stops it and puts everything back, or is refused with a sentence
	// after the point of no return. It takes CancelInput and returns nothing.
	CancelUpdate = "cancel"
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

// ManageGroupID is the workflow id of what changes a group as a whole: ChangeGroup, ChangeDatabases, and Suspend, Resume
// and Terminate of all its workspaces. They exclude each other by it.
func ManageGroupID(group string) string { return id(group, "manage") }

// ManageWorkspaceID is the workflow id of what changes one workspace.
func ManageWorkspaceID(group, workspace string) string { return id(group, workspace+"/manage") }

// FailoverID is the workflow id of Failover.
func FailoverID(group string) string { return id(group, "failover") }

// SwitchoverID is the workflow id of Switchover.
func SwitchoverID(group string) string { return id(group, "switchover") }

// FailbackID is the workflow id of Failback.
func FailbackID(group string) string { return id(group, "failback") }

// StandbyID is the workflow id of what keeps one workspace's standby following.
func StandbyID(group, workspace string) string { return id(group, workspace+"/standby") }

// TailsID is the workflow id of what brings home the tails of lineages that were left.
func TailsID(group string) string { return id(group, "tails") }

// NotifyID is the workflow id of the delivery of one event.
func NotifyID(group, event string) string { return id(group, "notify/"+event) }

// RecoverID is the workflow id of Recover.
func RecoverID(group string) string { return id(group, "recover") }

func id(group, what string) string { return "smartdr/" + group + "/" + what }
