package activities

import "github.com/smartdr/smartdr/internal/topology"

// PlanAttachInput asks how a branch would be attached, and where.
type PlanAttachInput struct {
	Group    string         `json:"group"`
	Branch   string         `json:"branch"`
	ReadOnly bool           `json:"readOnly,omitempty"`
	Host     string         `json:"host,omitempty"`    // the only one that will do; default: any of the branch's region
	Size     *topology.Size `json:"size,omitempty"`    // default: the workspace's
	Refused  []string       `json:"refused,omitempty"` // hosts that cannot run it
}

// PlanAttachResult says what is restored for a branch, to which point and on which host; nothing is recorded yet.
type PlanAttachResult struct {
	Branch topology.Branch `json:"branch"`
	Size   topology.Size   `json:"size,omitzero"`
	// Plan is empty when the branch has an attachment already.
	Plan WorkspacePlan `json:"plan,omitzero"`
}

// BranchInput names an attachment of a branch.
type BranchInput struct {
	Group      string `json:"group"`
	Branch     string `json:"branch"`
	Attachment string `json:"attachment,omitempty"`
	// Discard gives up what has not reached the bucket.
	Discard bool `json:"discard,omitempty"`
}

// RecordAttachmentInput is an attachment to record, of a plan that a host has agreed to.
type RecordAttachmentInput struct {
	Group      string              `json:"group"`
	Branch     string              `json:"branch"`
	Attachment topology.Attachment `json:"attachment"`
}

// ProvisionBranchResult is where a branch is brought up, by which plan: that of an attempt before, if there was one.
type ProvisionBranchResult struct {
	Place Place         `json:"place"`
	Plan  WorkspacePlan `json:"plan"`
}

// PublishBranchInput makes a server that was brought up a branch's.
type PublishBranchInput struct {
	RestoreInput
	Attached AttachBranchResult `json:"attached"`
}

// EnsureBranchReplicationInput starts what brings a branch's WAL to the bucket, unless it runs.
type EnsureBranchReplicationInput struct {
	BranchInput
	Region       string `json:"region"`
	Host         string `json:"host"`
	WorkflowType string `json:"workflowType"`
	WorkflowID   string `json:"workflowID"`
}

// ShipBranchInput names an attachment whose WAL is shipped for one turn.
type ShipBranchInput struct {
	BranchInput
	TurnSeconds int `json:"turnSeconds,omitempty"`
}

// DetachedResult says whether anything of a branch is left on its host.
type DetachedResult struct {
	// Unwritten: nobody has committed anything since the branch was attached, or made a restore point.
	Unwritten bool     `json:"unwritten,omitempty"`
	Notes     []string `json:"notes,omitempty"`
}

// RecordDetachedInput takes an attachment out of the group's document.
type RecordDetachedInput struct {
	BranchInput
	Unwritten bool `json:"unwritten,omitempty"` // nobody has written to its lineage, which can be forgotten
}

// TellBranchInput says what keeps an attachment.
type TellBranchInput struct {
	BranchInput
	Error string `json:"error,omitempty"`
	Hint  string `json:"hint,omitempty"`
}
