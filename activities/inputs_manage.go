package activities

import "github.com/smartdr/smartdr/internal/topology"

// AddWorkspaceInput is a workspace to record. One of that name that is still being made is replaced.
type AddWorkspaceInput struct {
	Group     string             `json:"group"`
	Workspace topology.Workspace `json:"workspace"`
}

// RecordServerInput is the server of a workspace that was made.
type RecordServerInput struct {
	Group     string         `json:"group"`
	Workspace string         `json:"workspace"`
	Region    string         `json:"region"`
	Epoch     topology.Epoch `json:"epoch"` // that it was made under
	Site      topology.Site  `json:"site"`
}

// RecordStateInput is a workspace's next state.
type RecordStateInput struct {
	Group     string                    `json:"group"`
	Workspace string                    `json:"workspace"`
	From      []topology.WorkspaceState `json:"from"` // states in which that can be asked for
	To        topology.WorkspaceState   `json:"to"`
	Reason    string                    `json:"reason,omitempty"`
}

// RecordChangeInput is what a workspace is to be like from now on.
type RecordChangeInput struct {
	Group     string            `json:"group"`
	Workspace string            `json:"workspace"`
	Size      topology.Size     `json:"size,omitzero"`
	Settings  map[string]string `json:"settings,omitempty"`
	HBA       []string          `json:"hba,omitempty"`
	Ident     []string          `json:"ident,omitempty"`

	// Of an adopted one:
	Source   *topology.Source   `json:"source,omitempty"`
	Endpoint *topology.Endpoint `json:"endpoint,omitempty"`
}

// RecordGroupChangeInput is what a group is to be like from now on; what is nil stays.
type RecordGroupChangeInput struct {
	Group    string             `json:"group"`
	SmartDR  *bool              `json:"smartDR,omitempty"`
	Firewall *topology.Firewall `json:"firewall,omitempty"`
	// SelfFenceAfterSeconds is topology.Group's.
	SelfFenceAfterSeconds *int `json:"selfFenceAfterSeconds,omitempty"`
	// SequenceGap is topology.Group's.
	SequenceGap *int64 `json:"sequenceGap,omitempty"`
}

// CheckSourceInput is another way to an adopted server.
type CheckSourceInput struct {
	Group     string          `json:"group"`
	Workspace string          `json:"workspace"`
	Source    topology.Source `json:"source"`
}

// CheckSourceResult is what an operator should know about the server; problems are errors.
type CheckSourceResult struct {
	Endpoint topology.Endpoint `json:"endpoint"`
	Warnings []string          `json:"warnings,omitempty"`
}
